"""Options that commands share: what to follow, how, and over which frames."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Dtype(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class TravelDirection(StrEnum):
    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"


WHAT, HOW, RANGE, WRITE = "What to follow", "How", "Which frames", "What to write"

Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point",
        metavar="FRAME:X,Y[,+|-][@OBJECT][=LABEL]",
        rich_help_panel=WHAT,
        help="A click; '-' is not on the object.",
    ),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option("--box", metavar="FRAME:X1,Y1,X2,Y2[@OBJECT][=LABEL]", rich_help_panel=WHAT, help="A box around it."),
]
Masks = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        metavar="FRAME:FILE.png[@OBJECT][=LABEL]",
        rich_help_panel=WHAT,
        help="A palette or binary PNG; every id in it is an object.",
    ),
]
ModelName = Annotated[
    str | None, typer.Option("--model", rich_help_panel=HOW, help="Name, folder or hub id. (default: builtin)")
]
DeviceName = Annotated[
    Device | None, typer.Option("--device", rich_help_panel=HOW, help="Where to compute. (default: auto)")
]
Precision = Annotated[Dtype | None, typer.Option("--dtype", rich_help_panel=HOW, help="Precision. (default: auto)")]
ZoomSwitch = Annotated[
    bool | None,
    typer.Option(
        "--zoom/--no-zoom", rich_help_panel=HOW, help="Look at small objects closely. (default: by the model)"
    ),
]
Start = Annotated[
    int | None, typer.Option("--start", min=0, rich_help_panel=RANGE, help="First frame. (default: the first)")
]
Stop = Annotated[
    int | None,
    typer.Option("--stop", min=1, rich_help_panel=RANGE, help="Frame to stop before. (default: the end)"),
]
Stride = Annotated[
    int | None,
    typer.Option("--stride", min=1, rich_help_panel=RANGE, help="Follow every n-th frame. (default: 1)"),
]
