"""`keepsight doctor`: what this machine can do, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    online: Annotated[bool, typer.Option("--online", help="Also try to reach the Hugging Face hub.")] = False,
) -> None:
    """Say what this machine can do (device, precision, codecs, models) and what is wrong with it. Exit code 0 when usable."""
    from keepsight.cli.show import out
    from keepsight.pipeline.doctor import examine

    console = out()
    findings = examine(online=online)
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        console.print(f"{finding.mark} {finding.topic:<{width}}  {finding.text}", markup=False)
    wrong = [finding for finding in findings if finding.remedy]
    console.print()
    if not wrong:
        console.print("Nothing is wrong.")
    for finding in wrong:
        console.print(f"{finding.topic}: {finding.remedy}", markup=False)
    if any(finding.fatal for finding in findings):
        raise typer.Exit(2)
