"""What every measuring command prints at the end: figures with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from keepsight.evaluation.results import Results


def print_figures(console: Console, results: Results) -> None:
    """A line a figure of the summary, with its 95 % interval where there is one; remarks first."""
    from rich.table import Table
    from rich.text import Text

    from keepsight.evaluation.paired import summary_estimates

    for line in results.remarks:
        console.print(f"note: {line}", markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    for name, found in summary_estimates(results).items():
        interval = "" if found.low is None else f"[{found.low:.3f}, {found.high:.3f}]"
        table.add_row(*(Text(cell) for cell in (name, f"{found.value:.4f}", interval)))
    console.print(table)
