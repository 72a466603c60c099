"""Plots of the pages as plain numbers: the template only places them, so that they follow a page's light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keepsight.evaluation.results import Curve, Row
from keepsight.render.curves import WIDTH, series_path

_BINS = 20
_MOST_POINTS = 600


@dataclass(frozen=True)
class Line:
    """A line of a plot.

    Attributes:
        name: for the legend.
        tone: which of the page's colours: "a", "b" or "soft".
        path: SVG path; x in plot units, y in units of the plot's y axis, upwards.
    """

    name: str
    tone: str
    path: str


@dataclass(frozen=True)
class Plot:
    """A plot with axes from 0 to ``WIDTH`` in both directions.

    Attributes:
        x_ticks, y_ticks: place in percent of the axis, text.
        low, high: ends of the y axis.
        bars: ``(x, width, height, text)``; height as a share of the axis, text tells it in words.
        points: ``(x, y, text)``, places as shares of the axes, y upwards.
        diagonal: whether a line of equal x and y is drawn.
    """

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    low: float
    high: float
    lines: tuple[Line, ...] = ()
    bars: tuple[tuple[float, float, float, str], ...] = ()
    points: tuple[tuple[float, float, str], ...] = ()
    diagonal: bool = False

    @property
    def transform(self) -> str:
        """From units of the y axis to those of the drawing."""
        scale = WIDTH / (self.high - self.low)
        return f"translate(0 {scale * self.high:.6g}) scale(1 {-scale:.6g})"


def curve_plot(named: Sequence[tuple[str, Curve]]) -> Plot | None:
    """Curves of one title in one plot; ``None`` where none has a point.

    Args:
        named: name of the run and its curve; the first is drawn in the tone "a", the others in "b".
    """
    pairs = [(name, curve, *_finite(curve)) for name, curve in named]
    pairs = [pair for pair in pairs if len(pair[2])]
    if not pairs:
        return None
    left, right = _range([x for _, _, x, _ in pairs])
    low, high = _range([y for *_, y in pairs])
    lines = []
    for place, (name, _, x, y) in enumerate(pairs):
        keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).astype(int))
        shown = (WIDTH * (x - left) / (right - left))[keep]
        path = "M" + "L".join(f"{a:.2f} {b:.5g}" for a, b in zip(shown, y[keep], strict=True))
        lines.append(Line(name, "a" if place == 0 else "b", path))
    first = pairs[0][1]
    return Plot(
        first.title,
        first.x_label,
        first.y_label,
        axis_ticks(left, right),
        axis_ticks(low, high),
        low,
        high,
        tuple(lines),
    )


def series_plot(title: str, named: Sequence[tuple[str, Row]], measures: Sequence[str]) -> Plot | None:
    """Measures by frame, of one row or of the same row in two runs; ``None`` where nothing was scored by frame."""
    drawn: list[tuple[str, np.ndarray, np.ndarray]] = []
    for name, row in named:
        for measure in measures:
            values = np.array([math.nan if v is None else v for v in row.series.get(measure, ())], np.float64)
            if len(values) and len(values) == len(row.frames) and np.isfinite(values).any():
                values[np.isinf(values)] = math.nan
                told = " ".join(word for word in (name, measure if len(measures) > 1 else "") if word)
                drawn.append((told or measure, np.asarray(row.frames), values))
    if not drawn:
        return None
    span = (min(int(frames[0]) for _, frames, _ in drawn), max(int(frames[-1]) for _, frames, _ in drawn))
    low, high = _range([values[np.isfinite(values)] for *_, values in drawn])
    lines = []
    for place, (name, frames, values) in enumerate(drawn):
        step = int(np.median(np.diff(frames))) if len(frames) > 1 else 1
        lines.append(Line(name, "ab"[place] if place < 2 else "soft", series_path(frames, values, step, span)))
    ticks = axis_ticks(span[0], span[1], whole=True)
    return Plot(title, "frame", ", ".join(measures), ticks, axis_ticks(low, high), low, high, tuple(lines))


def course(named: Sequence[tuple[str, Sequence[Row]]], measure: str) -> Plot | None:
    """Mean over rows of a measure by part of the row's frames: whether results decay; ``None`` where there are no frames."""
    lines = []
    for place, (name, rows) in enumerate(named):
        total, count = np.zeros(_BINS), np.zeros(_BINS)
        for row in rows:
            values = np.array([math.nan if v is None else v for v in row.series.get(measure, ())], np.float64)
            if len(values) < _BINS:
                continue
            part = np.arange(len(values)) * _BINS // len(values)
            good = np.isfinite(values)
            found = np.bincount(part[good], minlength=_BINS)
            sums = np.bincount(part[good], weights=values[good], minlength=_BINS)
            total += np.divide(sums, found, out=np.zeros(_BINS), where=found > 0)
            count += found > 0
        if (count > 0).all():
            lines.append((name, "ab"[min(place, 1)], total / count))
    if not lines:
        return None
    low, high = _range([values for *_, values in lines])
    middles = WIDTH * (np.arange(_BINS) + 0.5) / _BINS
    drawn = tuple(
        Line(name, tone, "M" + "L".join(f"{x:.1f} {y:.5g}" for x, y in zip(middles, values, strict=True)))
        for name, tone, values in lines
    )
    ticks = axis_ticks(0, 100)
    title = f"{measure} from the first to the last frame, mean of the rows"
    return Plot(title, "part of the frames, %", measure, ticks, axis_ticks(low, high), low, high, drawn)


