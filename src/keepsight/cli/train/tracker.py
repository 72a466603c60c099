"""`keepsight train tracker`: a tracker that gets better on one's own masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepsight.cli.options import DeviceName
from keepsight.cli.train.options import (
    HOW,
    LEARN,
    ROOM,
    WRITE,
    Accumulate,
    Cache,
    CacheGb,
    HeldOut,
    MemoryGb,
    Overwrite,
    Resume,
    Seed,
    conclude,
)


def tracker(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            metavar="PROJECT|DIR",
            rich_help_panel=LEARN,
            help="A project, an export with pictures, or a data set with JPEGImages and Annotations; may be given again.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", rich_help_panel=WRITE, help="Folder of the run and of the new model.")
    ],
    base: Annotated[str, typer.Option("--base", rich_help_panel=LEARN, help="Model to begin from.")] = "builtin",
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            rich_help_panel=LEARN,
            help="What --data is, when it is neither: any format with masks of `keepsight import`.",
        ),
    ] = None,
    video: Annotated[
        str | None, typer.Option("--video", rich_help_panel=LEARN, help="The video that such --data is about.")
    ] = None,
    tracked: Annotated[
        bool,
        typer.Option("--tracked", rich_help_panel=LEARN, help="Masks that nobody looked at count as true, too."),
    ] = False,
    held_out: HeldOut = 0.2,
    judge: Annotated[
        str,
        typer.Option(
            "--judge",
            rich_help_panel=HOW,
            help="How objects are pointed at where it is measured, of mask, box and click; all count alike.",
        ),
    ] = "mask,click",
    seed: Seed = 0,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, rich_help_panel=HOW, help="How long. (default: 300)")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.05, rich_help_panel=HOW, help="How long, by the clock.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", min=0.0, rich_help_panel=HOW, help="Learning rate. (default: 2e-5, builtin: 1e-4)"),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            "--keep",
            metavar="SHARE",
            rich_help_panel=HOW,
            help="How far the result is pulled back to the base. (default: 0, builtin: 0.5)",
        ),
    ] = None,
    parts: Annotated[
        str, typer.Option("--parts", rich_help_panel=HOW, help="What learns (not for builtin).")
    ] = "decoder,memory",
    lora: Annotated[
        int,
        typer.Option(
            "--lora", min=0, metavar="RANK", rich_help_panel=HOW, help="Bend the image encoder too. (default: no)"
        ),
    ] = 0,
    clicks: Annotated[
        int, typer.Option("--clicks", min=0, rich_help_panel=HOW, help="Corrective clicks on a bad frame.")
    ] = 3,
    stride: Annotated[
        int, typer.Option("--stride", min=1, rich_help_panel=HOW, help="Clips pass over up to N-1 known frames.")
    ] = 3,
    reverse: Annotated[
        float,
        typer.Option("--reverse", metavar="SHARE", rich_help_panel=HOW, help="Clips that run backward."),
    ] = 0.5,
    frames: Annotated[
        int | None,
        typer.Option("--frames", min=2, rich_help_panel=ROOM, help="Frames of a clip. (default: 8, builtin: 5)"),
    ] = None,
    objects: Annotated[
        int, typer.Option("--objects", min=1, rich_help_panel=ROOM, help="Objects of a clip, at most.")
    ] = 3,
    accumulate: Accumulate = 1,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size", rich_help_panel=ROOM, help="Side of the model input in px; the new model keeps it."
        ),
    ] = None,
    cache: Cache = None,
    cache_gb: CacheGb = 10.0,
    memory_gb: MemoryGb = None,
    device: DeviceName = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Fine-tune a tracker on your own masks, and say whether it helped.

    Exit code 3: the run worked, but the result is worse than what it began from, and is not offered as a model.

    Examples:

        keepsight train tracker --data out/clip/project.keepsight --out runs/mine

        keepsight train tracker --data projects/ --base sam2.1-tiny --lora 8 --out runs/mine
    """
    from keepsight.training.tracker.job import TrackerTraining, names_of
    from keepsight.training.tracker.run import train_tracker

    job = TrackerTraining(
        data=tuple(data),
        out=out,
        base=base,
        format_name=format_name,
        video=video,
        tracked=tracked,
        held_out=held_out,
        seed=seed,
        steps=steps,
        minutes=minutes,
        rate=rate,
        frames=frames,
        objects=objects,
        clicks=clicks,
        stride=stride,
        reverse=reverse,
        parts=tuple(names_of(parts)),
        lora=lora,
        keep=keep,
        accumulate=accumulate,
        image_size=image_size,
        kinds=tuple(names_of(judge)),
        device="auto" if device is None else device.value,
        cache=cache,
        cache_gb=cache_gb,
        memory_gb=memory_gb,
    )
    outcome = train_tracker(job, resume=resume, overwrite=overwrite, log=typer.echo)
    conclude(outcome)
