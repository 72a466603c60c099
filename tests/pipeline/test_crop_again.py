"""Cut-outs of an earlier run, made again without following anything."""

from __future__ import annotations

import csv
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from small_jobs import PROMPTS, small_job, write_clip

from keepsight.cli.main import run
from keepsight.core import InputError
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.segment import run_segment
from keepsight.store import Project
from keepsight.video import open_video


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the built-in model over the clip with the red and the blue rectangle, 12 frames."""
    folder = tmp_path_factory.mktemp("earlier")
    write_clip(folder / "clip.mp4")
    job = small_job(folder, folder / "out", model="builtin", prompts=PROMPTS[:1], direction="forward", stop=16)
    run_segment(job)
    return folder


def test_cut_outs_show_the_object_and_the_table_says_where(earlier: Path, tmp_path: Path, capfd) -> None:
    out = tmp_path / "crops"
    assert run(["crop", str(earlier / "out"), "--out", str(out), "--size", "64", "--path", "per-frame"]) == 0
    assert "Cut 1 object out of 12 frames." in capfd.readouterr().out
    with (out / "boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(4, 16))
    assert {row["label"] for row in rows} == {"red"}
    with open_video(out / "objects" / "1.mp4") as clip:
        frames = [frame.rgb for frame in clip.frames()]
    assert [int(row["crop_frame"]) for row in rows] == list(range(len(frames)))
    for rgb, row in zip(frames, rows, strict=True):
        assert rgb.shape == (64, 64, 3)
        scale, frame = 64 / float(row["window_side"]), int(row["frame"])
        truth = np.array([10 + frame, 15, 35 + frame, 38], float)
        np.testing.assert_allclose([float(row[name]) for name in ("x1", "y1", "x2", "y2")], truth, atol=3)
        x1, y1, x2, y2 = (truth - np.tile([float(row["window_x1"]), float(row["window_y1"])], 2)) * scale
        inside = rgb[int(y1) + 6 : int(y2) - 6, int(x1) + 6 : int(x2) - 6].astype(int)
        assert np.abs(inside - (220, 60, 40)).mean() < 25
        assert rgb[:4].max() < 40, "the window's margin lies outside the mask"


def test_the_same_table_as_parquet_which_can_be_imported(earlier: Path, tmp_path: Path, capfd) -> None:
    out = tmp_path / "crops"
    assert run(["crop", str(earlier / "out"), "--out", str(out), "--boxes", "both"]) == 0
    with (out / "boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table(out / "boxes.parquet")
    assert list(table.column_names) == list(rows[0])
    exported = tmp_path / "exported"
    assert run(["export", str(earlier / "out"), "--format", "parquet", "--out", str(exported)]) == 0
    [file] = exported.rglob("boxes.parquet")
    theirs = parquet.read_table(file)
    shared = [name for name in theirs.column_names if name in table.column_names]
    assert shared == theirs.column_names
    assert [table.schema.field(name).type for name in shared] == [theirs.schema.field(name).type for name in shared]
    for name in ("frame", "object_id", "label", "x1", "y1", "x2", "y2"):
        assert table[name].to_pylist() == theirs[name].to_pylist()
    for mine, row in zip(table.to_pylist(), rows, strict=True):
        assert {name: type(value)(row[name]) for name, value in mine.items()} == mine
    assert run(["crop", str(earlier / "out"), "--out", str(out), "--boxes", "parquet", "--overwrite"]) == 0
    assert {path.name for path in out.iterdir()} == {"boxes.parquet", "objects"}
    capfd.readouterr()
    back = ["import", str(out / "boxes.parquet"), "--format", "parquet", "--video", str(earlier / "clip.mp4")]
    assert run([*back, "--project", str(tmp_path / "back.keepsight")]) == 0
    with Project.open(tmp_path / "back.keepsight", read_only=True) as project:
        assert [point.frame for point in project.track(1, 1)] == list(range(4, 16))


def test_parquet_needs_pyarrow(earlier: Path, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyarrow" else find(name, *rest)
    )
    assert run(["crop", str(earlier / "out"), "--out", str(tmp_path / "c"), "--boxes", "both"]) == 2
    assert "pip install keepsight[parquet]" in capfd.readouterr().err
    assert not (tmp_path / "c").exists()
    config = BatchConfig(input_folder=tmp_path, detector="motion", boxes="parquet")
    with pytest.raises(InputError, match="pyarrow"):
        config.check()


def test_backgrounds(earlier: Path, tmp_path: Path) -> None:
    edges = {}
    for background in ("black", "blur", "original"):
        out = tmp_path / background
        assert run(["crop", str(earlier / "out"), "--out", str(out), "--size", "64", "--background", background]) == 0
        with open_video(out / "objects" / "1.mp4") as clip:
            rgb = clip.read(3).rgb
            # From pixel to pixel: colours that change slowly pass a blur.
            edges[background] = (rgb[:4].mean(), np.abs(np.diff(rgb[:4, 8:-8].astype(float), axis=1)).mean())
    assert edges["black"][0] < 10
    assert edges["blur"][0] > 20
    assert edges["original"][1] > 2 * edges["blur"][1], "noise is what a blur takes away"


def test_a_video_that_was_moved_is_asked_for_and_another_one_refused(earlier: Path, tmp_path: Path, capfd) -> None:
    moved = shutil.copy(earlier / "clip.mp4", tmp_path / "moved.mp4")
    other = write_clip(tmp_path / "other.mp4", frames=5)
    project = tmp_path / "project.keepsight"
    shutil.copy(earlier / "out" / "project.keepsight", project)
    before = project.read_bytes()
    assert run(["crop", str(project), "--video", str(other)]) == 2
    assert "is not the video that was followed" in capfd.readouterr().err
    assert run(["crop", str(project), "--video", str(moved)]) == 0
    assert (tmp_path / "crops" / "objects" / "1.mp4").exists()
    assert project.read_bytes() == before
    assert run(["crop", str(project), "--video", str(moved)]) == 2
    assert "--overwrite" in capfd.readouterr().err
    assert run(["crop", str(project), "--video", str(moved), "--overwrite"]) == 0


def test_nothing_to_cut_from(tmp_path: Path, capfd) -> None:
    assert run(["crop", str(tmp_path)]) == 2
    assert "There is no project in" in capfd.readouterr().err
    Project.create(tmp_path / "project.keepsight").close()
    assert run(["crop", str(tmp_path)]) == 2
    assert "has no results yet" in capfd.readouterr().err
    assert run(["crop", str(tmp_path), "--size", "3"]) == 2
    assert "Crop size 3 px is out of range" in capfd.readouterr().err
