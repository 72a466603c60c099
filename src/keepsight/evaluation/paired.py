"""How sure a figure is, and the difference of two: bootstrap over videos (Efron and Tibshirani, 1993, chapters 8 and 13).

Objects of one video have its camera, its light and its trouble in common, so whole videos are drawn, with replacement, and
all rows of a video go along. Two runs are compared on the same draws: what makes a video hard for both is no difference.
A drawn figure is made by the rule of the data set from the rows that were drawn; the interval goes from the 2.5th to the
97.5th percentile of the draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from keepsight.core import InputError
from keepsight.evaluation.results import Figure, Results, Row

DRAWS = 10_000
LEVEL = 0.95
#: Below this many videos a bootstrap interval is noticeably too narrow.
FEW_VIDEOS = 10
#: Below this many videos no sign is certain: that all of five gain happens by chance more than once in twenty (sign test).
LEAST_VIDEOS = 6
NOT_OF_ROWS = "not made of the rows alone"
_DRAWS_AT_ONCE = 4_000_000
_OF_VIDEOS = " of videos"
_OF_FRAMES = " of frames"
_ENDINGS = {"video mean": _OF_VIDEOS, "frame mean": _OF_FRAMES}

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure, or a difference of two, with its interval.

    Attributes:
        value: of all rows.
        low, high: ends of the interval; ``None`` where there is no telling (``why``).
        videos: how many take part.
        why: what stands against an interval, or against trusting it; empty where nothing does.
    """

    value: float
    low: float | None
    high: float | None
    videos: int
    why: str = ""

    @property
    def certain(self) -> bool:
        """Whether a difference has its sign for certain: the interval leaves zero out, and is of enough videos."""
        if self.low is None or self.high is None or self.videos < LEAST_VIDEOS:
            return False
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class _Totals:
    """Sums and counts of a measure by video, or by draw."""

    total: Numbers
    count: Numbers


def estimates(
    results: Results,
    measures: Sequence[str] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Estimate]:
    """Figures of one run with their intervals.

    Args:
        measures: figures to look at; left out, every one of the summary that can be made of the rows.
        draws: how many data sets are drawn. More make the ends of the interval steadier, not narrower.
        seed: of the draws; the same gives the same interval.
        level: share of the draws inside the interval.

    Raises:
        InputError: a figure of ``measures`` cannot be made of the rows.
    """
    names = _possible(results) if measures is None else list(measures)
    videos = sorted({row.video for row in results.rows})
    table = _Table(results, names, videos)
    drawn = [table.figures(weights) for weights in _draw(len(videos), draws, seed)]
    return {
        name: _estimate(
            float(table.figures(None)[name]),
            np.concatenate([part[name] for part in drawn]) if drawn else None,
            table.videos(name),
            level,
        )
        for name in names
    }


def differences(
    before: Results,
    after: Results,
    measures: Sequence[str] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Estimate]:
    """``after`` minus ``before`` on the same draws of videos.

    Args:
        measures: figures to look at; left out, every one of the summaries that can be made of the rows of both.

    Raises:
        InputError: the runs have other rows, or a figure cannot be made of them.
    """
    if {row.name for row in before.rows} != {row.name for row in after.rows}:
        raise InputError("The two runs have scored other rows; compare what they have in common.")
    if measures is None:
        also = set(_possible(after))
        measures = [name for name in _possible(before) if name in also]
    videos = sorted({row.video for row in before.rows})
    tables = [_Table(results, measures, videos) for results in (before, after)]
    drawn: list[dict[str, Numbers]] = []
    for weights in _draw(len(videos), draws, seed):
        old, new = (table.figures(weights) for table in tables)
        drawn.append({name: new[name] - old[name] for name in measures})
    whole = [table.figures(None) for table in tables]
    return {
        name: _estimate(
            float(whole[1][name] - whole[0][name]),
            np.concatenate([part[name] for part in drawn]) if drawn else None,
            min(table.videos(name) for table in tables),
            level,
        )
        for name in measures
    }


