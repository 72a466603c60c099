"""Bootstrap over videos: equal to scipy's where the two are the same thing, and true to what it promises elsewhere."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.core import InputError
from keepsight.evaluation import paired
from keepsight.evaluation.results import Figure, Results, Row


def _results(rows, summary=("J",), **more):
    return Results("vos", (), dict.fromkeys(summary, 0.0), tuple(summary), tuple(rows), {}, **more)


def _single(values, measure="J"):
    """A row a video; in the order of their names."""
    return _results([Row(f"v{i:04d}", "", {measure: float(value)}) for i, value in enumerate(values)], (measure,))


def test_single_and_paired_intervals_are_scipys():
    rng = np.random.default_rng(5)
    a, b = rng.beta(5, 2, 37), rng.beta(6, 2, 37)
    told = {"n_resamples": 3000, "method": "percentile", "confidence_level": 0.9}

    ours = paired.estimates(_single(a), draws=3000, seed=11, level=0.9)["J"]
    theirs = scipy.stats.bootstrap((a,), np.mean, rng=np.random.default_rng(11), **told).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours.value == pytest.approx(a.mean(), abs=1e-12)

    ours = paired.differences(_single(a), _single(b), draws=3000, seed=11, level=0.9)["J"]
    theirs = scipy.stats.bootstrap((b - a,), np.mean, rng=np.random.default_rng(11), **told).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_draws_in_portions_are_the_same_draws(monkeypatch):
    results = _single(np.random.default_rng(0).random(23))
    whole = paired.estimates(results, draws=500)
    monkeypatch.setattr(paired, "_DRAWS_AT_ONCE", 23 * 7)
    parts = paired.estimates(results, draws=500)
    assert (parts["J"].low, parts["J"].high) == pytest.approx((whole["J"].low, whole["J"].high), abs=1e-14)


def test_rows_of_a_video_stay_together():
    """Twenty copies of every object say nothing new about other videos; drawn one by one they would halve the interval."""
    values = np.random.default_rng(3).random(30)
    once = paired.estimates(_single(values))["J"]
    rows = [Row(f"v{i:04d}", str(item), {"J": float(value)}) for i, value in enumerate(values) for item in range(20)]
    many = paired.estimates(_results(rows))["J"]
    assert (many.low, many.high) == pytest.approx((once.low, once.high), abs=1e-12)
    one_by_one = paired.estimates(_single(np.repeat(values, 20)))["J"]
    assert one_by_one.high - one_by_one.low < 0.3 * (many.high - many.low)


def test_what_is_hard_for_both_is_no_difference():
    hard = np.random.default_rng(4).random(40)
    gain = paired.differences(_single(hard), _single(hard + 0.01))["J"]
    assert gain.value == pytest.approx(0.01)
    assert gain.high - gain.low < 1e-9
    assert gain.certain
    alone = paired.estimates(_single(hard))["J"]
    assert alone.high - alone.low > 0.1


tables = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("1234"), st.floats(0, 1), st.floats(0, 1)),
    min_size=2,
    max_size=12,
    unique_by=lambda row: row[:2],
)


@settings(deadline=None, max_examples=40)
@given(table=tables, seed=st.integers(0, 99))
def test_order_of_rows_means_nothing_and_a_run_equals_itself(table, seed):
    rows = [Row(video, item, {"J": j, "F": f}) for video, item, j, f in table]
    mixed = random.Random(seed).sample(rows, len(rows))
    same = _results(rows, ("J", "F")), _results(mixed, ("J", "F"))
    assert paired.estimates(same[0], draws=50) == paired.estimates(same[1], draws=50)
    for none in paired.differences(*same, draws=50).values():
        assert none.value == 0
        assert none.low in (0, None)
        assert none.high in (0, None)
        assert not none.certain


def test_one_video_says_that_it_cannot():
    rows = [Row("a", "1", {"J": 0.25}), Row("a", "2", {"J": 0.75})]
    one = paired.estimates(_results(rows))["J"]
    assert (one.value, one.low, one.high) == (0.5, None, None)
    assert one.why == "one video says nothing about others"
    assert not one.certain
    # Many videos, one of which has the measure.
    rare = paired.estimates(_results([*rows, Row("b", "", {}), Row("c", "", {"J": math.nan})]))["J"]
    assert (rare.videos, rare.low) == (1, None)
    assert "2 videos" in paired.estimates(_results([*rows, Row("b", "", {"J": 1.0})]))["J"].why


def test_figures_follow_the_data_sets_rule():
    """G of YouTube-VOS is the mean of four means, not a mean of rows; the reference is a loop over draws."""
    rng = np.random.default_rng(8)
    rows = [
        Row(
            f"v{i:02d}",
            str(k),
            {"J": float(rng.random()), "F": float(rng.random())},
            ("seen" if rng.random() < 0.7 else "unseen",),
        )
        for i in range(25)
        for k in range(int(rng.integers(1, 4)))
    ]
    parts = ("J@seen", "J@unseen", "F@seen", "F@unseen")
    ours = paired.estimates(_results(rows, ("G",), figures={"G": Figure("mean", parts)}), draws=400, seed=2)["G"]

    def g(chosen):
        means = []
        for part in parts:
            measure, group = part.split("@")
            means.append(np.mean([row.values[measure] for row in chosen if group in row.attributes]))
        return float(np.mean(means))

    by_video = [[row for row in rows if row.video == f"v{i:02d}"] for i in range(25)]
    draws = np.random.default_rng(2).integers(0, 25, (400, 25))
    drawn = [g([row for video in draw for row in by_video[video]]) for draw in draws]
    assert ours.value == pytest.approx(g(rows), abs=1e-12)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-12)


def test_products_and_counts_as_in_cgf1():
    pairs = [(1, 0, 0, 0, 0.9), (1, 0, 0, 0, 0.5), (0, 0, 1, 0, 0.0), (0, 1, 0, 0, None), (0, 0, 0, 1, None)]
    rows = [
        Row(f"v{i}", "", dict(zip(("TP", "FP", "FN", "TN"), counts, strict=True)) | ({} if f is None else {"f": f}))
        for i, (*counts, f) in enumerate(pairs)
    ]
    figures = {
        "cgF1": Figure("product", ("f", "MCC")),
        "MCC": Figure("mcc", ("TP", "FP", "FN", "TN")),
        "F1": Figure("f1", ("TP", "FP", "FN")),
    }
    found = paired.estimates(_results(rows, ("cgF1", "MCC", "F1"), figures=figures))
    mcc = (2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2)
    assert found["MCC"].value == pytest.approx(mcc)
    assert found["cgF1"].value == pytest.approx(mcc * (0.9 + 0.5 + 0) / 3)
    assert found["F1"].value == pytest.approx(4 / 6)


def test_what_cannot_be_compared_or_made_is_refused():
    with pytest.raises(InputError, match="other rows"):
        paired.differences(_single([0.1, 0.2]), _single([0.1, 0.2, 0.3]))
    made_elsewhere = _results([Row("a", "", {"J": 0.1}), Row("b", "", {"J": 0.2})], ("J", "HOTA"))
    assert list(paired.estimates(made_elsewhere)) == ["J"]
    with pytest.raises(InputError, match="HOTA is not made of the rows"):
        paired.estimates(made_elsewhere, ["HOTA"])


def test_a_mean_over_videos_is_drawn_as_one():
    """Every video by the mean of its rows, however many it has."""
    rng = np.random.default_rng(4)
    rows = [
        Row(f"v{i:04d}", str(item), {"J": float(rng.random())}, ("seen",) if item % 2 else ())
        for i in range(20)
        for item in range(int(rng.integers(2, 9)))
    ]
    figures = {"J": Figure("video mean", ("J",)), "S": Figure("video mean", ("J@seen",))}
    got = paired.estimates(_results(rows, ("J", "S"), figures=figures))
    for name, some in (("J", rows), ("S", [row for row in rows if row.attributes])):
        means = [np.mean([row.values["J"] for row in some if row.video == f"v{i:04d}"]) for i in range(20)]
        alone = paired.estimates(_single(means))["J"]
        assert (got[name].value, got[name].low) == pytest.approx((alone.value, alone.low), abs=1e-12)
    with pytest.raises(InputError, match="not made of the rows"):
        paired.estimates(_results(rows, figures={"J": Figure("video mean", ("X",))}), ["J"])


def test_a_mean_over_frames_weighs_rows_by_what_was_scored():
    rng = np.random.default_rng(8)
    rows, heap = [], []
    for i in range(15):
        values = rng.random(int(rng.integers(1, 30)))
        heap.append(values)
        series = (*values.tolist(), *[None] * int(rng.integers(0, 9)))
        rows.append(Row(f"v{i:04d}", "", {"AO": float(values.mean())}, (), tuple(range(len(series))), {"IoU": series}))
    [got] = paired.estimates(_results(rows, ("AO",), figures={"AO": Figure("frame mean", ("AO",))})).values()
    assert got.value == pytest.approx(np.concatenate(heap).mean(), abs=1e-12)

    def of(chosen):
        return np.concatenate([heap[int(i)] for i in chosen]).mean()

    places = (np.arange(15),)
    theirs = scipy.stats.bootstrap(
        places, of, n_resamples=4000, vectorized=False, method="percentile", random_state=np.random.default_rng(0)
    ).confidence_interval
    assert (got.low, got.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
