"""TrackEval, whose numbers papers print, reads what is written and finds in it what is there."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from small_projects import again, block, project_of

from keepsight.core import InputError
from keepsight.formats.registry import export_tracks, import_tracks

trackeval = pytest.importorskip("trackeval", reason="`make install` installs it; it is in no extra")

OBJECTS, FRAMES = 2, 10
PLACES = {1: block(0, 0, 4, 4), 2: block(5, 4, 10, 9)}


def measured(tmp, name, truth, result):
    """HOTA and CLEAR measures of one export as the result against another as the truth."""
    reader = {"mot": "MotChallenge2DBox", "mots": "MOTSChallenge", "davis": "DAVIS"}[name]
    shutil.rmtree(tmp / "eval", ignore_errors=True)
    config = {"GT_FOLDER": str(tmp / "eval/gt"), "TRACKERS_FOLDER": str(tmp / "eval/trackers"), "PRINT_CONFIG": False}
    if name == "davis":
        for folder, target in ((truth, "gt/c"), (result, "trackers/ours/data/c")):
            shutil.copytree(folder, tmp / "eval" / target, ignore=shutil.ignore_patterns("*.json"))
        (tmp / "eval/all.txt").write_text("c\n")
        config |= {"SEQMAP_FILE": str(tmp / "eval/all.txt"), "SPLIT_TO_EVAL": "val"}
    else:
        shutil.copytree(truth, tmp / "eval/gt/c")
        (tmp / "eval/trackers/ours/data").mkdir(parents=True)
        rows = "results.txt" if name == "mot" else "gt/gt.txt"
        shutil.copy(result / rows, tmp / "eval/trackers/ours/data/c.txt")
        config |= {"SEQ_INFO": {"c": None}, "SKIP_SPLIT_FOL": True}
    dataset = getattr(trackeval.datasets, reader)(config)
    (kind,) = dataset.class_list
    data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("ours", "c"), kind)
    found = {}
    for metric in (trackeval.metrics.HOTA(), trackeval.metrics.CLEAR({"PRINT_CONFIG": False})):
        found |= metric.eval_sequence(data)
    return found


def export(tmp, name, tracks, folder, ids=tuple(PLACES)):
    with project_of(tmp / f"{folder}.keepsight", tracks, dict.fromkeys(ids, "person"), FRAMES) as project:
        return export_tracks(project, 1, name, tmp / folder)


@pytest.mark.parametrize("name", ["mot", "mots", "davis"])
def test_perfect_tracks_and_known_errors(tmp_path, name, capfd):
    truth = {frame: dict(PLACES) for frame in range(FRAMES)}
    export(tmp_path, name, truth, "a")
    perfect = measured(tmp_path, name, tmp_path / "a", tmp_path / "a")
    assert perfect["CLR_TP"] == OBJECTS * FRAMES  # nothing was passed over
    assert (perfect["MOTA"], perfect["IDSW"], perfect["HOTA"].tolist()) == (1, 0, [1] * 19)
    second, _, _ = again(tmp_path, name)
    second.close()
    assert measured(tmp_path, name, tmp_path / "a", tmp_path / "b")["HOTA"].min() == 1

    # Both objects change names half-way.
    swapped = {frame: dict(zip((1, 2) if frame < 5 else (2, 1), PLACES.values(), strict=True)) for frame in truth}
    export(tmp_path, name, swapped, "swapped")
    found = measured(tmp_path, name, tmp_path / "a", tmp_path / "swapped")
    assert (found["IDSW"], found["CLR_FN"], found["CLR_FP"]) == (2, 0, 0)
    assert found["MOTA"] == pytest.approx(1 - 2 / 20)
    # Every pair of names agrees on 5 frames of the 10 + 10 that have either: 5 / 15.
    np.testing.assert_allclose(found["HOTA"], np.sqrt(5 / 15))

    # One object is lost on two frames, and the other is seen where nothing is.
    wrong = {frame: dict(PLACES) for frame in truth}
    for frame in (3, 4):
        wrong[frame] = {2: PLACES[2]}
    wrong[7][1] = block(7, 0, 11, 3)
    export(tmp_path, name, wrong, "wrong")
    found = measured(tmp_path, name, tmp_path / "a", tmp_path / "wrong")
    assert (found["IDSW"], found["CLR_FN"], found["CLR_FP"]) == (0, 3, 1)
    assert found["MOTA"] == pytest.approx(1 - 4 / 20)
    np.testing.assert_allclose(found["DetA"], 17 / (17 + 3 + 1))


@pytest.mark.parametrize("ids", [(0, 7, 70000, 300), (5, 254, 1, 2)])
@pytest.mark.parametrize("name", ["mot", "mots", "davis"])
def test_generated_tracks_are_themselves(tmp_path, name, ids, capfd):
    """Overlaps, holes, specks, absences, a frame without anything, and ids that have to be dealt anew."""
    rng = np.random.default_rng(len(ids) + ids[1])
    shape = PLACES[1].shape
    tracks = {f: {i: rng.random(shape) < 0.5 for i in ids if rng.random() < 0.7 and f != 4} for f in range(FRAMES)}
    export(tmp_path, name, tracks, "a", ids)
    found = measured(tmp_path, name, tmp_path / "a", tmp_path / "a")
    assert found["HOTA"].tolist() == [1] * 19
    assert found["CLR_TP"] == sum(len(objects) for objects in tracks.values())
    assert (found["CLR_Frames"], found["IDSW"], found["CLR_FN"], found["CLR_FP"]) == (FRAMES, 0, 0, 0)


def test_what_a_tracker_hands_in_stays_beside_its_truth(tmp_path):
    export(tmp_path, "mot", {frame: dict(PLACES) for frame in range(FRAMES)}, "a")
    with project_of(tmp_path / "b.keepsight", {}) as project:
        import_tracks(project, 1, "mot", tmp_path / "a")
        assert [project.result(1, 8)[i].score for i in PLACES] == [0.9, 1.0]
    rows = (tmp_path / "a/results.txt").read_text().splitlines(keepends=True)
    (tmp_path / "a/results.txt").write_text("".join(rows[1:]))
    with (
        project_of(tmp_path / "c.keepsight", {}) as project,
        pytest.raises(InputError, match=r"results\.txt, line 1: not the box"),
    ):
        import_tracks(project, 1, "mot", tmp_path / "a")