def mean_estimate(
    values: Sequence[float], videos: Sequence[str], *, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Estimate:
    """The mean of single values with its interval, for what is no run: say the differences of two trackers.

    Args:
        values: NaN where there is none.
        videos: of which video each value is; as long as ``values``.
    """
    rows = tuple(
        Row(video, f"{place:08d}", {"value": float(value)})
        for place, (video, value) in enumerate(zip(videos, values, strict=True))
    )
    if not rows:
        return Estimate(math.nan, None, None, 0, "no video has it")
    results = Results("vos", (), {}, (), rows, {})
    return estimates(results, ["value"], draws=draws, seed=seed, level=level)["value"]


def summary_estimates(results: Results, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Estimate]:
    """Every figure of the summary, with an interval where the rows make that figure and none where they do not."""
    made = estimates(results, draws=draws, seed=seed)
    found = {}
    for name, value in results.summary.items():
        estimate = made.get(name)
        if estimate is not None and agrees(estimate.value, value):
            found[name] = replace(estimate, value=value)
        else:
            found[name] = Estimate(value, None, None, 0, NOT_OF_ROWS)
    return found


def agrees(made: float, stated: float) -> bool:
    """Whether a figure made of the rows is the one of the summary, but for rounding."""
    return math.isclose(made, stated, rel_tol=1e-6, abs_tol=1e-6) or (math.isnan(made) and math.isnan(stated))


class _Table:
    """Sums and counts by video of every measure that the wanted figures are made of."""

    def __init__(self, results: Results, names: Sequence[str], videos: Sequence[str]) -> None:
        self._rules, self._names = results.figures, tuple(names)
        places = {video: place for place, video in enumerate(videos)}
        # In one order whatever the order of the rows was, so that the sums agree to the last bit.
        rows = sorted(results.rows, key=lambda row: (row.video, row.item))
        known = _measures(rows)
        self._leaves = {name: _leaves(name, self._rules, known) for name in names}
        self._totals: dict[str, _Totals] = {}
        for leaf in dict.fromkeys(leaf for leaves in self._leaves.values() for leaf in leaves):
            measure, attribute = _split(leaf, known)
            plain = measure.removesuffix(_OF_VIDEOS).removesuffix(_OF_FRAMES)
            self._totals[leaf] = _by_video(rows, plain, attribute, places, by_frames=measure.endswith(_OF_FRAMES))
            if measure.endswith(_OF_VIDEOS):
                self._totals[leaf] = _of_videos(self._totals[leaf])

    def videos(self, name: str) -> int:
        """How many videos take part in a figure."""
        return int(np.any([self._totals[leaf].count > 0 for leaf in self._leaves[name]], axis=0).sum())

    def figures(self, weights: Numbers | None) -> dict[str, Numbers]:
        """Every figure: a value for all videos once, or for each draw of ``weights`` (draws, videos)."""
        totals = {
            leaf: _Totals(each.total.sum(), each.count.sum())
            if weights is None
            else _Totals(weights @ each.total, weights @ each.count)
            for leaf, each in self._totals.items()
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            return {name: _figure(name, self._rules, totals) for name in self._names}


def _possible(results: Results) -> list[str]:
    known = _measures(results.rows)
    names = []
    for name in results.summary:
        try:
            _leaves(name, results.figures, known)
        except InputError:
            continue
        names.append(name)
    return names


def _leaves(name: str, rules: Mapping[str, Figure], known: set[str], above: tuple[str, ...] = ()) -> list[str]:
    """Measures of the rows (``measure`` or ``measure@attribute``) that a figure is made of."""
    rule = rules.get(name)
    if rule is None:
        measure, _ = _split(name, known)
        if measure not in known:
            raise InputError(f"{name} is not made of the rows; there is no interval for it.")
        return [name]
    if name in above or not rule.of:
        raise InputError(f"{name} is said to be made of {'itself' if rule.of else 'nothing'}.")
    if rule.by in _ENDINGS:
        return [leaf for part in rule.of for leaf in _leaves(_ending(part, _ENDINGS[rule.by]), {}, known)]
    return [leaf for part in rule.of for leaf in _leaves(part, rules, known, (*above, name))]


def _measures(rows: Sequence[Row]) -> set[str]:
    measures = {measure for row in rows for measure in row.values}
    parts = {part for row in rows for part in row.parts}
    return parts.union(*((name, name + _OF_VIDEOS, name + _OF_FRAMES) for name in measures))


def _ending(leaf: str, ending: str) -> str:
    """The measure, counted otherwise: a value a video, the mean of its rows; or every row by its frames."""
    measure, at, attribute = leaf.partition("@")
    return f"{measure}{ending}{at}{attribute}"


def _of_videos(totals: _Totals) -> _Totals:
    there = totals.count > 0
    return _Totals(
        np.divide(totals.total, totals.count, out=np.zeros_like(totals.total), where=there), there.astype(float)
    )


def _split(leaf: str, known: set[str]) -> tuple[str, str | None]:
    if leaf in known or "@" not in leaf:
        return leaf, None
    measure, _, attribute = leaf.rpartition("@")
    return measure, attribute


def _by_video(
    rows: Sequence[Row], measure: str, attribute: str | None, places: Mapping[str, int], *, by_frames: bool
) -> _Totals:
    valued = ((row, row.values.get(measure, row.parts.get(measure, np.nan))) for row in rows)
    some = [
        (places[row.video], value, _scored(row) if by_frames else 1)
        for row, value in valued
        if not np.isnan(value) and (attribute is None or attribute in row.attributes)
    ]
    where = np.array([place for place, _, _ in some], np.int64)
    values, weights = (np.array([item[side] for item in some], np.float64) for side in (1, 2))
    count = np.bincount(where, weights=weights, minlength=len(places))
    total = np.bincount(where, weights=values * weights, minlength=len(places))
    return _Totals(total.astype(np.float64), count.astype(np.float64))


def _scored(row: Row) -> int:
    """Frames that have a value in the row's first series."""
    return sum(value is not None for value in next(iter(row.series.values()), ()))


def _figure(name: str, rules: Mapping[str, Figure], totals: Mapping[str, _Totals]) -> Numbers:
    rule = rules.get(name)
    if rule is None:
        return np.asarray(totals[name].total / totals[name].count)
    if rule.by in _ENDINGS:
        [leaf] = (_ending(part, _ENDINGS[rule.by]) for part in rule.of)
        return np.asarray(totals[leaf].total / totals[leaf].count)
    if rule.by in ("mean", "product", "geometric mean"):
        parts = np.stack([_figure(part, rules, totals) for part in rule.of])
        if rule.by == "geometric mean":
            return np.asarray(parts.prod(axis=0) ** (1 / len(parts)))
        return np.asarray(parts.mean(axis=0) if rule.by == "mean" else parts.prod(axis=0))
    sums = [totals[part].total for part in rule.of]
    if rule.by == "ratio":
        share, whole = sums
        return np.asarray(np.where(whole > 0, share / np.where(whole > 0, whole, 1), 0.0))
    if rule.by == "f1":
        hits, false, missed = sums
        if not rule.small:
            return np.asarray(2 * hits / (2 * hits + false + missed))
        precision, recall = hits / (hits + false + rule.small), hits / (hits + missed + rule.small)
        return np.asarray(2 * precision * recall / (precision + recall + rule.small))
    hits, false, missed, right = sums
    root = np.sqrt((hits + false) * (hits + missed) * (right + false) * (right + missed)) + rule.small
    return np.asarray(np.where(root > 0, (hits * right - false * missed) / np.where(root > 0, root, 1), 0.0))


def _draw(videos: int, draws: int, seed: int) -> Iterator[Numbers]:
    """How often each video is drawn: float64 (some draws, videos), until there are ``draws``; nothing for a single video."""
    if videos < 2:
        return
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // videos)
    for begin in range(0, draws, step):
        count = min(step, draws - begin)
        chosen = rng.integers(0, videos, (count, videos))
        chosen += np.arange(count)[:, None] * videos
        yield np.bincount(chosen.ravel(), minlength=count * videos).reshape(count, videos).astype(np.float64)


def _estimate(value: float, drawn: Numbers | None, videos: int, level: float) -> Estimate:
    if drawn is None or videos < 2:
        return Estimate(
            value, None, None, videos, "one video says nothing about others" if videos else "no video has it"
        )
    drawn = drawn[~np.isnan(drawn)]  # draws without any video that has the measure
    if len(drawn) == 0:
        return Estimate(value, None, None, videos, "no draw has it")
    low, high = np.percentile(drawn, [50 * (1 - level), 50 * (1 + level)])
    why = f"only {videos} videos" if videos < FEW_VIDEOS else ""
    return Estimate(value, float(low), float(high), videos, why)
