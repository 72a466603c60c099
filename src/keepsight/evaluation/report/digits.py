"""Figures in the digits that people read."""

from __future__ import annotations

import math

from keepsight.evaluation.results import Results


def number(value: float | None, signed: bool = False, *, count: bool = False) -> str:
    """Three digits after the point, as everywhere in tables of shares; fewer for what is far above one, and for counts."""
    if value is None or math.isnan(value):
        return "–"
    digits = decimals(value, count=count, share=3 if abs(value) < 10 else 1)
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-", "−")


def figure(results: Results, measure: str, value: float | None, signed: bool = False) -> str:
    """A value of a measure, or with ``signed`` a difference of two."""
    return number(value, signed, count=measure in results.counts)


def decimals(value: float, *, count: bool, share: int) -> int:
    """Digits after the point: of a count none, of a mean of counts one, of all else ``share``."""
    if not count or not math.isfinite(value):
        return share
    return 0 if value == round(value) else 1
