"""The page of a run: how good, how sure, where it fails, and what made it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keepsight.evaluation.paired import DRAWS, LEVEL, Estimate, summary_estimates
from keepsight.evaluation.report.charts import Plot, course, curve_plot, histogram, series_plot
from keepsight.evaluation.report.digits import figure
from keepsight.evaluation.report.run import Run, StoredPicture
from keepsight.evaluation.results import Results, Row
from keepsight.render.pages import fact_rows, inline, write_page

TASKS = {"vos": "Video object segmentation", "box": "Tracking by box", "concepts": "Concepts"}
_WORST = 12
_MOST_WITH_PICTURES = 24
_PICTURES_A_ROW = 4
_MOST_VIDEOS = 3000
_COLUMNS = 6
_MEASURES_A_ROW = 3


@dataclass(frozen=True)
class FigureView:
    """A figure as it is shown; ``interval`` is empty where there is none, ``note`` says why."""

    name: str
    value: str
    interval: str
    note: str
    lower: bool


@dataclass(frozen=True)
class GroupView:
    """Rows with an attribute, or of a video: how many, and means by measure (``None`` where no row has it)."""

    name: str
    rows: int
    videos: int
    means: tuple[float | None, ...]
    weakest: str = ""


@dataclass(frozen=True)
class RowView:
    """A row with its look: pictures as base64 JPEG with their captions."""

    name: str
    values: tuple[tuple[str, str], ...]
    attributes: tuple[str, ...]
    plot: Plot | None
    pictures: tuple[tuple[str, str], ...]


def write_report(run: Run, path: Path) -> None:
    """Writes the page; it needs nothing but itself.

    Raises:
        StoreError: it cannot be written.
    """
    results = run.results
    figures = [figure_view(name, each, results) for name, each in summary_estimates(results).items()]
    measures = row_measures(results)
    videos = group_rows(((row.video, row) for row in results.rows), measures)
    groups = group_rows(((name, row) for row in results.rows for name in row.attributes), measures)
    everything = group_rows((("", row) for row in results.rows), measures)
    write_page(
        path,
        "evaluation.html.j2",
        title=title(results),
        subtitle=subtitle(results),
        at=run.made.get("at", ""),
        results=results,
        headline=[each for name in results.headline for each in figures if each.name == name],
        figures=figures,
        measures=measures,
        digits=partial(figure, results),
        lower=results.lower_is_better,
        groups=sorted(groups, key=lambda group: -group.rows),
        everything=everything,
        videos=worst_groups(videos, results)[:_MOST_VIDEOS] if len(videos) > _MOST_VIDEOS else videos,
        video_count=len(videos),
        weakest=any(video.weakest for video in videos),
        worst=worst_views(run),
        plots=_plots(results, measures),
        settings=fact_rows(results.settings),
        made=fact_rows(flat(run.made)),
        draws=DRAWS,
        level=round(100 * LEVEL),
    )


def title(results: Results) -> str:
    """The data set where it is named, a folder by its own name, or else the task."""
    dataset, root = (results.settings.get(name) for name in ("dataset", "root"))
    if dataset == "folder" and root:
        return Path(os.path.abspath(str(root))).name or str(root)
    return str(dataset or TASKS[results.task])


def subtitle(results: Results) -> str:
    """Task, model and policy, as far as they are named."""
    parts = [TASKS[results.task], *(results.settings.get(name) for name in ("model", "policy"))]
    return " · ".join(str(part) for part in parts if part)


def row_measures(results: Results) -> list[str]:
    """Measures of the rows that tables show: as the results say, or those of the headline first, then as they come."""
    known = dict.fromkeys(name for row in results.rows for name in row.values)
    if results.columns:
        return [name for name in results.columns if name in known][:_COLUMNS]
    return [*(name for name in results.headline if name in known), *(n for n in known if n not in results.headline)][
        :_COLUMNS
    ]


def figure_view(name: str, estimate: Estimate, results: Results, signed: bool = False) -> FigureView:
    """A figure, or with ``signed`` a difference, in words and digits."""
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = " to ".join(figure(results, name, end, signed) for end in (estimate.low, estimate.high))
    value = figure(results, name, estimate.value, signed)
    return FigureView(name, value, interval, estimate.why, name in results.lower_is_better)


def flat(made: Mapping[str, Any]) -> dict[str, Any]:
    """Facts with the weights of each role as a row of their own."""
    weights: Any = made.get("weights")
    if not isinstance(weights, Mapping):
        return dict(made)
    return {
        **{name: value for name, value in made.items() if name != "weights"},
        **{f"weights of the {role}": each for role, each in weights.items()},
    }


def group_rows(named: Iterable[tuple[str, Row]], measures: Sequence[str]) -> list[GroupView]:
    """Means of the rows by name, in the order in which names come first."""
    members: dict[str, list[Row]] = {}
    for name, row in named:
        members.setdefault(name, []).append(row)
    views = []
    for name, rows in members.items():
        means = tuple(mean(row.values.get(measure) for row in rows) for measure in measures)
        items = [row for row in rows if measures and measures[0] in row.values and row.item]
        weakest = min(items, key=lambda row: row.values[measures[0]]).item if len(items) > 1 else ""
        views.append(GroupView(name, len(rows), len({row.video for row in rows}), means, weakest))
    return views


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of what is there."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.mean(known)) if known else None


def worst_groups(groups: Sequence[GroupView], results: Results) -> list[GroupView]:
    measures = row_measures(results)
    sign = -1 if measures and measures[0] in results.lower_is_better else 1
    return sorted(
        groups, key=lambda group: sign * (group.means[0] if group.means and group.means[0] is not None else 2)
    )


def worst_rows(results: Results) -> list[Row]:
    """Rows that have the first measure of the tables, the worst first."""
    measures = row_measures(results)
    if not measures:
        return []
    sign = -1 if measures[0] in results.lower_is_better else 1
    rows = [row for row in results.rows if not math.isnan(row.values.get(measures[0], math.nan))]
    return sorted(rows, key=lambda row: (sign * row.values[measures[0]], row.name))


def worst_views(run: Run) -> list[RowView]:
    """The worst rows, and rows with pictures that are not among them, the worst first."""
    ordered, pictures = worst_rows(run.results), pictures_by_row(run.pictures)
    shown = {row.name for row in ordered[:_WORST]}
    shown |= set([row.name for row in ordered if row.name in pictures][: _MOST_WITH_PICTURES - _WORST])
    measures = row_measures(run.results)
    return [
        RowView(
            row.name,
            tuple(
                (name, figure(run.results, name, row.values[name]))
                for name in measures[:_MEASURES_A_ROW]
                if name in row.values
            ),
            row.attributes,
            series_plot("", [("", row)], shown_series([row], run.results)[:2]),
            read_pictures(pictures.get(row.name, ())),
        )
        for row in ordered
        if row.name in shown
    ]


def shown_series(rows: Sequence[Row], results: Results) -> list[str]:
    """Measures by frame that all of the rows have: those of the headline first."""
    names = [name for name in rows[0].series if all(name in row.series for row in rows)]
    return sorted(names, key=lambda name: results.headline.index(name) if name in results.headline else len(names) + 9)


def pictures_by_row(pictures: Iterable[StoredPicture]) -> dict[str, list[StoredPicture]]:
    found: dict[str, list[StoredPicture]] = {}
    for picture in pictures:
        found.setdefault(picture.row_name, []).append(picture)
    return found


def read_pictures(pictures: Sequence[StoredPicture], most: int = _PICTURES_A_ROW) -> tuple[tuple[str, str], ...]:
    """Base64 and caption of each that is there."""
    found = []
    for picture in pictures[:most]:
        try:
            found.append((inline(picture.path.read_bytes()), picture.caption))
        except OSError:
            continue
    return tuple(found)


def _plots(results: Results, measures: Sequence[str]) -> list[Plot]:
    plots: list[Plot | None] = []
    if measures and len(results.rows) > 1:
        values = [row.values[measures[0]] for row in results.rows if measures[0] in row.values]
        plots.append(histogram(f"{measures[0]} of the {len(values):,} rows", measures[0], values))
        for measure in shown_series(results.rows, results)[:1]:
            plots.append(course([("", results.rows)], measure))
    curves: Mapping[str, Any] = {curve.title: curve for curve in results.curves}
    plots += [curve_plot([("", curve)]) for curve in curves.values()]
    return [plot for plot in plots if plot is not None]
