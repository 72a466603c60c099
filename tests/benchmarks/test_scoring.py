from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scoring
from calibration import reliability, scores_table
from scoring import OTHER, OURS, Track, corrective_click, inner_point, jaccard


def _track(tracker: str, number: int, j: list[float], **more: object) -> Track:
    count = len(j)
    track = Track(
        "c", number, tracker, "box", 50.0, "stays", 0, list(j), [True] * count, [False] * count, [0.0] * count
    )
    for name, value in more.items():
        setattr(track, name, value)
    return track


def test_j_of_two_empty_masks_is_one() -> None:
    nothing = np.zeros((4, 4), bool)
    assert jaccard(nothing, nothing) == 1.0
    assert jaccard(~nothing, nothing) == 0.0


def test_inner_point_is_the_middle_of_the_pixel_that_lies_deepest() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:9, 10:15] = True
    mask[6, 15:29] = True
    assert inner_point(mask) == (12.5, 6.5)
    corner = np.zeros((5, 5), bool)
    corner[0, 0] = True
    assert inner_point(corner) == (0.5, 0.5)


def test_corrective_click_goes_to_the_largest_wrong_region() -> None:
    truth = np.zeros((30, 40), bool)
    truth[5:20, 5:20] = True
    missed = truth.copy()
    missed[5:20, 5:12] = False
    missed[24:26, 30:32] = True
    point, label = corrective_click(missed, truth)
    assert label == 1
    assert 5 <= point[0] < 12
    extra = truth.copy()
    extra[5:15, 28:38] = True
    point, label = corrective_click(extra, truth)
    assert label == 0
    assert 28 < point[0] < 38
    assert corrective_click(truth, truth) is None


def test_means_leave_out_what_they_should() -> None:
    visible = [True, True, False, False, True]
    track = _track(OURS, 1, [0.5, 0.8, 1.0, 0.0, 0.6], visible=visible, empty=[False, False, True, False, False])
    assert track.later == pytest.approx(0.6)
    assert track.later_visible == pytest.approx(0.7)
    assert track.after_return == pytest.approx(0.6)
    row = scoring.presence_table([track]).rows[0]
    assert row[2:4] == ["50.0 %", "0.0 %"]


def test_a_take_over_needs_three_frames() -> None:
    two = _track(OURS, 1, [0.0] * 5, twin=2, on_twin=[0.0, 0.9, 0.9, 0.0, 0.0])
    three = _track(OURS, 2, [0.0] * 5, twin=3, on_twin=[0.0, 0.9, 0.9, 0.6, 0.0])
    assert scoring.presence_table([two, three]).rows[0][4] == "1 of 2"


def test_criteria() -> None:
    ahead = [_track(OURS, n, [1.0, 0.9]) for n in (1, 2)] + [_track(OTHER, n, [1.0, 0.7]) for n in (1, 2)]
    rows = {row[0]: row for row in scoring.criteria_table(ahead, {1: 12.0, 3: 5.0}).rows}
    assert rows["box, 30-60 px: ahead by"][3] == "pass"
    assert rows["box: worst of the first ten frames (f0)"][3] == "pass"
    assert rows["frames a second, 1 object"][3] == "pass"
    assert rows["frames a second, 3 objects"][3] == "FAIL"
    behind = [_track(OURS, 1, [0.9, 0.9]), _track(OTHER, 1, [1.0, 0.9])]
    assert [row[3] for row in scoring.criteria_table(behind).rows] == ["FAIL", "FAIL"]


def test_intervals_draw_clips_and_not_objects() -> None:
    """Two objects a clip that gain alike are no more certain than one."""
    gains = np.random.default_rng(0).normal(0.3, 0.1, 20).round(3)
    before = [_track(OURS, 1, [0.0, 0.0], clip=f"c{n}") for n in range(20)]
    after = [_track(OURS, 1, [0.0, float(gain)], clip=f"c{n}") for n, gain in enumerate(gains)]
    single = scoring.compare_table(before, after).rows[0][6]
    twice = [[*some, *(replace(track, number=2) for track in some)] for some in (before, after)]
    assert scoring.compare_table(*twice).rows[0][6] == single
    low, high = (float(end) for end in single.split("[")[1].strip("]").split(", "))
    assert low < gains.mean() < high < low + 0.15


def test_compare_pairs_tracks_by_what_they_are() -> None:
    before = [_track(OURS, 1, [0.5, 0.5]), _track(OURS, 2, [0.5, 0.6])]
    after = [_track(OURS, 1, [0.6, 0.7]), _track(OURS, 3, [0.0, 0.0])]
    row = scoring.compare_table(before, after).rows[0]
    assert row[2:6] == ["all", "1", "0.500", "0.700"]
    assert row[6].startswith("+0.200")


def test_reliability_of_an_honest_score() -> None:
    said = np.linspace(0, 1, 1001)
    curve = reliability(said, said)
    assert curve["error"][0] == pytest.approx(0, abs=1e-9)
    assert sum(curve["count"]) == 1001
    assert reliability([0.9, 0.9], [0.0, 1.0])["error"][0] == pytest.approx(0.4)


def test_a_run_survives_its_file(tmp_path: Path) -> None:
    track = _track(OURS, 1, [0.5, 0.25], score=[0.5, 0.75], presence=[1.0, 0.5])
    scoring.save(tmp_path / "t.json", [track], speed=None)
    tracks, more = scoring.load(tmp_path / "t.json")
    assert tracks == [track]
    assert more == {"speed": None}
    assert "| box | builtin |" in scoring.markdown(scoring.by_frame_table(tracks))


def test_scores_are_told_apart_by_what_the_mask_lies_on() -> None:
    track = _track(
        OURS,
        1,
        [1.0, 0.9, 0.0, 0.0, 0.3, 0.0],
        visible=[True, True, True, False, True, True],
        empty=[False, False, False, False, False, True],
        on_twin=[0.0, 0.0, 0.8, 0.0, 0.0, 0.0],
        score=[1.0, 0.9, 0.7, 0.95, 0.4, 0.1],
        presence=[1.0, 1.0, 0.8, 0.95, 0.6, 0.1],
    )
    silent = _track(OTHER, 1, [1.0] * 6)
    rows = scores_table([track, silent]).rows
    assert [row[1:3] for row in rows] == [
        ["the object", "1"],
        ["part of it, or more", "1"],
        ["a look-alike", "1"],
        ["something else", "1"],
    ]
    assert [row[4] for row in rows] == ["0.90", "0.40", "0.70", "0.95"]
    assert [row[7] for row in rows] == ["100.0 %", "0.0 %", "0.0 %", "100.0 %"]
