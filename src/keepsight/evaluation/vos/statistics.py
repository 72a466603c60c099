"""From J and F by frame to the figures of an object, and from those to the figures of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from keepsight.evaluation.results import Figure, Row
from keepsight.evaluation.vos.protocol import Mean, Protocol

MEASURES = ("J&F", "J", "F", "J recall", "F recall", "J decay", "F decay")
ERRORS = ("J decay", "F decay", "V", "V seen", "V unseen")
"""Measures of which less is better."""
SEEN, UNSEEN = "seen", "unseen"

Floats = NDArray[np.float64]


def object_values(j: Floats, f: Floats, *, stability: bool = False) -> dict[str, float]:
    """Figures of one object from J and F of its frames, ``(T,)`` each, T of 1 or more.

    Args:
        stability: V of LVOS too.
    """
    values = {"J&F": float((j.mean() + f.mean()) / 2), "J": float(j.mean()), "F": float(f.mean())}
    values |= {"J recall": float((j > 0.5).mean()), "F recall": float((f > 0.5).mean())}
    values |= {"J decay": decay(j), "F decay": decay(f)}
    return values | ({"V": instability((j + f) / 2)} if stability else {})


def decay(values: Floats) -> float:
    """Mean of the first quarter minus mean of the last; up: worse towards the end.

    Quarters begin and end at ``round(linspace(1, T, 5)) - 1``, both ends included, as in DAVIS. DAVIS keeps these in 8 bits,
    so its decay is wrong from 257 frames on; here they are whole numbers.
    """
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    return float(values[: edges[1] + 1].mean() - values[edges[3] : edges[4] + 1].mean())


def instability(values: Floats) -> float:
    """V of LVOS: standard deviation over time of J&F; the variance is rounded to four digits first, as there. Down: better."""
    return float(np.sqrt(np.round(np.mean((values.mean() - values) ** 2), 4)))


def summarise(rows: Sequence[Row], protocol: Protocol) -> tuple[dict[str, float], dict[str, Figure]]:
    """Figures of the whole set, in the order of its own table, and how they are made of the rows; empty for no rows."""
    by: Literal["mean", "video mean"] = "mean" if protocol.mean is Mean.OBJECT else "video mean"
    # The mean over rows needs no rule.
    figures = {} if by == "mean" else {name: Figure(by, (name,)) for name in MEASURES}
    summary = {name: average(rows, name, protocol.mean) for name in MEASURES} if rows else {}
    if not rows or not protocol.split:
        return summary, figures
    stability = ("V",) if protocol.split == "lvos" else ()
    parts = {group: [row for row in rows if group in row.attributes] for group in (SEEN, UNSEEN)}
    split: dict[str, float] = {}
    if all(parts.values()):
        for group, part in parts.items():
            for name in ("J", "F", *stability):
                split[f"{name} {group}"] = average(part, name, protocol.mean)
                figures[f"{name} {group}"] = Figure(by, (f"{name}@{group}",))
        whole = tuple(name for name in split if name[0] in "JF")
        split = {"G": float(np.mean([split[name] for name in whole])), **split}
        figures["G"] = Figure("mean", whole)
    for name in stability:
        summary[name] = average(rows, name, protocol.mean)
        figures |= {} if by == "mean" else {name: Figure(by, (name,))}
    return split | summary, figures


def average(rows: Sequence[Row], name: str, mean: Mean) -> float:
    """Mean of a measure over objects, or over the means of videos."""
    if mean is Mean.OBJECT:
        return float(np.mean([row.values[name] for row in rows]))
    videos: dict[str, list[float]] = {}
    for row in rows:
        videos.setdefault(row.video, []).append(row.values[name])
    return float(np.mean([np.mean(values) for values in videos.values()]))


def headline(summary: Mapping[str, float]) -> tuple[str, ...]:
    """What runs are compared by: the set's own figure first."""
    return tuple(name for name in ("G", "J&F", "J", "F") if name in summary)
