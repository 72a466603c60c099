"""What `keepsight eval vos` and `keepsight eval box` share: where a data set is followed, and where its run is kept."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from keepsight.cli.options import WRITE

WHERE = "Where"


class Executor(StrEnum):
    LOCAL = "local"
    RAY = "ray"


AnyDevice = Annotated[str, typer.Option("--device", rich_help_panel=WHERE, help="auto, cpu, cuda, cuda:N or mps.")]
ExecutorName = Annotated[
    Executor, typer.Option("--executor", rich_help_panel=WHERE, help="Here, or on all devices of a Ray cluster.")
]
RayAddress = Annotated[
    str | None, typer.Option("--ray-address", rich_help_panel=WHERE, help="Of a cluster that is running.")
]
RunFolder = Annotated[
    Path | None,
    typer.Option("--out", "-o", rich_help_panel=WRITE, help="Folder of the run. (default: out/eval-DATASET)"),
]
