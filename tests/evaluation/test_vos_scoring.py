"""J, F and what is made of them against vos-benchmark, TrackEval and pycocotools, and the protocols by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from vos_benchmark.benchmark import VideoEvaluator
from vos_benchmark.evaluator import Evaluator
from vos_worlds import film, spoiled, write_film, write_objects

from keepsight.core import InputError
from keepsight.core.metrics import agreement
from keepsight.evaluation.results import Results
from keepsight.evaluation.vos import measuring
from keepsight.evaluation.vos.layouts import open_dataset, predictions_in
from keepsight.evaluation.vos.protocol import DatasetKind, Frames, Mean, Missing, Objects, Skip, Void
from keepsight.evaluation.vos.scoring import score
from keepsight.evaluation.vos.statistics import decay, instability

EXACT = {"rel": 0, "abs": 1e-12}


def scored(root: Path, found: Path, **switches: object) -> Results:
    dataset = open_dataset(root, DatasetKind.FOLDER)
    return score(dataset.clips, predictions_in(found), dataset.protocol.but(**switches), {})


def written(tmp_path: Path, seeds: range = range(6)) -> tuple[Path, Path]:
    for seed in seeds:
        shots = film(seed)
        write_film(tmp_path / "truth" / f"v{seed}", shots)
        write_film(tmp_path / "found" / f"v{seed}", spoiled(shots, seed))
    return tmp_path / "truth", tmp_path / "found"


@st.composite
def masks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two masks with anything in them: specks, holes, full frames, nothing."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def one() -> np.ndarray:
        kind = draw(st.sampled_from(["specks", "dense", "blocks", "full", "empty"]))
        if kind in ("full", "empty"):
            return np.full((height, width), kind == "full")
        if kind == "blocks":
            mask = np.zeros((height, width), bool)
            for _ in range(3):
                y, x = rng.integers(0, height), rng.integers(0, width)
                mask[y : y + rng.integers(1, 30), x : x + rng.integers(1, 40)] ^= True
            return mask
        return rng.random((height, width)) < (0.01 if kind == "specks" else 0.6)

    return one(), one()


@settings(max_examples=200, deadline=None)
@given(pair=masks())
def test_j_and_f_are_those_of_vos_benchmark_to_the_last_bit(pair: tuple[np.ndarray, np.ndarray]) -> None:
    found, truth = pair
    got = agreement(found, truth)
    reference = Evaluator()
    reference.feed_frame(found.astype(np.uint8), truth.astype(np.uint8))
    if found.any() or truth.any():
        assert (got.j, got.f) == (reference.object_iou[1][0], reference.boundary_f[1][0])
        rle = [coco.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in pair]
        assert got.j == pytest.approx(coco.iou([rle[0]], [rle[1]], [0])[0, 0], **EXACT)
        assert (got.found_px, got.truth_px) == (coco.area(rle[0]), coco.area(rle[1]))
    else:
        assert (got.j, got.f) == (1.0, 1.0)
    assert agreement(found.astype(np.uint8) * 255, truth.astype(np.uint8) * 3) == got


@pytest.mark.parametrize("skip", [Skip.BOTH, Skip.NONE])
def test_a_data_set_is_scored_as_vos_benchmark_scores_it(tmp_path: Path, skip: Skip) -> None:
    truth, found = written(tmp_path)
    results = scored(truth, found, skip=skip)
    j, f, rows = [], [], {row.name: row for row in results.rows}
    late = 0
    for seed in range(6):
        judge = VideoEvaluator(str(truth), str(found), skip_first_and_last=skip is Skip.BOTH)
        _, ious, boundaries = judge(f"v{seed}")
        for object_id in ious:
            row = rows.pop(f"v{seed}/{object_id}")
            assert row.values["J"] == pytest.approx(ious[object_id] / 100, **EXACT)
            assert row.values["F"] == pytest.approx(boundaries[object_id] / 100, **EXACT)
            late += "late" in row.attributes
        j += list(ious.values())
        f += list(boundaries.values())
    assert not rows
    assert late
    assert results.summary["J&F"] == pytest.approx((np.mean(j) + np.mean(f)) / 200, **EXACT)
    assert 0.2 < results.summary["J"] < 0.9


def test_sav_folders_are_scored_object_by_object(tmp_path: Path) -> None:
    """Meta's evaluator is vos-benchmark on the binary pictures of every object by itself."""
    for seed in range(4):
        shots = film(seed, frames=13)
        bad = spoiled(shots, seed)
        frames = {1: range(0, 13, 4), 2: range(0, 13, 4), 5: range(4, 13, 4)}
        write_objects(tmp_path / "truth" / f"v{seed}", shots, frames)
        write_objects(tmp_path / "found" / f"v{seed}", bad, dict.fromkeys(frames, range(13)))
    results = scored(tmp_path / "truth", tmp_path / "found")
    rows = {row.name: row for row in results.rows}
    compared = 0
    for seed in range(4):
        for object_id in (1, 2, 5):
            judge = VideoEvaluator(str(tmp_path / "truth" / f"v{seed}"), str(tmp_path / "found" / f"v{seed}"))
            _, ious, boundaries = judge(f"{object_id:03d}")
            name = f"v{seed}/{object_id}"
            assert (name in rows) == bool(ious)
            for number in ious:
                assert rows[name].values["J"] == pytest.approx(ious[number] / 100, **EXACT)
                assert rows[name].values["F"] == pytest.approx(boundaries[number] / 100, **EXACT)
                compared += 1
    assert compared > 6


