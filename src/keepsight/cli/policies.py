"""`keepsight policies`: the memory rules that can be chosen, and their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from keepsight.memory import PolicySettings

_WIDTH = 100


def policies(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these. (default: all)")] = None,
) -> None:
    """Explain the memory policies and their options (for --policy and --policy-option)."""
    from keepsight.cli.show import out
    from keepsight.core import InputError
    from keepsight.memory import POLICIES

    for name in names or ():
        if name not in POLICIES:
            raise InputError(f"There is no memory policy '{name}'. There are: {', '.join(POLICIES)}.")
    console = out(least_width=_WIDTH)
    for name in names or POLICIES:
        settings = POLICIES[name]
        console.print(f"{name}  ({settings.title})", style="bold", markup=False)
        for part in (_words(settings), _options(settings)):
            console.print(part, soft_wrap=False, width=min(console.width, _WIDTH))
        console.print()
    console.print("Choose one with --policy NAME; set an option with --policy-option NAME=VALUE.", markup=False)


def _words(settings: type[PolicySettings]) -> RenderableType:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=9)
    grid.add_column()
    summary = settings.summary
    for topic, text in (
        ("idea", summary.idea),
        ("choose it", summary.choose),
        ("cost", summary.cost),
        ("paper", summary.paper),
    ):
        grid.add_row(topic, _plain(text))
    return _indented(grid)


def _options(settings: type[PolicySettings]) -> RenderableType:
    from rich.table import Table

    rows = settings.describe()
    table = Table(box=None, pad_edge=False, header_style="italic", padding=(0, 2, 0, 0))
    for column in ("option", "default", "range"):
        table.add_column(column, no_wrap=True)
    table.add_column("meaning; effect")
    for row in rows:
        table.add_row(row.name, _plain(row.default), _plain(row.range), _plain(f"{row.meaning}; {row.effect}"))
    return _indented(table)


def _plain(text: str) -> RenderableType:
    from rich.text import Text

    return Text(text)  # brackets in it are ranges, not markup


def _indented(part: RenderableType) -> RenderableType:
    from rich.padding import Padding

    return Padding(part, (0, 0, 0, 2))
