"""`keepsight eval diff`: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keepsight.cli.options import WRITE

if TYPE_CHECKING:
    from keepsight.evaluation.diff import Difference, RowChange

_WIDTH = 110
_ROWS = 3


def diff(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Folder of a run (with run.json).")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Folder of another; the difference is B minus A.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", rich_help_panel=WRITE, help="Folder for the page. (default: out/diff-A-B)"),
    ] = None,
    common: Annotated[
        bool,
        typer.Option("--common", help="Compare the rows that both have where data set, protocol or rows differ."),
    ] = False,
    draws: Annotated[
        int, typer.Option("--draws", min=100, max=1_000_000, help="Data sets drawn for the intervals.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draws; the same gives the same intervals.")] = 0,
) -> None:
    """Compare two runs: differences with 95 % intervals, settings that differ, rows that changed most.

    Intervals are paired bootstrap intervals over videos. Example: keepsight eval diff out/davis-sam2 out/davis-sam2long
    """
    from keepsight.evaluation.diff import FILE, PAGE, compare_runs, write_difference
    from keepsight.evaluation.report import open_run

    before, after = open_run(run_a), open_run(run_b)
    difference = compare_runs(before, after, common=common, draws=draws, seed=seed)
    folder = out or Path("out") / f"diff-{before.name}-{after.name}"
    write_difference(difference, folder)
    _print(difference, [folder / PAGE, folder / FILE])


def _print(difference: Difference, files: list[Path]) -> None:
    from rich.table import Table
    from rich.text import Text

    from keepsight.cli import show
    from keepsight.evaluation.paired import FEW_VIDEOS
    from keepsight.evaluation.report.diff_page import change_views, run_names

    console = show.out(least_width=_WIDTH)
    for note in difference.notes:
        console.print(f"note: {note}", markup=False)
    names = run_names(difference)
    table = Table(box=None, pad_edge=False, header_style="italic", padding=(0, 2, 0, 0))
    for column in ("measure", *names, "difference", "95 %", ""):
        table.add_column(Text(column), no_wrap=True, justify="left" if column in ("measure", "") else "right")
    for view in change_views(difference.changes):
        name = f"{view.name} (less is better)" if view.lower else view.name
        told = "; ".join(part for part in (view.verdict, view.note) if part)
        cells = (name, view.before, view.after, view.difference, f"[{view.interval}]" if view.interval else "-", told)
        table.add_row(*(Text(cell) for cell in cells))  # names from outside are no markup
    console.print(table)
    if any(0 < change.difference.videos < FEW_VIDEOS for change in difference.changes):
        console.print(f"Below {FEW_VIDEOS} videos intervals are too narrow.")
    if difference.settings:
        console.print("Settings that differ:")
        for name, old, new in difference.settings:
            console.print(f"  {name}: {old or '-'} / {new or '-'}", markup=False)
    rows = (difference.losses[:_ROWS], difference.gains[:_ROWS])
    for title, some in zip(("Greatest losses", "Greatest gains"), rows, strict=True):
        if some:
            console.print(f"{title} by {difference.measure}:", markup=False)
            for row in some:
                console.print(f"  {_told(row, difference)}", markup=False)
    for path in files:
        console.print(f"  {show.shown(path)}", markup=False)


def _told(row: RowChange, difference: Difference) -> str:
    from keepsight.evaluation.report.digits import figure

    measure, results = difference.measure, difference.after.results
    old, new = row.before.values[measure], row.after.values[measure]
    digits = [figure(results, measure, value) for value in (old, new)]
    return f"{row.after.name}: {' to '.join(digits)} ({figure(results, measure, new - old, signed=True)})"
