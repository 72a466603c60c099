"""`keepsight models`: what can be loaded, and what is here; `keepsight models download NAME`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="List every model with size, licence and origin, and whether it is here.",
    invoke_without_command=True,
    no_args_is_help=False,
)


@app.callback()
def list_models(context: typer.Context) -> None:
    """List every model with size, licence and origin, and whether it is here."""
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    from keepsight.cli.show import out
    from keepsight.models.registry import ENTRIES, is_cached

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, justify in (
        ("name", "left"),
        ("size", "right"),
        ("parameters", "right"),
        ("licence", "left"),
        ("source", "left"),
        ("here?", "left"),
    ):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for entry in ENTRIES:
        here = "yes" if is_cached(entry) else "no, gated" if entry.gated else "no"
        size = "?" if entry.download_mb is None else f"{entry.download_mb:,.0f} MB"
        parameters = "?" if entry.parameters_m is None else f"{entry.parameters_m:g} M"
        table.add_row(entry.name, size, parameters, entry.licence, entry.source, here)
    console = out(least_width=110)
    console.print(table, soft_wrap=False)
    console.print(
        "Sizes are approximate. `keepsight models download NAME` fetches one; a folder or a hub id works as a name too."
    )
    for entry in ENTRIES:
        if entry.gated and not is_cached(entry):
            console.print(f"{entry.name} is gated: {entry.access_steps}.", markup=False)


@app.command()
def download(name: Annotated[str, typer.Argument(help="A name from the table, or a hub id (owner/name).")]) -> None:
    """Fetch a model's weights from the Hugging Face hub."""
    from keepsight.cli.show import out
    from keepsight.models.download import download as fetch

    folder = fetch(name)
    out().print(f"{name} is here: {folder}", markup=False)
