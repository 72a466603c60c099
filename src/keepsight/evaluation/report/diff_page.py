"""The page of a difference: what moved for certain, why it may have, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from keepsight.evaluation.paired import LEAST_VIDEOS, LEVEL
from keepsight.evaluation.report.changes import Change, Difference, RowChange
from keepsight.evaluation.report.charts import Plot, course, curve_plot, histogram, scatter, series_plot
from keepsight.evaluation.report.digits import figure, number
from keepsight.evaluation.report.page import pictures_by_row, read_pictures, shown_series, subtitle, title
from keepsight.evaluation.report.run import StoredPicture
from keepsight.render.pages import write_page

_CASES = 6
_PICTURES_A_RUN = 2
_MOST_ROWS = 3000


@dataclass(frozen=True)
class ChangeView:
    """A figure of both runs in digits, and its interval as a bar.

    Attributes:
        verdict: "better", "worse", "no change", "no clear change", "too few to tell" or, without an interval, empty.
        bar: left end, right end and middle in percent of a scale that has zero in its middle; ``None`` without an interval.
    """

    name: str
    lower: bool
    before: str
    after: str
    difference: str
    interval: str
    verdict: str
    note: str
    bar: tuple[float, float, float] | None
    rows: int = 0


@dataclass(frozen=True)
class CaseView:
    """A row that changed, with the looks of both runs."""

    name: str
    before: str
    after: str
    change: str
    attributes: tuple[str, ...]
    plot: Plot | None
    old_pictures: tuple[tuple[str, str], ...]
    new_pictures: tuple[tuple[str, str], ...]


def write_diff_page(difference: Difference, path: Path) -> None:
    """Writes the page; it needs nothing but itself.

    Raises:
        StoreError: it cannot be written.
    """
    before, after = difference.before, difference.after
    headline = [change for change in difference.changes if change.name in after.results.headline]
    changes = change_views(difference.changes)
    rows = difference.rows
    if len(rows) > _MOST_ROWS:
        rows = tuple(sorted(rows, key=lambda row: -abs(row.change))[:_MOST_ROWS])
    measure = difference.measure
    write_page(
        path,
        "evaluation_diff.html.j2",
        names=run_names(difference),
        folders=(str(before.folder), str(after.folder)),
        subtitles=(subtitle(before.results), subtitle(after.results)),
        title=title(after.results),
        notes=difference.notes,
        tiles=changes[: len(headline)],
        changes=changes,
        groups=[
            view
            for (name, count, _), view in zip(
                difference.groups,
                change_views([change for *_, change in difference.groups]),
                strict=True,
            )
            for view in [_renamed(view, name, count)]
        ],
        settings=difference.settings,
        measure=measure,
        digits=partial(figure, after.results, measure),
        lower=measure in after.results.lower_is_better,
        plots=_plots(difference),
        cases=[
            ("Greatest losses", _cases(difference, difference.losses[:_CASES])),
            ("Greatest gains", _cases(difference, difference.gains[:_CASES])),
        ],
        counts=(len(difference.losses), len(difference.gains), len(difference.rows)),
        rows=[(row.after.name, row.before.values[measure], row.after.values[measure]) for row in rows],
        row_count=len(difference.rows),
        draws=difference.draws,
        level=round(100 * LEVEL),
    )


def run_names(difference: Difference) -> tuple[str, str]:
    """What the two runs are called: names of their folders, or the folders where the names are the same."""
    before, after = difference.before, difference.after
    if before.name != after.name:
        return before.name, after.name
    return str(before.folder), str(after.folder)


def change_views(changes: Sequence[Change]) -> list[ChangeView]:
    """Changes in digits; their bars are on one scale."""
    ends = [
        abs(end)
        for change in changes
        for end in (change.difference.low, change.difference.high)
        if end is not None and abs(end) <= 1
    ]
    scale = max(ends, default=0.0) or 1.0
    return [_view(change, scale) for change in changes]


def _view(change: Change, scale: float) -> ChangeView:
    each = change.difference
    interval, bar, verdict = "", None, ""
    if each.low is not None and each.high is not None:
        interval = " to ".join(number(end, True, count=change.count) for end in (each.low, each.high))
        unclear = "no clear change" if each.videos >= LEAST_VIDEOS else "too few to tell"
        verdict = change.verdict or ("no change" if each.low == each.high == 0 else unclear)
        if max(abs(each.low), abs(each.high)) <= scale:
            left, right, middle = (50 + 50 * end / scale for end in (each.low, each.high, each.value))
            bar = (round(left, 2), round(right, 2), round(middle, 2))
    return ChangeView(
        change.name,
        change.lower,
        number(change.before, count=change.count),
        number(change.after, count=change.count),
        number(each.value, True, count=change.count),
        interval,
        verdict,
        each.why,
        bar,
    )


def _renamed(view: ChangeView, name: str, rows: int) -> ChangeView:
    return replace(view, name=name, rows=rows)


def _cases(difference: Difference, rows: Sequence[RowChange]) -> list[CaseView]:
    measure, names = difference.measure, run_names(difference)
    old, new = (pictures_by_row(run.pictures) for run in (difference.before, difference.after))
    digits = partial(figure, difference.after.results, measure)
    views = []
    for row in rows:
        series = shown_series([row.before, row.after], difference.after.results)[:1]
        first, second = _facing(old.get(row.after.name, []), new.get(row.after.name, []))
        a, b = row.before.values[measure], row.after.values[measure]
        views.append(
            CaseView(
                row.after.name,
                digits(a),
                digits(b),
                digits(b - a, True),
                row.after.attributes,
                series_plot("", [(names[0], row.before), (names[1], row.after)], series),
                read_pictures(first, _PICTURES_A_RUN),
                read_pictures(second, _PICTURES_A_RUN),
            )
        )
    return views


def _facing(
    old: Sequence[StoredPicture], new: Sequence[StoredPicture]
) -> tuple[Sequence[StoredPicture], Sequence[StoredPicture]]:
    """Pictures of both runs with the same caption (the same frame) first, in the same places."""
    known = {picture.caption for picture in new}
    first = [*(each for each in old if each.caption in known), *(each for each in old if each.caption not in known)]
    places = {picture.caption: place for place, picture in enumerate(first)}
    return first, sorted(new, key=lambda each: places.get(each.caption, len(places)))


def _plots(difference: Difference) -> list[Plot]:
    before, after = difference.before.results, difference.after.results
    names, measure = run_names(difference), difference.measure
    rows = sorted(difference.rows, key=lambda row: -abs(row.change))[:_MOST_ROWS]
    points = {row.after.name: (row.before.values[measure], row.after.values[measure]) for row in rows}
    labels = (f"A: {names[0]}", f"B: {names[1]}")
    changes = [row.after.values[measure] - row.before.values[measure] for row in difference.rows]
    plots = [
        scatter(f"{measure}, a point a row; above the line B has more", labels, points),
        histogram(f"B − A of the {len(changes):,} rows", f"change of {measure}", changes),
    ]
    for name in shown_series([*before.rows, *after.rows], after)[:1]:
        plots.append(course([(names[0], before.rows), (names[1], after.rows)], name))
    old = {curve.title: curve for curve in before.curves}
    for curve in after.curves:
        if curve.title in old:
            plots.append(curve_plot([(names[0], old[curve.title]), (names[1], curve)]))
    return [plot for plot in plots if plot is not None]
