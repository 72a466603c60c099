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


class Selection(StrEnum):
    GROUP = "group"
    DECOUPLED = "decoupled"


WHAT, HOW, RANGE, WRITE = "What to follow", "How", "Which frames", "What to write"

Texts = Annotated[
    list[str] | None,
    typer.Option("--text", metavar="WORDS", rich_help_panel=WHAT, help="Find and follow everything that this names."),
]
Exemplars = Annotated[
    list[str] | None,
    typer.Option(
        "--exemplar",
        metavar="[+|-]FRAME:X1,Y1,X2,Y2[=WORDS]",
        rich_help_panel=WHAT,
        help="A box that shows what belongs to a --text, or with '-' what does not.",
    ),
]
Likes = Annotated[
    list[str] | None,
    typer.Option(
        "--like",
        metavar="FRAME:X1,Y1,X2,Y2[=WORDS]",
        rich_help_panel=WHAT,
        help="A box around one of many; find and follow all that look like it.",
    ),
]
Detector = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="NAME",
        rich_help_panel=WHAT,
        help="sam3, grounding-dino, owlv2, motion, everything, ... (default: the best one at hand that understands words)",
    ),
]
DetectEvery = Annotated[
    int | None,
    typer.Option(
        "--detect-every", min=1, metavar="N", rich_help_panel=WHAT, help="Look for --text every N frames. (default: 1)"
    ),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule", metavar="NAME=VALUE", rich_help_panel=WHAT, help="How detections become objects: docs/concepts.md."
    ),
]
Removed = Annotated[
    list[int] | None,
    typer.Option(
        "--remove",
        min=0,
        metavar="ID",
        rich_help_panel=WHAT,
        help="An object that an earlier run found and that is none.",
    ),
]
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
PolicyName = Annotated[str | None, typer.Option("--policy", rich_help_panel=HOW, help="Memory policy. (default: sam2)")]
PolicyOptions = Annotated[
    list[str] | None,
    typer.Option("--policy-option", metavar="NAME=VALUE", rich_help_panel=HOW, help="An option of the policy."),
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
