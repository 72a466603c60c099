"""What every measuring command prints at the end: figures with their intervals."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from keepsight.evaluation.box.job import BoxOutcome
    from keepsight.evaluation.concepts.run import ConceptOutcome
    from keepsight.evaluation.results import Results


def print_figures(console: Console, results: Results) -> None:
    """A line a figure of the summary, with its 95 % interval where there is one; remarks first."""
    from rich.table import Table
    from rich.text import Text

    from keepsight.evaluation.paired import summary_estimates
    from keepsight.evaluation.report.digits import decimals

    for line in results.remarks:
        console.print(f"note: {line}", markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    for name, found in summary_estimates(results).items():
        digits = partial(decimals, count=name in results.counts)
        value = f"{found.value:.{digits(found.value, share=4)}f}"
        ends = [f"{end:.{digits(end, share=3)}f}" for end in (found.low, found.high) if end is not None]
        table.add_row(*(Text(cell) for cell in (name, value, f"[{', '.join(ends)}]" if ends else "")))
    console.print(table)


def say_outcome(outcome: BoxOutcome | ConceptOutcome) -> None:
    """What a run over a data set came to, and where to look."""
    from keepsight.cli import show

    console = show.out()
    for line in outcome.lines:
        console.print(f"note: {line}", markup=False)
    if outcome.results is not None:
        print_figures(console, outcome.results)
        console.print(f"Report: {show.shown(outcome.out / 'report.html')}", markup=False)
    if outcome.predictions is not None:
        console.print(f"Predictions: {show.shown(outcome.predictions)}", markup=False)
