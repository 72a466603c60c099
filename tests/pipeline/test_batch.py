"""A folder of videos from end to end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from barns import COLOUR, RADIUS_PX, place, results, settings, write_mover
from PIL import Image

from keepsight.cli.main import run
from keepsight.core import InputError
from keepsight.pipeline.batch.conduct import MANIFEST_NAME, find_videos
from keepsight.pipeline.batch.config import TEMPLATE, BatchConfig, load_config
from keepsight.pipeline.batch.manifest import Manifest
from keepsight.video import open_video

SIZES = {"a": (128, 72), "east__b": (160, 96), "c": (96, 80)}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of different sizes and rates, one with uneven times and one that is cut off; and one that is none."""
    folder = tmp_path_factory.mktemp("barns")
    write_mover(folder / "a.mp4", 36)
    write_mover(folder / "east" / "b.mkv", 28, width=160, height=96, fps=15, uneven=True)
    whole = write_mover(folder / "c.mp4", 48, width=96, height=80, fps=30).read_bytes()
    (folder / "c.mp4").write_bytes(whole[: len(whole) * 8 // 10])
    (folder / "d.mp4").write_bytes(b"no video at all" * 100)
    return folder


@pytest.fixture(scope="module")
def calm(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch that was left alone."""
    out = tmp_path_factory.mktemp("calm") / "out"
    assert run(settings(videos, out)) == 0
    return out


def test_from_a_folder_to_one_clip_an_object(calm: Path, videos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Manifest(calm / MANIFEST_NAME) as manifest:
        units = manifest.units()
    failed = [unit for unit in units if unit.state == "failed"]
    assert [(unit.video, unit.stage) for unit in failed] == [("d", "plan")]
    assert all(unit.state == "done" and unit.completed == 1 for unit in units if unit.video != "d")
    lengths = {}
    for unit in units:
        if unit.stage == "clip":
            with open_video(next(iter(unit.outputs))) as clip:
                lengths[unit.name] = clip.frame_count
    assert [lengths[f"a_000{clip}"] for clip in (1, 2, 3)] == [12, 12, 12]
    assert [lengths[f"east__b_000{clip}"] for clip in (1, 2, 3)] == [12, 12, 4]
    assert [lengths[f"c_000{clip}"] for clip in (1, 2)] == [12, 12]
    assert 24 < sum(count or 0 for name, count in lengths.items() if name.startswith("c_")) < 48
    for name, frames in lengths.items():
        video, _, clip = name.rpartition("_")
        if frames is not None and frames >= 12:
            check_crops(calm, video, int(clip), frames)
    page = (calm / "pipeline.html").read_text()
    assert "4 videos" in page
    assert "1 failures" in page
    assert page.count("data:image/jpeg") >= 3
    assert "is cut off" in page
    assert run(["pipeline", "status", str(calm)]) == 0
    printed = capfd.readouterr().out
    assert "failed: plan d:" in printed
    assert printed.startswith("plan     3 done, 1 failed")


def check_crops(out: Path, video: str, clip: int, frames: int) -> None:
    """The disc is the only object, on every frame, in a film of its own with nothing but black around its mask."""
    folder, masks = (out / kind / video / f"{clip:04d}" for kind in ("crops", "work"))
    with (folder / "boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    film = folder / "objects" / f"{rows[0]['object_id']}.mp4"
    assert list((folder / "objects").iterdir()) == [film]
    with open_video(film) as opened:
        pictures = [frame.rgb for frame in opened.frames()]
    assert [int(row["frame"]) for row in rows] == list(range(frames)) == [int(row["crop_frame"]) for row in rows]
    assert len(pictures) == frames
    assert {row["label"] for row in rows} == {"cow"}
    for rgb, row, path in zip(pictures, rows, sorted((masks / "masks").glob("*.png")), strict=True):
        assert rgb.shape == (64, 64, 3)
        mask = (np.array(Image.open(path)) == int(row["object_id"])).astype(np.uint8)
        disc = np.zeros_like(mask)
        cv2.circle(disc, place(int(row["frame"]) + 12 * (clip - 1), *SIZES[video]), RADIUS_PX - 1, 1, -1)
        scale = 64 / float(row["window_side"])
        shift = [[-float(row[f"window_{axis}1"]) * scale] for axis in "xy"]
        window = np.hstack([np.eye(2) * scale, shift])
        shown, seen = (cv2.warpAffine(area, window, (64, 64), flags=cv2.INTER_NEAREST) > 0 for area in (mask, disc))
        # The coding of the film blurs the rim by a pixel or two.
        assert rgb[cv2.dilate(shown.astype(np.uint8), np.ones((7, 7))) == 0].max(initial=0) < 48
        assert np.count_nonzero(disc & mask) > 0.8 * np.count_nonzero(disc) > 0.25 * np.count_nonzero(mask)
        inner = seen & shown
        assert np.abs(rgb[inner].astype(int) - COLOUR).mean() < 40


def test_a_second_run_makes_what_is_missing_and_nothing_else(calm: Path, videos: Path, capfd) -> None:
    before = results(calm)
    gone = calm / "crops" / "a" / "0002" / "boxes.csv"
    gone.unlink()
    assert run([*settings(videos, calm), "--log", "json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {line["event"] for line in lines} == {"unit", "progress", "end"}
    assert (lines[-1]["event"], lines[-1]["failed"]) == ("end", 1)
    assert all(
        set(line["ended"]) == set(line["total"]) >= {"plan", "crop"} for line in lines if line["event"] == "progress"
    )
    again = {(line["video"], line["clip"], line["stage"]) for line in lines if line.get("state") == "running"}
    assert again <= {("a", 2, "crop")}
    with Manifest(calm / MANIFEST_NAME) as manifest:
        twice = [(unit.name, unit.stage) for unit in manifest.units() if unit.completed > 1]
    assert twice == [("a_0002", "crop")]
    assert results(calm) == before
    assert run([*settings(videos, calm), "--size", "32"]) == 2
    assert "has other settings: crop_size (64 then, 32 now)" in capfd.readouterr().err


def test_the_written_settings_are_the_defaults(tmp_path: Path, capfd) -> None:
    path = tmp_path / "pipeline.yaml"
    assert run(["pipeline", "init", str(path)]) == 0
    assert path.read_text() == TEMPLATE
    written = load_config(path)
    assert written == BatchConfig(input_folder=Path("videos"))
    assert set(yaml.safe_load(TEMPLATE)) == set(BatchConfig.model_fields)
    assert run(["pipeline", "init", str(path)]) == 2
    path.write_text("input_folder: x\ncrop_sise: 3\nframe_step: many\n")
    with pytest.raises(InputError, match=r"crop_sise: .*; frame_step: |frame_step: .*; crop_sise: "):
        load_config(path)
    assert run(["pipeline", "run", str(tmp_path)]) == 2
    assert "What is to be found?" in capfd.readouterr().err
    assert run(["pipeline", "resume", str(tmp_path)]) == 2
    assert "There is no batch in" in capfd.readouterr().err


def test_names_of_videos_are_told_apart(tmp_path: Path) -> None:
    for name in ("x.mp4", "x.mkv", "y.mp4", "in/y.mp4", ".hidden.mp4", "z.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(find_videos(tmp_path)) == ["in__y", "x_mkv", "x_mp4", "y"]


def test_a_unit_belongs_to_one_process_and_is_ended_once(tmp_path: Path) -> None:
    with Manifest(tmp_path / "m.sqlite", create=True) as manifest:
        manifest.add_videos({"a": "a.mp4"})
        assert manifest.claim(["clip"], "elsewhere/1/0") is None
        unit = manifest.claim(["plan", "clip"], "elsewhere/1/0")
        assert unit is not None
        assert manifest.claim(["plan"], "elsewhere/2/0") is None
        assert manifest.finish(unit, 1.0, {}, {}, [(1, {"start": 0}), (2, {})])
        assert not manifest.finish(unit, 1.0, {}, {}, [(3, {})])
        first = manifest.claim(["plan", "clip"], "elsewhere/1/0")
        assert first is not None
        assert (first.clip, first.settings) == (1, {"start": 0})
        manifest.fail(first, "broken", 0.1)
        assert not manifest.over()
        second = manifest.claim(["clip"], "elsewhere/1/0")
        assert second is not None
        manifest.fail(second, "broken", 0.1)
        assert manifest.over()
        assert [unit.state for unit in manifest.units()] == ["done", "failed", "failed"]