def histogram(title: str, measure: str, values: Sequence[float]) -> Plot | None:
    """How many rows have which value; an axis that leaves zero on both sides has it in its middle."""
    finite = np.array([value for value in values if math.isfinite(value)])
    if not len(finite):
        return None
    left, right = _range([finite])
    if left < 0 < right:
        left, right = -max(-left, right), max(-left, right)
    counts, edges = np.histogram(finite, bins=_BINS, range=(left, right))
    top = float(max(counts))
    bars = tuple(
        (
            round(WIDTH * place / _BINS, 2),
            WIDTH / _BINS,
            count / top,
            f"{measure} {edges[place]:.2f} to {edges[place + 1]:.2f}: {count}",
        )
        for place, count in enumerate(counts.tolist())
    )
    ticks = axis_ticks(0, top, whole=True)
    return Plot(title, measure, "rows", axis_ticks(left, right), ticks, 0.0, top, bars=bars)


def scatter(title: str, labels: tuple[str, str], points: Mapping[str, tuple[float, float]]) -> Plot | None:
    """Two values a name, against each other on equal axes."""
    finite = {name: pair for name, pair in points.items() if all(math.isfinite(value) for value in pair)}
    if not finite:
        return None
    low, high = _range([np.array(list(finite.values()))])
    ticks = axis_ticks(low, high)
    shown = tuple(
        (round((x - low) / (high - low), 4), round((y - low) / (high - low), 4), f"{name}: {x:.3f} and {y:.3f}")
        for name, (x, y) in finite.items()
    )
    return Plot(title, *labels, ticks, ticks, low, high, points=shown, diagonal=True)


def axis_ticks(low: float, high: float, whole: bool = False) -> tuple[tuple[float, str], ...]:
    """About five round numbers along an axis: place in percent, text."""
    rough = (high - low) / 5
    if rough <= 0:
        return ((0.0, f"{low:g}"),)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(
        (round(100 * (place * step - low) / (high - low), 3), f"{place * step:.6g}") for place in range(first, last + 1)
    )


def _finite(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(curve.x, np.float64), np.asarray(curve.y, np.float64)
    good = np.isfinite(x) & np.isfinite(y)
    return x[good], y[good]


def _range(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """Ends of an axis: 0 and 1 for shares, otherwise what is there and zero."""
    low = min(0.0, *(float(part.min()) for part in parts))
    high = max(float(part.max()) for part in parts)
    if low == 0 and 0.2 < high <= 1:
        return 0.0, 1.0
    # Values that differ by rounding alone have no axis of their own.
    return (low, high) if high - low > 1e-9 * max(1.0, abs(low), abs(high)) else (low - 0.5, low + 0.5)
