"""`keepsight eval box` from pictures to a report, with a tiny model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from box_tracks import flags, rows
from PIL import Image

import tiny_models
from keepsight.cli.main import run
from keepsight.core import Mask
from keepsight.evaluation.box.regions import read_region, write_region
from keepsight.evaluation.paired import estimates
from keepsight.evaluation.report import read_run

HEIGHT, WIDTH, FRAMES = 48, 64, 6
NAMES = ("kite-4", "kite-6", "zebra-10")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three sequences of a moving square in three layouts, and a tiny model with random weights."""
    root = tmp_path_factory.mktemp("box")
    tiny_models.sam2().save_pretrained(root / "model")
    rng = np.random.default_rng(5)
    for number, name in enumerate(NAMES):
        scene = rng.integers(0, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        boxes = np.array([[6 + 4 * t + number, 10 + 2 * t, 16, 14] for t in range(FRAMES)], float)
        folders = {
            "lasot": root / "lasot" / name.rpartition("-")[0] / name,
            "got10k": root / "got10k" / "val" / name,
            "vot": root / "vot" / name,
        }
        for kind, folder in folders.items():
            inside = folder / {"lasot": "img", "got10k": "", "vot": "color"}[kind]
            inside.mkdir(parents=True)
            for t, (x, y, w, h) in enumerate(boxes.astype(int).tolist()):
                frame = scene.copy()
                frame[y : y + h, x : x + w] = (220, 60, 40)
                Image.fromarray(frame).save(inside / f"{t + 1:08d}.jpg", quality=95)
        for kind in ("lasot", "got10k"):
            (folders[kind] / "groundtruth.txt").write_text(rows(boxes))
        (folders["lasot"] / "full_occlusion.txt").write_text(flags([0, 0, 0, 1, 0, 0], ","))
        masks = [Mask.from_box(HEIGHT, WIDTH, x, y, x + w, y + h) for x, y, w, h in boxes.astype(int).tolist()]
        lines = [write_region(mask) for mask in masks]
        (folders["vot"] / "groundtruth_a.txt").write_text("\n".join(lines) + "\n")
        (folders["vot"] / "groundtruth_b.txt").write_text("\n".join(["0", "1", *lines[2:]]) + "\n")
    return root


def command(place, kind, out, *more):
    return run(
        ["eval", "box", str(place / kind), "--dataset", kind, "--model", str(place / "model"), "--out", str(out), *more]
    )


def test_lasot_from_pictures_to_a_report(place, tmp_path, capsys):
    assert command(place, "lasot", tmp_path) == 0
    told = capsys.readouterr().out
    results = read_run(tmp_path)
    assert results.task == "box"
    assert [row.name for row in results.rows] == list(NAMES)
    assert [curve.title for curve in results.curves] == ["Success", "Precision", "Normalised precision"]
    assert f"{results.summary['AUC']:.4f}" in told
    assert results.settings["model"] == str(place / "model")
    assert any("last box before it" in line for line in results.protocol)
    for row in results.rows:
        assert len(row.frames) == len(row.series["IoU"]) == FRAMES - 1
        assert row.series["IoU"][2] is None  # the frame of the occlusion
        assert "full occlusion" in row.attributes
    first = (tmp_path / "predictions" / "kite-4.txt").read_text().splitlines()
    assert first[0] == "6.000,10.000,16.000,14.000"
    assert len(first) == FRAMES

    # Predictions alone give the same numbers.
    again = tmp_path / "again"
    assert command(place, "lasot", again, "--pred", str(tmp_path / "predictions")) == 0
    assert read_run(again).summary == results.summary
    assert not (again / "predictions").exists()


def test_a_run_that_was_stopped_goes_on_and_holds_to_its_settings(place, tmp_path, capsys):
    assert command(place, "lasot", tmp_path) == 0
    summary = read_run(tmp_path).summary
    kept = {name: (tmp_path / "predictions" / f"{name}.txt") for name in NAMES}
    before = {name: path.read_text() for name, path in kept.items()}
    kept["kite-6"].unlink()
    kept["kite-4"].touch()
    stamps = {name: kept[name].stat().st_mtime_ns for name in ("kite-4", "zebra-10")}
    assert command(place, "lasot", tmp_path) == 0
    assert {name: path.read_text() for name, path in kept.items()} == before
    assert {name: kept[name].stat().st_mtime_ns for name in stamps} == stamps
    assert read_run(tmp_path).summary == summary
    capsys.readouterr()
    assert command(place, "lasot", tmp_path, "--policy", "samurai") == 2
    assert "policy (sam2 then, samurai now)" in capsys.readouterr().err
    assert command(place, "lasot", tmp_path, "--policy", "samurai", "--overwrite") == 0
    assert read_run(tmp_path).settings["policy"] == "samurai"


def test_shards_share_the_work_and_the_last_one_scores(place, tmp_path, capsys):
    assert command(place, "got10k", tmp_path / "whole") == 0
    assert command(place, "got10k", tmp_path / "parts", "--shard", "2/2") == 0
    told = capsys.readouterr().out
    assert "2 sequences are left to other shards" in told
    assert not (tmp_path / "parts" / "run.json").exists()
    assert sorted(path.name for path in (tmp_path / "parts" / "predictions").iterdir()) == ["kite-6"]
    assert command(place, "got10k", tmp_path / "parts", "--shard", "1/2") == 0
    whole, parts = (read_run(tmp_path / name).summary for name in ("whole", "parts"))
    speed = parts.pop("frames/s") > 0 < whole.pop("frames/s")
    assert speed
    assert parts == whole
    for name in NAMES:
        folder = tmp_path / "parts" / "predictions" / name
        assert len((folder / f"{name}_001.txt").read_text().splitlines()) == FRAMES
        assert len((folder / f"{name}_time.txt").read_text().splitlines()) == FRAMES


@pytest.mark.parametrize("told", ["box", "region"])
def test_vot_with_objects_that_come_later(place, tmp_path, told):
    assert command(place, "vot", tmp_path, "--given", told) == 0
    results = read_run(tmp_path)
    assert [row.name for row in results.rows] == [f"{name}/{item}" for name in NAMES for item in ("a", "b")]
    assert results.rows[0].frames == (1, 2, 3, 4, 5)
    assert results.rows[1].frames == (1, 3, 4, 5)  # unknown on frame 0, given on frame 2
    made = estimates(results)
    assert {name: item.value for name, item in made.items()} == pytest.approx(dict(results.summary))
    lines = (tmp_path / "predictions" / "kite-4" / "kite-4_b_001.txt").read_text().splitlines()
    assert lines[:3] == ["0", "0", "1"]
    assert all(read_region(line, (HEIGHT, WIDTH), "") is not None for line in lines)
    summary = json.loads((tmp_path / "run.json").read_text())["summary"]
    assert {"quality", "accuracy", "robustness", "NRE", "DRE"} <= set(summary)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shard", "3/2"], "give I/N with I from 1 to N"),
        (["--split", "half"], "choose test, all"),
        (["--pred", "nowhere"], "no folder of predictions"),
        (["--shard", "1/2", "--overwrite"], "other shards' predictions"),
        (["--shard", "1/2", "--executor", "ray"], "leave --shard out"),
        (["--policy-option", "nothing"], "expected NAME=VALUE"),
        (["--policy", "no-such"], "no-such"),
    ],
)
def test_bad_input_is_a_line(place, tmp_path, capsys, arguments, told):
    assert command(place, "lasot", tmp_path, *arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert told in lines[0]


def test_predictions_that_lack_and_strange_ones(place, tmp_path, capsys):
    assert command(place, "lasot", tmp_path, "--pred", str(place / "model")) == 2
    assert "3 of 3 sequences have no prediction" in capsys.readouterr().err
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "kite-4.txt").write_text("1,2,3,4\n" * FRAMES)
    assert command(place, "lasot", tmp_path) == 2
    assert "predictions that no run has made" in capsys.readouterr().err


