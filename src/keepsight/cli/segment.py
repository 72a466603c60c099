"""`keepsight segment`: follows objects through a video, a folder of images or a camera."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepsight.cli.options import (
    HOW,
    RANGE,
    WHAT,
    WRITE,
    Boxes,
    DetectEvery,
    Detector,
    DeviceName,
    Exemplars,
    Likes,
    Masks,
    ModelName,
    Points,
    PolicyName,
    PolicyOptions,
    Precision,
    Removed,
    Rules,
    Selection,
    Start,
    Stop,
    Stride,
    Texts,
    TravelDirection,
    ZoomSwitch,
)


def segment(
    video: Annotated[
        str, typer.Argument(help="Video file, folder of images, or with --camera an index or stream URL.")
    ],
    text: Texts = None,
    point: Points = None,
    box: Boxes = None,
    mask: Masks = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            rich_help_panel=WHAT,
            help="Prompts file: JSON, or text with a first-frame box x,y,w,h a line.",
        ),
    ] = None,
    exemplar: Exemplars = None,
    like: Likes = None,
    detector: Detector = None,
    detect_every: DetectEvery = None,
    rule: Rules = None,
    remove: Removed = None,
    model: ModelName = None,
    policy: PolicyName = None,
    policy_option: PolicyOptions = None,
    selection: Annotated[
        Selection | None,
        typer.Option(
            "--selection",
            rich_help_panel=HOW,
            help="Memory of what was found: of all together (SAM 3, policy sam3) or each by itself (SAM3-DMS, policy dms).",
        ),
    ] = None,
    device: DeviceName = None,
    dtype: Precision = None,
    zoom: ZoomSwitch = None,
    start: Start = None,
    stop: Stop = None,
    stride: Stride = None,
    direction: Annotated[
        TravelDirection | None,
        typer.Option(
            "--direction", rich_help_panel=RANGE, help="From the prompts onwards, back, or both. (default: forward)"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", rich_help_panel=WRITE, help="Output folder. (default: out/NAME)")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", rich_help_panel=WRITE, help="Replace the results of an earlier run in the folder."),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", rich_help_panel=WRITE, help="Go on with the folder's run; settings left out are its own."
        ),
    ] = False,
    overlay: Annotated[bool, typer.Option(rich_help_panel=WRITE, help="overlay.mp4")] = True,
    crops: Annotated[bool, typer.Option(rich_help_panel=WRITE, help="objects/ID.mp4, one clip an object")] = True,
    crop_option: Annotated[
        list[str] | None,
        typer.Option(
            "--crop-option", metavar="NAME=VALUE", rich_help_panel=WRITE, help="margin, window, absent, size_px, ..."
        ),
    ] = None,
    masks: Annotated[bool, typer.Option(rich_help_panel=WRITE, help="masks/, palette PNGs")] = True,
    annotations: Annotated[bool, typer.Option(rich_help_panel=WRITE, help="annotations.json (YTVIS)")] = True,
    report: Annotated[bool, typer.Option(rich_help_panel=WRITE, help="report.html")] = True,
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

    By words: keepsight segment barn.mp4 --text cow --text "person in blue"
    """
    from keepsight.cli import show
    from keepsight.pipeline.job import Outputs, SegmentJob, parse_options, read_mode
    from keepsight.pipeline.words import gather

    asked = gather(
        point,
        box,
        mask,
        prompts,
        texts=text,
        exemplars=exemplar,
        likes=like,
        detector=detector,
        rules=rule,
        detect_every=detect_every,
    )
    told = SegmentJob(
        video=video,
        out=out,
        selection=selection,
        removed=tuple(remove or ()),
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
    job = asked.added_to(told)
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
