"""`keepsight segment`: follows objects through a video, a folder of images or a camera."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class _Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class _Dtype(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class _Direction(StrEnum):
    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"


_WHAT, _HOW, _RANGE, _WRITE = "What to follow", "How", "Which frames", "What to write"


def segment(
    video: Annotated[
        str, typer.Argument(help="Video file, folder of images, or with --camera an index or stream URL.")
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            metavar="FRAME:X,Y[,+|-][@OBJECT][=LABEL]",
            rich_help_panel=_WHAT,
            help="A click; '-' is not on the object.",
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box", metavar="FRAME:X1,Y1,X2,Y2[@OBJECT][=LABEL]", rich_help_panel=_WHAT, help="A box around it."
        ),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            "--mask",
            metavar="FRAME:FILE.png[@OBJECT][=LABEL]",
            rich_help_panel=_WHAT,
            help="A palette or binary PNG; every id in it is an object.",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            rich_help_panel=_WHAT,
            help="Prompts file: JSON, or text with a first-frame box x,y,w,h a line.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", rich_help_panel=_HOW, help="Name, folder or hub id. (default: builtin)")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", rich_help_panel=_HOW, help="Memory policy. (default: sam2)")
    ] = None,
    policy_option: Annotated[
        list[str] | None,
        typer.Option("--policy-option", metavar="NAME=VALUE", rich_help_panel=_HOW, help="An option of the policy."),
    ] = None,
    device: Annotated[
        _Device | None, typer.Option("--device", rich_help_panel=_HOW, help="Where to compute. (default: auto)")
    ] = None,
    dtype: Annotated[
        _Dtype | None, typer.Option("--dtype", rich_help_panel=_HOW, help="Precision. (default: auto)")
    ] = None,
    zoom: Annotated[
        bool | None,
        typer.Option(
            "--zoom/--no-zoom", rich_help_panel=_HOW, help="Look at small objects closely. (default: by the model)"
        ),
    ] = None,
    start: Annotated[
        int | None, typer.Option("--start", min=0, rich_help_panel=_RANGE, help="First frame. (default: the first)")
    ] = None,
    stop: Annotated[
        int | None,
        typer.Option("--stop", min=1, rich_help_panel=_RANGE, help="Frame to stop before. (default: the end)"),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option("--stride", min=1, rich_help_panel=_RANGE, help="Follow every n-th frame. (default: 1)"),
    ] = None,
    direction: Annotated[
        _Direction | None,
        typer.Option(
            "--direction", rich_help_panel=_RANGE, help="From the prompts onwards, back, or both. (default: forward)"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", rich_help_panel=_WRITE, help="Output folder. (default: out/NAME)")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", rich_help_panel=_WRITE, help="Replace the results of an earlier run in the folder."
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", rich_help_panel=_WRITE, help="Go on with the folder's run; settings left out are its own."
        ),
    ] = False,
    overlay: Annotated[bool, typer.Option(rich_help_panel=_WRITE, help="overlay.mp4")] = True,
    crops: Annotated[bool, typer.Option(rich_help_panel=_WRITE, help="objects/ID.mp4, one clip an object")] = True,
    crop_option: Annotated[
        list[str] | None,
        typer.Option(
            "--crop-option", metavar="NAME=VALUE", rich_help_panel=_WRITE, help="margin, window, absent, size_px, ..."
        ),
    ] = None,
    masks: Annotated[bool, typer.Option(rich_help_panel=_WRITE, help="masks/, palette PNGs")] = True,
    annotations: Annotated[bool, typer.Option(rich_help_panel=_WRITE, help="annotations.json (YTVIS)")] = True,
    report: Annotated[bool, typer.Option(rich_help_panel=_WRITE, help="report.html")] = True,
    camera: Annotated[
        bool,
        typer.Option(
            "--camera", help="VIDEO is a camera index or stream URL; the overlay is written live, Ctrl-C stops."
        ),
    ] = False,
) -> None:
    """Follow objects through a video.

    A prompt without @OBJECT starts a new object (a '-' point belongs to the point before it); the same @OBJECT on the same
    frame is one prompt. Example: keepsight segment clip.mp4 --point 0:320,240=cat --box 0:10,20,90,140=dog
    """
    from keepsight.cli import show
    from keepsight.pipeline.job import Outputs, SegmentJob, parse_options, read_mode
    from keepsight.pipeline.prompts import gather_prompts

    job = SegmentJob(
        video=video,
        out=out,
        prompts=tuple(gather_prompts(point or (), box or (), mask or (), prompts)),
        model=model,
        policy=policy,
        policy_options=parse_options("--policy-option", policy_option) if policy_option else None,
        device=device,
        dtype=dtype,
        zoom=zoom,
        start=start,
        stop=stop,
        stride=stride,
        direction=direction,
        crop_options=parse_options("--crop-option", crop_option or ()),
        mode=read_mode(overwrite=overwrite, resume=resume),
        outputs=Outputs(overlay=overlay, crops=crops, masks=masks, annotations=annotations, report=report),
    )
    with show.progress_bar() as progress:
        if camera:
            from keepsight.pipeline.live import run_live

            result = run_live(job, progress=progress)
        else:
            from keepsight.pipeline.segment import run_segment

            result = run_segment(job, progress=progress)
    show.outcome(result)
    if result.exit_code:
        raise typer.Exit(result.exit_code)