def test_masks_that_overlap_are_each_compared_whole(tmp_path: Path) -> None:
    person, hand = np.zeros((30, 30), np.uint8), np.zeros((30, 30), np.uint8)
    person[5:25, 5:25], hand[10:14, 10:14] = 1, 2
    for side in ("truth", "found"):
        write_objects(tmp_path / side / "v", [person] * 4, {1: range(4)})
        write_objects(tmp_path / side / "v", [hand] * 4, {2: range(4)})
    assert scored(tmp_path / "truth", tmp_path / "found").summary["J&F"] == 1.0


def test_recall_and_decay_are_those_of_davis_below_257_frames() -> None:
    rng = np.random.default_rng(0)
    for length in (1, 2, 3, 5, 17, 100, 255):
        values = rng.random(length)
        edges = (np.round(np.linspace(1, length, 5) + 1e-10) - 1).astype(np.uint8)
        quarters = [values[edges[i] : edges[i + 1] + 1] for i in range(4)]
        assert decay(values) == pytest.approx(quarters[0].mean() - quarters[3].mean(), **EXACT)
    falling = np.linspace(1, 0, 1000)
    assert decay(falling) == pytest.approx(0.75, abs=0.01)


def test_v_of_lvos() -> None:
    assert instability(np.full(9, 0.7)) == 0
    assert instability(np.array([0.5, 0.7])) == pytest.approx(0.1)
    # The variance is rounded to four digits: 0.00003 becomes 0.
    assert instability(np.array([0.5, 0.511])) == 0


def test_void_is_background_or_nothing(tmp_path: Path) -> None:
    truth, found = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    truth[10:20, 10:20], found[10:20, 10:20] = 1, 1
    truth[10:20, 20:30] = 255
    found[10:20, 20:25] = 1
    write_film(tmp_path / "t" / "v", [truth] * 3)
    write_film(tmp_path / "p" / "v", [found] * 3)
    assert scored(tmp_path / "t", tmp_path / "p", void=Void.IGNORE).summary["J&F"] == 1.0
    assert scored(tmp_path / "t", tmp_path / "p").summary["J"] == pytest.approx(100 / 150)
    # vos-benchmark takes void for an object that nobody finds.
    _, ious, _ = VideoEvaluator(str(tmp_path / "t"), str(tmp_path / "p"))("v")
    assert set(ious) == {1, 255}
    assert ious[1] / 100 == pytest.approx(100 / 150)


def test_objects_of_the_first_frame_or_all_of_them(tmp_path: Path) -> None:
    blank = np.zeros((30, 40), np.uint8)
    one, two = blank.copy(), blank.copy()
    one[5:10, 5:10] = 1
    two[5:10, 5:10], two[20:25, 20:30] = 1, 2
    write_film(tmp_path / "t" / "v", [one, one, two, two, two])
    # The late object is found a frame too early, the first one always.
    write_film(tmp_path / "p" / "v", [one, two, two, two, two])

    def items(**switches: object) -> dict[str, tuple[float, int]]:
        rows = scored(tmp_path / "t", tmp_path / "p", **switches).rows
        return {row.item: (row.values["J"], len(row.frames)) for row in rows}

    assert items(objects=Objects.FIRST) == {"1": (1.0, 3)}
    assert items() == {"1": (1.0, 3), "2": (pytest.approx(2 / 3), 3)}
    assert items(skip=Skip.NONE) == {"1": (1.0, 5), "2": (pytest.approx(3 / 4), 4)}
    assert items(objects=Objects.ALL, skip=Skip.NONE) == {"1": (1.0, 5), "2": (pytest.approx(4 / 5), 5)}
    own = {"frames": Frames.OBJECT, "objects": Objects.ALL}
    assert items(**own, skip=Skip.FIRST) == {"1": (1.0, 4), "2": (1.0, 2)}
    assert items(**own) == {"1": (1.0, 3), "2": (1.0, 1)}
    said = scored(tmp_path / "t", tmp_path / "p", objects=Objects.FIRST).remarks
    assert said == ("Left out, as they come after the first annotated frame: 1 objects (v/2).",)


def test_the_mean_is_over_objects_or_over_videos(tmp_path: Path) -> None:
    shot = np.zeros((30, 40), np.uint8)
    shot[2:8, 2:8], shot[2:8, 12:18], shot[2:8, 22:28] = 1, 2, 3
    lone = np.where(shot == 1, 1, 0).astype(np.uint8)
    write_film(tmp_path / "t" / "a", [shot] * 3)
    write_film(tmp_path / "t" / "b", [lone] * 3)
    write_film(tmp_path / "p" / "a", [shot] * 3)
    write_film(tmp_path / "p" / "b", [shot * 0] * 3)
    assert scored(tmp_path / "t", tmp_path / "p").summary["J"] == pytest.approx(3 / 4)
    assert scored(tmp_path / "t", tmp_path / "p", mean=Mean.VIDEO).summary["J"] == pytest.approx(1 / 2)


