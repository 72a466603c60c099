"""Two things that pass through all clips of a video, from end to end: each is one object, in one folder, in one project."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as parquet
import pytest
import yaml
from at_hand import batches_at_hand

from keepsight.cli.main import run
from keepsight.pipeline.batch.conduct import MANIFEST_NAME
from keepsight.pipeline.batch.manifest import Manifest, Unit
from keepsight.store import Project
from keepsight.video import VideoWriter, open_video

WIDTH, HEIGHT, FRAMES = 129, 97, 24  # odd, so that clips are a column and a row larger than the video


def places(frame: int) -> list[tuple[int, int]]:
    """Centres of the two discs: one goes right, the other left, in lanes of their own."""
    return [(16 + 4 * frame, 28), (112 - 4 * frame, 70)]


@pytest.fixture(scope="module", autouse=True)
def at_hand() -> Iterator[None]:
    with batches_at_hand():
        yield


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("barn")
    scenery = cv2.resize(np.random.default_rng(0).integers(30, 200, (24, 40, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    with VideoWriter(folder / "north.mkv", height=HEIGHT, width=WIDTH, fps=25, codec="ffv1") as writer:
        for index in range(FRAMES):
            picture = scenery.copy()
            for place, colour in zip(places(index), ((250, 20, 20), (20, 40, 250)), strict=True):
                cv2.circle(picture, place, 11, colour, -1)
            writer.write(picture)
    return folder


def batch(videos: Path, out: Path, **changes: object) -> int:
    values = {
        "input_folder": str(videos),
        "output_folder": str(out),
        "frames_per_clip": 8,
        "detector": "motion",
        "prompt_class": "cow",
        "rules": {"hotstart_frames": 0},
        "crop_size": 64,
        "boxes": "both",
    }
    config = out.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(values | changes))
    return run(["pipeline", "run", str(config)])


def units(out: Path, stage: str) -> list[Unit]:
    with Manifest(out / MANIFEST_NAME) as manifest:
        return sorted((unit for unit in manifest.units() if unit.stage == stage), key=lambda unit: unit.id)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def nearest(row: dict[str, str]) -> tuple[int, float]:
    """Which disc a row of the boxes is about, and how far off its middle is, in px."""
    centre = (float(row["x1"]) + float(row["x2"])) / 2, (float(row["y1"]) + float(row["y2"])) / 2
    away = np.hypot(*(np.array(places(int(row["frame"]))) - centre).T)
    return int(away.argmin()), float(away.min())


@pytest.fixture(scope="module", params=[pytest.param((1, 0), id="touching"), pytest.param((2, 3), id="overlapping")])
def linked(
    request: pytest.FixtureRequest, videos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int, int]:
    """A batch, with its step between frames and its overlap."""
    step, overlap = request.param
    out = tmp_path_factory.mktemp("linked") / "out"
    assert batch(videos, out, frame_step=step, clip_overlap=overlap, frames_per_clip=8 if step == 1 else 6) == 0
    return out, step, overlap


def test_each_keeps_one_identity_through_all_clips(linked: tuple[Path, int, int]) -> None:
    out, step, overlap = linked
    folder = out / "crops" / "north" / "objects"
    parts = table(folder / "identities.csv")
    [link] = units(out, "link")
    plan = link.settings["clips"]
    assert len(plan) == 3
    assert [(row["identity"], int(row["clip"])) for row in parts] == [
        (str(identity), clip) for identity in (1, 2) for clip in range(1, len(plan) + 1)
    ]
    boxes = table(folder / "boxes.csv")
    typed = parquet.read_table(folder / "boxes.parquet").to_pylist()
    assert [
        {name: type(value)(row[name]) for name, value in item.items()} for item, row in zip(typed, boxes, strict=True)
    ] == typed
    whose = {row["identity"]: nearest(row)[0] for row in boxes if row["frame"] == "0"}
    assert sorted(whose.values()) == [0, 1]
    for row in boxes:
        disc, away = nearest(row)
        assert (disc, row["label"]) == (whose[row["identity"]], "cow")
        assert away < 20
        assert float(row["time_s"]) == pytest.approx(int(row["frame"]) / 25)
    # Shared frames stand once; the clip that came first has them.
    keys = [(row["frame"], row["identity"]) for row in boxes]
    assert keys == [(str(frame), str(identity)) for frame in range(0, FRAMES, step) for identity in (1, 2)]
    for row in boxes:
        holding = [n for n, cut in enumerate(plan, 1) if int(row["frame"]) in range(cut["start"], cut["stop"], step)]
        assert int(row["clip"]) == holding[0]
    assert link.results["shared_masks"] == 2 * overlap * (len(plan) - 1)
    assert link.results["links"] == 2 * (len(plan) - 1)


def test_its_cut_outs_lie_in_one_folder_in_order_and_are_those_of_the_clips(linked: tuple[Path, int, int]) -> None:
    out, _, _ = linked
    folder = out / "crops" / "north" / "objects"
    parts = table(folder / "identities.csv")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*")) == sorted(
        row["crop"] for row in parts
    )
    for row in parts:
        assert row["crop"] == f"cow_{int(row['identity']):04d}/clip_{int(row['clip']):04d}.mp4"
        made = out / "crops" / "north" / f"{int(row['clip']):04d}" / "objects" / f"{row['object']}.mp4"
        assert os.path.samefile(folder / row["crop"], made)
        with open_video(made) as clip:
            assert clip.frame_count == int(row["frames"])
    page = (out / "pipeline.html").read_text()
    assert "2 objects across the cuts" in page
    assert page.count("data:image/jpeg") == 2


def test_the_project_of_the_whole_video_can_be_exported(linked: tuple[Path, int, int], tmp_path: Path) -> None:
    out, step, _ = linked
    with Project.open(out / "work" / "north" / "project.keepsight", read_only=True) as project:
        [video] = project.videos()
        assert (video.height, video.width, video.frame_count) == (HEIGHT, WIDTH, FRAMES)
        assert [(item.object_id, item.label) for item in project.objects(video.id)] == [(1, "cow"), (2, "cow")]
        assert project.frames_done(video.id) == set(range(0, FRAMES, step))
    assert run(["export", str(out / "work" / "north"), "--format", "mot", "--out", str(tmp_path / "mot")]) == 0
    rows = [line.split(",") for path in (tmp_path / "mot").rglob("gt.txt") for line in path.read_text().splitlines()]
    assert {row[1] for row in rows} == {"1", "2"}
    assert len(rows) == 2 * len(range(0, FRAMES, step))


def test_switched_off_clips_count_anew(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert batch(videos, out, link_clips=False, frame_step=2, frames_per_clip=6) == 0
    assert units(out, "link") == []
    assert not (out / "crops" / "north" / "objects").exists()
    assert all((out / "crops" / "north" / f"{clip:04d}" / "boxes.csv").exists() for clip in (1, 2))
    page = (out / "pipeline.html").read_text()
    assert "across the cuts" not in page
    assert page.count("data:image/jpeg") == 4


def test_a_clip_that_is_missing_breaks_the_chain_until_it_is_there(
    videos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The second clip's folder is taken, so that it cannot be followed; later it is free, and `retry` does it."""
    out = tmp_path / "out"
    taken = out / "work" / "north" / "0002"
    taken.parent.mkdir(parents=True)
    taken.write_text("not a folder")
    batch(videos, out)
    assert [(unit.clip, unit.state) for unit in units(out, "segment")] == [(1, "done"), (2, "failed"), (3, "done")]
    folder = out / "crops" / "north" / "objects"
    assert [(row["identity"], row["clip"]) for row in table(folder / "identities.csv")] == [
        ("1", "1"), ("2", "1"), ("3", "3"), ("4", "3"),
    ]  # fmt: skip
    assert "Clip 2 has no finished tracks, so no object is linked across it." in (out / "pipeline.html").read_text()
    taken.unlink()
    assert run(["pipeline", "retry", str(out)]) == 0
    assert [row["identity"] for row in table(folder / "identities.csv")] == ["1", "1", "1", "2", "2", "2"]
    [link] = units(out, "link")
    assert (link.state, link.completed) == ("done", 2)
    # What is lost comes back; the units that still have theirs are left alone.
    (folder / "cow_0001" / "clip_0002.mp4").unlink()
    assert run(["pipeline", "resume", str(out)]) == 0
    assert (folder / "cow_0001" / "clip_0002.mp4").is_file()
    assert [unit.completed for unit in units(out, "crop")] == [1, 1, 1]
