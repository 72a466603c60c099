"""The measures of VOTS: kinds of frames and averages, worked by hand and by loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.evaluation.box.vots import Kind, follows, of_sequence, of_set, quality_curve


def of(*frames):
    """Follows from (overlap, visible, reported) by frame."""
    overlaps, visible, reported = (np.array(side) for side in zip(*frames, strict=True))
    return follows(overlaps.astype(float), visible.astype(bool), reported.astype(bool), np.ones(len(frames), bool))


TRACKED, DRIFTED, MISSED, SEEN, NOTICED = (0.8, 1, 1), (0, 1, 1), (0, 1, 0), (0, 0, 1), (1, 0, 0)


def test_worked_by_hand():
    followed = of(*[TRACKED] * 6, *[DRIFTED] * 3, MISSED, *[SEEN] * 2, *[NOTICED] * 9)
    assert [followed.count(kind) for kind in Kind] == [0, 6, 3, 1, 2, 9]
    assert followed.measures() == pytest.approx(
        {
            "quality": (6 * 0.8 + 9) / 21,
            "accuracy": 0.8,
            "robustness": 0.6,
            "NRE": 0.1,
            "DRE": 0.3,
            "ADQ": 9 / 11,
        }
    )


def test_what_cannot_be_measured_takes_no_part():
    short = of(TRACKED, *[SEEN] * 5, *[NOTICED] * 5).measures()
    assert "ADQ" not in short  # ten absent frames are not enough
    gone = of(*[NOTICED] * 12).measures()
    assert "robustness" not in gone
    assert gone["ADQ"] == gone["quality"] == 1
    never = of(MISSED, DRIFTED).measures()
    assert (never["accuracy"], never["robustness"]) == (0, 0)
    both = of_sequence([short, gone])
    assert both["robustness"] == 1
    assert both["quality"] == pytest.approx((5.8 / 11 + 1) / 2)
    assert of_set([both, of_sequence([never])])["robustness"] == 0.5


def test_a_perfect_follower_gets_full_marks():
    perfect = of(*[(1, 1, 1)] * 20, *[NOTICED] * 15)
    assert perfect.measures() == {"quality": 1, "accuracy": 1, "robustness": 1, "NRE": 0, "DRE": 0, "ADQ": 1}
    assert quality_curve([[perfect]]).tolist() == [1] * 100


_frame = st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), st.booleans(), st.booleans(), st.booleans())


@settings(max_examples=100, deadline=None)
@given(st.lists(_frame, min_size=1, max_size=30))
def test_any_frames(frames):
    counts = {"T": 0, "F": 0, "M": 0, "H": 0, "N": 0}
    quality, accuracy = [], []
    columns = [np.array(side) for side in zip(*frames, strict=True)]
    # Nothing that was not reported overlaps anything.
    columns[0] = np.where(columns[2] & columns[1], columns[0], 0.0)
    for overlap, visible, reported, counted in zip(*columns, strict=True):
        if not counted:
            continue
        kind = ("T" if overlap > 0 else "F" if reported else "M") if visible else "H" if reported else "N"
        counts[kind] += 1
        quality.append({"N": 1.0, "H": 0.0}.get(kind, overlap))
        accuracy += [overlap] * (kind == "T")
    there, absent = (sum(counts[name] for name in names) for names in ("TFM", "HN"))
    expected = {"quality": np.mean(quality) if quality else 0, "accuracy": np.mean(accuracy) if accuracy else 0}
    if there:
        expected |= {"robustness": counts["T"] / there, "NRE": counts["M"] / there, "DRE": counts["F"] / there}
    if absent > 10:
        expected["ADQ"] = counts["N"] / absent
    followed = follows(*(columns[place] for place in (0, 1, 2, 3)))
    assert followed.measures() == pytest.approx(expected)
    if quality:
        assert followed.success()[50] == pytest.approx(np.mean(np.array(quality) > 50 / 99))