def test_missing_predictions_are_said_and_never_guessed(tmp_path: Path) -> None:
    truth, found = written(tmp_path, range(2))
    (found / "v0" / "00004.png").unlink()
    with pytest.raises(InputError, match=r"no prediction for 1 annotated frames of v0.*--missing empty"):
        scored(truth, found)
    for file in (found / "v1").iterdir():
        file.unlink()
    (found / "v1").rmdir()
    with pytest.raises(InputError, match=r"no predictions for 1 of 2 videos \(v1\)"):
        scored(truth, found)
    empty = scored(truth, found, missing=Missing.EMPTY)
    rows = {row.name: row for row in empty.rows}
    place = rows["v0/1"].frames.index(4)
    assert rows["v0/1"].series["J"][place] == 0
    assert rows["v1/1"].values["J"] == 0
    skipped = scored(truth, found, missing=Missing.SKIP)
    rows = {row.name: row for row in skipped.rows}
    assert 4 not in rows["v0/1"].frames
    assert not any(row.video == "v1" for row in skipped.rows)
    for results in (empty, skipped):
        assert any("v1" in line for line in results.remarks)
        assert any("1 annotated frames of v0" in line for line in results.remarks)


def test_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_ALONE_S", 0.0)
    truth, found = written(tmp_path, range(3))
    dataset = open_dataset(truth, DatasetKind.FOLDER)
    told: list[tuple[int, int]] = []
    alone = score(dataset.clips, predictions_in(found), dataset.protocol, {})
    crew = score(
        dataset.clips,
        predictions_in(found),
        dataset.protocol,
        {},
        processes=2,
        progress=lambda done, total: told.append((done, total)),
    )
    assert crew == alone
    assert told[-1] == (21, 21)


def test_ids_may_be_any_and_sizes_must_be_one(tmp_path: Path) -> None:
    shots = film(3, objects=(7, 130, 254))
    write_film(tmp_path / "t" / "v", shots)
    write_film(tmp_path / "p" / "v", shots)
    assert scored(tmp_path / "t", tmp_path / "p").summary["J&F"] == 1.0
    write_film(tmp_path / "p" / "v", [shot[:-1] for shot in shots])
    with pytest.raises(InputError, match="v, frame 1: the prediction is 90x59 px but the truth is 90x60 px"):
        scored(tmp_path / "t", tmp_path / "p")


def test_first_frames_alone_are_no_truth(tmp_path: Path) -> None:
    shots = film(0)
    later = np.where(shots[5] == 5, 5, 0).astype(np.uint8)
    write_film(tmp_path / "t" / "v", [shots[0], later], numbers=[0, 5])
    write_film(tmp_path / "t" / "w", shots)
    write_film(tmp_path / "p" / "w", shots)
    results = scored(tmp_path / "t", tmp_path / "p")
    assert {row.video for row in results.rows} == {"w"}
    assert results.remarks[0].startswith("1 of 2 videos have no truth")


def test_every_frame_and_object_with_void_taken_out_is_what_trackeval_scores(tmp_path: Path) -> None:
    trackeval = pytest.importorskip("trackeval")
    for seed in range(4):
        shots = film(seed, frames=11)
        rng = np.random.default_rng(seed)
        found = [np.roll(shot, tuple(rng.integers(-2, 3, 2)), (0, 1)) * (rng.random() < 0.9) for shot in shots]
        for shot in shots:
            shot[20:24] = 255
        write_film(tmp_path / "truth" / f"v{seed}", shots)
        # TrackEval matches objects by what overlaps best; here that is the same object.
        write_film(tmp_path / "found" / "us" / "data" / f"v{seed}", found)
    folders = {"GT_FOLDER": str(tmp_path / "truth"), "TRACKERS_FOLDER": str(tmp_path / "found"), "PRINT_CONFIG": False}
    dataset = trackeval.datasets.DAVIS({**folders, "TRACKERS_TO_EVAL": ["us"]})
    judge = trackeval.metrics.JAndF({"PRINT_CONFIG": False})
    parts = {}
    for seed in range(4):
        raw = dataset.get_raw_seq_data("us", f"v{seed}")
        parts[f"v{seed}"] = judge.eval_sequence(dataset.get_preprocessed_seq_data(raw, "general"))
    theirs = judge.combine_sequences(parts)
    ours = scored(
        tmp_path / "truth",
        tmp_path / "found" / "us" / "data",
        skip=Skip.NONE,
        objects=Objects.ALL,
        void=Void.IGNORE,
    ).summary
    names = {"J&F": "J&F", "J": "J-Mean", "F": "F-Mean", "J recall": "J-Recall", "F recall": "F-Recall"}
    names |= {"J decay": "J-Decay", "F decay": "F-Decay"}
    for our_name, their_name in names.items():
        assert ours[our_name] == pytest.approx(theirs[their_name], **EXACT), our_name
    assert 0.3 < ours["J&F"] < 0.95