def test_a_sequence_that_cannot_be_read_does_not_cost_the_others(place, tmp_path, capsys):
    broken = place / "lasot" / "kite" / "kite-6" / "groundtruth.txt"
    kept = broken.read_text()
    try:
        broken.write_text("1,2,3\n")
        assert command(place, "lasot", tmp_path) == 2
    finally:
        broken.write_text(kept)
    told = capsys.readouterr().err.strip()
    assert "1 of 3 sequences could not be followed, the others are kept. First of all:" in told
    assert sorted(path.stem for path in (tmp_path / "predictions").iterdir()) == ["kite-4", "zebra-10"]
    assert command(place, "lasot", tmp_path) == 0


def test_ctrl_c_keeps_what_is_complete(place, tmp_path, capsys, monkeypatch):
    from keepsight.evaluation.box import predicting as module

    class Asked(module.StopRequest):
        def __enter__(self):
            self.asked = True
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(module, "StopRequest", Asked)
    assert command(place, "lasot", tmp_path) == 130
    assert "0 of 3 sequences are complete. The same command goes on" in capsys.readouterr().err
    monkeypatch.undo()
    assert command(place, "lasot", tmp_path) == 0


def test_ray_gives_what_this_process_gives(place, tmp_path):
    pytest.importorskip("ray")
    assert command(place, "lasot", tmp_path / "here") == 0
    assert command(place, "lasot", tmp_path / "ray", "--executor", "ray", "--device", "cpu") == 0
    for name in NAMES:
        texts = [(tmp_path / where / "predictions" / f"{name}.txt").read_text() for where in ("here", "ray")]
        assert texts[0] == texts[1]
    summaries = [read_run(tmp_path / where).summary for where in ("here", "ray")]
    assert summaries[0] == summaries[1]
