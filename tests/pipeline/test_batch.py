"""A folder of videos from end to end, and killed on the way."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from keepsight.cli.main import run
from keepsight.core import InputError
from keepsight.pipeline.batch.conduct import MANIFEST_NAME, find_videos
from keepsight.pipeline.batch.config import TEMPLATE, BatchConfig, load_config
from keepsight.pipeline.batch.manifest import Manifest
from keepsight.video import VideoWriter, open_video

COLOUR = (250, 20, 20)


def place(frame: int) -> tuple[int, int]:
    return 14 + 3 * frame, 36


def write_mover(path: Path, frames: int, *, width: int = 128, fps: float = 25, uneven: bool = False) -> Path:
    """A red disc of radius 10 px that drives past before a camera that stands still, ``width`` x 72 px."""
    rng = np.random.default_rng(0)
    scenery = cv2.resize(
        rng.integers(30, 200, (18, width // 4, 3), dtype=np.uint8), (width, 72), interpolation=cv2.INTER_NEAREST
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, height=72, width=width, fps=fps) as writer:
        for index in range(frames):
            picture = scenery.copy()
            cv2.circle(picture, place(index), 10, COLOUR, -1)
            writer.write(picture, (index + (index % 3 == 2) * 0.5) / fps if uneven else None)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good videos (one of another size and with uneven times), one that is cut off, one that is none."""
    folder = tmp_path_factory.mktemp("barns")
    write_mover(folder / "a.mp4", 24)
    write_mover(folder / "east" / "b.mkv", 16, width=160, fps=15, uneven=True)
    whole = write_mover(folder / "c.mp4", 24).read_bytes()
    (folder / "c.mp4").write_bytes(whole[: len(whole) * 8 // 10])
    (folder / "d.mp4").write_bytes(b"no video at all" * 100)
    return folder


def settings(videos: Path, out: Path) -> list[str]:
    config = out.with_suffix(".yaml")
    values = {
        "input_folder": str(videos),
        "output_folder": str(out),
        "frames_per_clip": 12,
        "detector": "motion",
        "prompt_class": "cow",
        "rules": {"hotstart_frames": 0},
        "crop_size": 64,
        "crop_path": "per-frame",
    }
    config.write_text(yaml.safe_dump(values))
    return ["pipeline", "run", str(config)]


def results(out: Path) -> dict[str, str]:
    """SHA-256 of all that people use, by path."""
    paths = [
        path
        for kind in ("clips/**/*.mp4", "crops/**/*.*", "work/**/*.png", "work/**/*.json")
        for path in out.glob(kind)
    ]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


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
    assert (lengths["a_0001"], lengths["a_0002"]) == (12, 12)
    assert (lengths["east__b_0001"], lengths["east__b_0002"]) == (12, 4)
    assert lengths["c_0001"] == 12
    assert sum(count or 0 for name, count in lengths.items() if name.startswith("c_")) < 24
    for name in ("a", "east__b", "c"):
        check_crops(calm / "crops" / name / "0001")
    page = (calm / "pipeline.html").read_text()
    assert "4 videos" in page
    assert "1 failures" in page
    assert page.count("data:image/jpeg") >= 3
    assert "is cut off" in page
    assert run(["pipeline", "status", str(calm)]) == 0
    printed = capfd.readouterr().out
    assert "failed: plan d:" in printed
    assert printed.startswith("plan     3 done, 1 failed")


def check_crops(folder: Path) -> None:
    """One of the objects is the disc, in a clip of its own with nothing but black around it."""
    with (folder / "boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    of_disc = []
    for path in sorted((folder / "objects").glob("*.mp4")):
        mine = [row for row in rows if row["object"] == path.stem]
        with open_video(path) as clip:
            frames = [frame.rgb for frame in clip.frames()]
        assert len(frames) == len(mine)
        assert {frame.shape for frame in frames} == {(64, 64, 3)}
        for rgb, row in zip(frames, mine, strict=True):
            x, y = place(int(row["frame"]))
            centre = [(float(row["x1"]) + float(row["x2"])) / 2, (float(row["y1"]) + float(row["y2"])) / 2]
            if np.hypot(centre[0] - x, centre[1] - y) > 5:
                continue
            of_disc.append(int(row["frame"]))
            scale = 64 / float(row["window_side"])
            at = (np.array([x - float(row["window_x1"]), y - float(row["window_y1"])]) * scale).astype(int)
            inside = rgb[at[1] - 6 : at[1] + 6, at[0] - 6 : at[0] + 6].astype(int)
            assert np.abs(inside - COLOUR).mean() < 40
            assert rgb[:3].max() < 48
            assert {row["label"]} == {"cow"}
    assert len(set(of_disc)) >= 6, (folder, rows)


def test_a_second_run_makes_what_is_missing_and_nothing_else(calm: Path, videos: Path, capfd) -> None:
    before = results(calm)
    gone = calm / "crops" / "a" / "0002" / "boxes.csv"
    gone.unlink()
    assert run([*settings(videos, calm), "--log", "json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    again = {(line["video"], line["clip"], line["stage"]) for line in lines if line.get("state") == "running"}
    assert again <= {("a", 2, "crop")}
    with Manifest(calm / MANIFEST_NAME) as manifest:
        twice = [(unit.name, unit.stage) for unit in manifest.units() if unit.completed > 1]
    assert twice == [("a_0002", "crop")]
    assert results(calm) == before
    assert run([*settings(videos, calm), "--size", "32"]) == 2
    assert "has other settings: crop_size (64 then, 32 now)" in capfd.readouterr().err


def test_killed_at_random_moments_and_run_again_equals_uninterrupted(calm: Path, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "keepsight.cli.main", *settings(videos, out)]
    dice = random.Random(time.time_ns())
    for kill_worker in (False, True):
        conductor = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for_progress(out, dice.randint(1, 6), conductor)
        time.sleep(dice.uniform(0, 1.0))
        owners = running(out)
        if kill_worker and owners:
            os.kill(int(owners[0].rsplit("/", 2)[1]), signal.SIGKILL)
        else:
            conductor.kill()
        conductor.wait(120)
    assert run(settings(videos, out)) == 0
    assert results(out) == results(calm)
    with Manifest(out / MANIFEST_NAME) as manifest:
        assert {unit.completed for unit in manifest.units() if unit.state == "done"} == {1}
    assert not [path for path in out.rglob("*") if path.name.endswith((".part", ".tmp"))]


def wait_for_progress(out: Path, changes: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        if (out / MANIFEST_NAME).exists():
            with Manifest(out / MANIFEST_NAME) as manifest:
                if sum(unit.state == "done" for unit in manifest.units()) >= changes:
                    return
        time.sleep(0.05)


def running(out: Path) -> list[str]:
    with Manifest(out / MANIFEST_NAME) as manifest:
        return [unit.owner for unit in manifest.units() if unit.state == "running" and unit.owner]


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
