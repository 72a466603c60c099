"""Parameters that people set: one documented dataclass each, checked, readable from the command line."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from keepsight.core import InputError, Options, option


@dataclass(frozen=True)
class Odd(Options):
    name = "odd"

    stride: int = option(2, "a", effect="b", low=1)
    max_conditioning: int | None = option(None, "a", effect="b", low=1)
    share: float = option(0.5, "a", effect="b", low=0, high=1)
    weight: float = option(1, "a", effect="b", low=0, low_open=True)
    room: float = option(0.25, "a", effect="b", low=0, high=1, high_open=True)
    below: float = option(-1, "a", effect="b", high=0)
    free: float = option(3, "a", effect="b")
    limit: float | None = option(0.1, "a", effect="b", low=0, high=1)
    smooth: bool = option(True, "a", effect="b")
    mode: str = option("calm", "a", effect="b", choices=("calm", "wild", "none"))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"stride": 0}, "odd: stride must be 1 or more, got 0."),
        ({"stride": 1.5}, "odd: stride must be a whole number, got 1.5."),
        ({"stride": True}, "odd: stride must be a whole number, got True."),
        ({"stride": None}, "odd: stride must be a whole number, got None."),
        ({"stride": "three"}, "odd: stride must be a whole number, got 'three'."),
        ({"max_conditioning": 0}, "odd: max_conditioning must be none or 1 or more, got 0."),
        ({"share": 3}, "odd: share must be in [0, 1], got 3."),
        ({"share": -0.01}, "odd: share must be in [0, 1], got -0.01."),
        ({"share": float("nan")}, "odd: share must be in [0, 1], got nan."),
        ({"share": False}, "odd: share must be a number, got False."),
        ({"weight": 0}, "odd: weight must be above 0, got 0."),
        ({"weight": float("inf")}, "odd: weight must be above 0, got inf."),
        ({"room": 1}, "odd: room must be in [0, 1), got 1."),
        ({"below": 0.5}, "odd: below must be 0 or less, got 0.5."),
        ({"free": float("nan")}, "odd: free must be a number, got nan."),
        ({"limit": 2}, "odd: limit must be none or in [0, 1], got 2."),
        ({"smooth": 1}, "odd: smooth must be true or false, got 1."),
        ({"mode": "loud"}, "odd: mode must be calm, wild or none, got 'loud'."),
        ({"mode": 3}, "odd: mode must be calm, wild or none, got 3."),
    ],
)
def test_refused_with_the_range(values, says):
    with pytest.raises(InputError) as refused:
        Odd(**values)
    assert str(refused.value) == says


def test_the_ends_of_a_range_belong_to_it():
    made = Odd(stride=1, share=0, room=0, limit=1, below=0)
    assert (made.share, made.limit) == (0.0, 1.0)
    assert isinstance(made.share, float)
    assert Odd(share=1).share == 1.0
    assert Odd(limit=None).limit is None


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        ({"stride": "4"}, {"stride": 4}),
        ({"share": " 0.25 "}, {"share": 0.25}),
        ({"limit": "none"}, {"limit": None}),
        ({"limit": "null"}, {"limit": None}),
        ({"max_conditioning": "None"}, {"max_conditioning": None}),
        ({"smooth": "no"}, {"smooth": False}),
        ({"smooth": "TRUE"}, {"smooth": True}),
        ({"mode": "none"}, {"mode": "none"}),
        ({"stride": 4, "share": 1}, {"stride": 4, "share": 1.0}),
    ],
)
def test_read_as_the_command_line_gives_them(texts, values):
    assert Odd.of(texts) == Odd(**values)
    assert Odd(free=9).but(texts) == Odd(**values, free=9)


@pytest.mark.parametrize("text", ["", "3.5", "three", "true", "none"])
def test_texts_that_are_no_number(text):
    with pytest.raises(InputError, match="stride must be a whole number"):
        Odd.of({"stride": text})


def test_unknown_options_are_named():
    with pytest.raises(InputError, match=r"^Odd has no option 'shar'; it has: stride, .*\. Did you mean 'share'"):
        Odd.of({"shar": 1})


def test_described_for_people():
    rows = {row.name: (row.default, row.range) for row in Odd.describe()}
    assert rows == {
        "stride": ("2", "1 or more"),
        "max_conditioning": ("none", "1 or more or none"),
        "share": ("0.5", "[0, 1]"),
        "weight": ("1", "above 0"),
        "room": ("0.25", "[0, 1)"),
        "below": ("-1", "0 or less"),
        "free": ("3", "a number"),
        "limit": ("0.1", "[0, 1] or none"),
        "smooth": ("true", "true or false"),
        "mode": ("calm", "calm, wild or none"),
    }
    assert {row.name: row.effect for row in Odd.describe() if row.name in ("stride", "smooth", "mode")} == {
        "stride": "up: b",
        "smooth": "on: b",
        "mode": "b",
    }
