"""Two runs side by side: which figures moved for certain, by which settings, and on which rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keepsight.core import InputError
from keepsight.evaluation.paired import DRAWS, NOT_OF_ROWS, Estimate, agrees, differences, estimates
from keepsight.evaluation.report import Run
from keepsight.evaluation.report.changes import Change, Difference, RowChange
from keepsight.evaluation.report.diff_page import write_diff_page
from keepsight.evaluation.report.encoding import plain
from keepsight.evaluation.results import Results, Row
from keepsight.store.files import replacing_file

__all__ = ["FILE", "PAGE", "Change", "Difference", "RowChange", "compare_runs", "difference_values", "write_difference"]

PAGE, FILE = "diff.html", "diff.json"


def compare_runs(before: Run, after: Run, *, common: bool = False, draws: int = DRAWS, seed: int = 0) -> Difference:
    """Compares two runs on the same rows, with paired intervals.

    Args:
        common: compare the rows that both have where the runs differ in data set, protocol or rows; the notes say in what.

    Raises:
        InputError: the runs measure different things; the line says what differs.
    """
    notes = _obstacles(before.results, after.results)
    if notes and not common:
        raise InputError(f"{before.folder} and {after.folder} cannot be compared: {notes[0]} {_WAY_OUT}")
    if notes:
        before, after = _shared(before, after)
        notes.append(f"Figures are those of the {len(before.results.rows)} rows that both runs have.")
    measure = _row_measure(before.results, after.results)
    lower = measure in before.results.lower_is_better
    mine = {row.name: row for row in before.results.rows}
    rows = [
        RowChange(mine[row.name], row, (row.values[measure] - mine[row.name].values[measure]) * (-1 if lower else 1))
        for row in after.results.rows
        if _has(row, measure) and _has(mine[row.name], measure)
    ]
    return Difference(
        before,
        after,
        tuple(_changes(before.results, after.results, draws, seed)),
        tuple(_settings(before, after)),
        measure,
        tuple(sorted(rows, key=lambda row: (row.change, row.after.name))),
        tuple(_groups(before.results, after.results, measure, draws, seed)),
        tuple(notes),
        draws,
        seed,
    )


def write_difference(difference: Difference, out: Path) -> None:
    """Writes ``diff.html`` and ``diff.json``.

    Raises:
        StoreError: the folder cannot be written.
    """
    with replacing_file(out / FILE) as path:
        path.write_text(json.dumps(plain(_as_values(difference)), indent=1, allow_nan=False), encoding="utf-8")
    write_diff_page(difference, out / PAGE)


_WAY_OUT = "Measure both in the same way, or add --common to compare the rows that both have."


def _obstacles(before: Results, after: Results) -> list[str]:
    """Why figures of the two do not stand for the same thing, a line each.

    Raises:
        InputError: nothing of them could ever be compared.
    """
    if before.task != after.task:
        raise InputError(f"One run is of task {before.task}, the other of {after.task}; there is nothing to compare.")
    found = []
    for name in ("dataset", "split"):
        old, new = before.settings.get(name), after.settings.get(name)
        if old != new:
            found.append(f"The {name} is {old} in one and {new} in the other.")
    if before.protocol != after.protocol:
        lines = [*(line for line in before.protocol if line not in after.protocol)] or ["(nothing)"]
        others = [*(line for line in after.protocol if line not in before.protocol)] or ["(nothing)"]
        found.append(f"They were scored differently: {'; '.join(lines)} / {'; '.join(others)}.")
    old_rows, new_rows = ({row.name for row in results.rows} for results in (before, after))
    if old_rows != new_rows:
        only = sorted(old_rows ^ new_rows)
        found.append(f"{len(only)} rows are in one run only, such as {only[0]}.")
    return found


def _shared(before: Run, after: Run) -> tuple[Run, Run]:
    both = {row.name for row in before.results.rows} & {row.name for row in after.results.rows}
    if not both:
        raise InputError(f"{before.folder} and {after.folder} have no row in common; there is nothing to compare.")
    reduced = []
    for run in (before, after):
        results = replace(run.results, rows=tuple(row for row in run.results.rows if row.name in both))
        # A figure that is not of the rows is one of all rows; it has no place beside those of some.
        summary = {name: each.value for name, each in estimates(results, draws=1).items()}
        ordered = {name: summary[name] for name in results.summary if name in summary}
        reduced.append(replace(run, results=replace(results, summary=ordered)))
    return reduced[0], reduced[1]


def _changes(before: Results, after: Results, draws: int, seed: int) -> list[Change]:
    old, new = before.summary, after.summary
    drawn = differences(before, after, draws=draws, seed=seed)
    first = [name for name in after.headline if name in old and name in new]
    names = [*first, *(name for name in new if name in old and name not in first)]
    changes = []
    for name in names:
        whole = new[name] - old[name]
        made = drawn.get(name)
        ours = made is not None and agrees(made.value, whole)
        difference = replace(made, value=whole) if made and ours else Estimate(whole, None, None, 0, NOT_OF_ROWS)
        changes.append(_change(after, name, old[name], new[name], difference))
    return changes


def _groups(before: Results, after: Results, measure: str, draws: int, seed: int) -> list[tuple[str, int, Change]]:
    """Change of a measure on the rows that have an attribute in both runs: name, rows, change."""
    found = []
    mine = {row.name: set(row.attributes) for row in before.rows}
    for name in dict.fromkeys(name for row in after.rows for name in row.attributes):
        chosen = {row.name for row in after.rows if name in row.attributes and name in mine[row.name]}
        some = [
            Results(each.task, (), {measure: 0.0}, (), tuple(row for row in each.rows if row.name in chosen), {})
            for each in (before, after)
        ]
        if not all(any(_has(row, measure) for row in each.rows) for each in some):
            continue
        old, new = (estimates(each, [measure], draws=1)[measure].value for each in some)
        drawn = differences(some[0], some[1], [measure], draws=draws, seed=seed)[measure]
        found.append((name, len(chosen), _change(after, measure, old, new, drawn)))
    return sorted(found, key=lambda group: -group[1])


def _change(after: Results, measure: str, old: float, new: float, difference: Estimate) -> Change:
    return Change(measure, old, new, difference, measure in after.lower_is_better, measure in after.counts)


def _row_measure(before: Results, after: Results) -> str:
    """The first measure of the headline that rows of both have, or any that they have."""
    old, new = ({name for row in results.rows for name in row.values} for results in (before, after))
    known = [name for row in after.rows for name in row.values]
    for name in [*after.headline, *after.summary, *known]:
        if name in old and name in new:
            return name
    raise InputError("The rows of the two runs have no measure in common; there is nothing to compare.")


def _has(row: Row, measure: str) -> bool:
    return not math.isnan(row.values.get(measure, math.nan))


def _settings(before: Run, after: Run) -> list[tuple[str, str, str]]:
    old = _flat({**before.results.settings, "made": _lasting(before.made)})
    new = _flat({**after.results.settings, "made": _lasting(after.made)})
    names = [*old, *(name for name in new if name not in old)]
    return [(name, old.get(name, ""), new.get(name, "")) for name in names if old.get(name, "") != new.get(name, "")]


def _lasting(made: Mapping[str, Any]) -> dict[str, Any]:
    """Without what differs between any two runs."""
    return {name: value for name, value in made.items() if name not in ("at", "command")}


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name} ")
        elif value is not None:
            found[f"{above}{name}"] = value if isinstance(value, str) else json.dumps(plain(value))
    return found


def _as_values(difference: Difference) -> dict[str, Any]:
    def told(change: Change) -> dict[str, Any]:
        each = difference_values(change.difference)
        return {"a": change.before, "b": change.after, **each, "lower_is_better": change.lower}

    def rows(changes: Sequence[RowChange]) -> list[dict[str, Any]]:
        name = difference.measure
        return [{"row": row.after.name, "a": row.before.values[name], "b": row.after.values[name]} for row in changes]

    return {
        "a": str(difference.before.folder),
        "b": str(difference.after.folder),
        "task": difference.after.results.task,
        "notes": difference.notes,
        "bootstrap": {"draws": difference.draws, "seed": difference.seed, "over": "videos"},
        "figures": {change.name: told(change) for change in difference.changes},
        "settings": {name: {"a": old, "b": new} for name, old, new in difference.settings},
        "attributes": {name: {"rows": count, **told(change)} for name, count, change in difference.groups},
        "measure": difference.measure,
        "rows": rows(difference.rows),
    }


def difference_values(estimate: Estimate) -> dict[str, Any]:
    """A difference as values of JSON."""
    return {
        "difference": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "videos": estimate.videos,
        "note": estimate.why,
    }
