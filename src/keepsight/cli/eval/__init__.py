"""`keepsight eval`: how good results are, on data sets with a truth. Every command has a file of its own here."""

from __future__ import annotations

import typer

from keepsight.cli.eval import (
    box,
    concepts,
    diff,
    report,
    score,
    vos,
)

app = typer.Typer(help="Measure results against a truth, and compare runs.", no_args_is_help=True)


@app.callback()
def _eval() -> None:
    """Measure results against a truth, and compare runs."""


app.command("vos")(vos.vos)
app.command("box")(box.box)
app.command("concepts")(concepts.concepts)
app.command("score")(score.score)
app.command("diff")(diff.diff)
app.command("report")(report.report)
