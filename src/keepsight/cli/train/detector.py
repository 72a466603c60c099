"""`keepsight train detector`: SAM 3's detector learns one's own things."""

from __future__ import annotations

from enum import StrEnum
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


class RateCurve(StrEnum):
    INVERSE_SQRT = "inverse-sqrt"
    COSINE = "cosine"


def detector(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            metavar="COCO.json|DIR|PROJECT",
            rich_help_panel=LEARN,
            help="A COCO file or its folder, a project, an export or a data set of videos; may be given again.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", rich_help_panel=WRITE, help="Folder of the run and of the new detector.")
    ],
    images: Annotated[
        Path | None,
        typer.Option("--images", rich_help_panel=LEARN, help="Pictures of COCO files. (default: beside the file)"),
    ] = None,
    base: Annotated[
        str, typer.Option("--base", rich_help_panel=LEARN, help="sam3, or a folder with its detector.")
    ] = "sam3",
    tracked: Annotated[
        bool,
        typer.Option("--tracked", rich_help_panel=LEARN, help="Masks of projects that nobody looked at count, too."),
    ] = False,
    frame_step: Annotated[
        int, typer.Option("--frame-step", min=1, rich_help_panel=LEARN, help="Of a video every N-th known frame.")
    ] = 10,
    held_out: HeldOut = 0.2,
    held_out_data: Annotated[
        list[Path] | None,
        typer.Option(
            "--held-out-data",
            metavar="COCO.json|DIR|PROJECT",
            rich_help_panel=HOW,
            help="Measure on these, and learn from all of --data.",
        ),
    ] = None,
    seed: Seed = 0,
    epochs: Annotated[
        float, typer.Option("--epochs", min=0.01, rich_help_panel=HOW, help="Times that every picture is shown.")
    ] = 20.0,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, rich_help_panel=HOW, help="How long, in place of --epochs.")
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", rich_help_panel=HOW, help="Learning rate of the detection transformer.")
    ] = 8e-5,
    vision_rate: Annotated[
        float,
        typer.Option("--vision-rate", rich_help_panel=HOW, help="Of the image encoder, such as 2.5e-5; 0: frozen."),
    ] = 0.0,
    text_rate: Annotated[
        float, typer.Option("--text-rate", rich_help_panel=HOW, help="Of the text encoder, such as 5e-6; 0: frozen.")
    ] = 0.0,
    layer_decay: Annotated[
        float,
        typer.Option("--layer-decay", rich_help_panel=HOW, help="Rate of a layer of the image encoder over the next."),
    ] = 0.9,
    lora: Annotated[
        int,
        typer.Option("--lora", min=0, metavar="RANK", rich_help_panel=HOW, help="Bend the image encoder instead."),
    ] = 0,
    curve: Annotated[
        RateCurve, typer.Option("--schedule", rich_help_panel=HOW, help="How the rate falls.")
    ] = RateCurve.INVERSE_SQRT,
    warmup: Annotated[int, typer.Option("--warmup", min=0, rich_help_panel=HOW, help="Steps until full rate.")] = 20,
    negatives: Annotated[
        float,
        typer.Option(
            "--negatives", metavar="SHARE", rich_help_panel=HOW, help="Of the phrases asked, those not in the picture."
        ),
    ] = 0.5,
    flip: Annotated[
        bool, typer.Option("--flip", rich_help_panel=HOW, help="Mirror pictures half of the time. (default: no)")
    ] = False,
    masks: Annotated[
        bool, typer.Option("--masks/--no-masks", rich_help_panel=HOW, help="Teach masks as well as boxes.")
    ] = True,
    many: Annotated[
        bool,
        typer.Option(
            "--one-to-many/--one-to-one", rich_help_panel=HOW, help="Let several queries learn from an object as well."
        ),
    ] = True,
    batch: Annotated[int, typer.Option("--batch", min=1, rich_help_panel=ROOM, help="Pictures at a time.")] = 1,
    phrases: Annotated[int, typer.Option("--phrases", min=1, rich_help_panel=ROOM, help="Phrases a picture.")] = 4,
    accumulate: Accumulate = 2,
    cache: Cache = None,
    cache_gb: CacheGb = 20.0,
    memory_gb: MemoryGb = None,
    device: DeviceName = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Fine-tune SAM 3's detector on your own pictures, and say whether it helped.

    Exit code 3: the run worked, but the result is worse than what it began from, and is not offered as a model.

    Examples:

        keepsight train detector --data yard/annotations.json --images yard/images --out runs/yard

        keepsight train detector --data out/clip/project.keepsight --lora 8 --out runs/mine
    """
    from dataclasses import replace

    from keepsight.training.detector.run import Place, Sources, train_detector
    from keepsight.training.detector.settings import DetectorSettings, Weights

    weights = Weights(many=float(many))
    settings = DetectorSettings(
        base=base,
        steps=steps,
        epochs=epochs,
        batch=batch,
        accumulate=accumulate,
        phrases=phrases,
        negatives=negatives,
        rate=rate,
        vision_rate=vision_rate,
        text_rate=text_rate,
        layer_decay=layer_decay,
        lora=lora,
        schedule=curve.value,
        warmup=warmup,
        flip=flip,
        held_out=held_out,
        frame_step=frame_step,
        seed=seed,
        weights=weights if masks else replace(weights, focal=0.0, dice=0.0),
    )
    sources = Sources(tuple(data), images, tuple(held_out_data or ()), tracked)
    place = Place("auto" if device is None else device.value, cache, cache_gb, memory_gb)
    outcome = train_detector(sources, out, settings, place, resume=resume, overwrite=overwrite, log=typer.echo)
    conclude(outcome)
