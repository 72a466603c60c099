"""The folder of a run: what is written comes back, and nothing that came from outside does harm."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.core import InputError
from keepsight.evaluation.report import read_run, write_run
from keepsight.evaluation.results import Curve, Figure, Results, Row

names = st.text(st.characters(), min_size=1, max_size=12)
numbers = st.floats(allow_nan=False)
series = st.integers(0, 5).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 10**6), min_size=count, max_size=count).map(tuple),
        st.dictionaries(names, st.lists(st.none() | numbers, min_size=count, max_size=count).map(tuple), max_size=2),
    )
)
rows = st.builds(
    lambda video, item, values, attributes, by_frame: Row(video, item, values, attributes, *by_frame),
    names,
    st.text(max_size=5),
    st.dictionaries(names, numbers, max_size=3),
    st.lists(names, max_size=3).map(tuple),
    series,
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
lines = st.lists(names, max_size=3).map(tuple)
curves = st.builds(Curve, names, names, names, st.just((0.0, 1.0)), st.tuples(numbers, numbers))
results = st.builds(
    Results,
    st.sampled_from(["vos", "box", "concepts"]),
    lines,
    st.dictionaries(names, numbers, max_size=4),
    lines,
    st.lists(rows, max_size=4).map(tuple),
    st.dictionaries(names, plain, max_size=4),
    st.lists(curves, max_size=2).map(tuple),
    lines,
    lines,
    st.dictionaries(names, st.builds(Figure, st.sampled_from(["mean", "product"]), lines), max_size=2),
)


@settings(deadline=None, max_examples=60)
@given(measured=results)
def test_what_is_written_comes_back(tmp_path_factory, measured):
    folder = tmp_path_factory.mktemp("run")
    write_run(measured, folder)
    assert read_run(folder) == measured


def test_what_is_no_number_is_kept_without_leaving_json(tmp_path):
    measured = Results("vos", (), {"G": math.nan}, ("G",), (Row("a", "", {"J": math.nan, "D": math.inf}),), {})
    write_run(measured, tmp_path)

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    json.loads((tmp_path / "run.json").read_text(), parse_constant=refuse)
    back = read_run(tmp_path)
    assert math.isnan(back.summary["G"])
    assert math.isnan(back.rows[0].values["J"])
    assert back.rows[0].values["D"] == math.inf


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no run.json"),
        ("{", "cannot be read"),
        ("[]", "not the file of an evaluation"),
        ('{"format": "keepsight-evaluation", "version": 99}', "another version"),
        ('{"format": "keepsight-evaluation", "version": 1, "task": "vos"}', "damaged"),
    ],
)
def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path, text, said):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)
