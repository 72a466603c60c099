"""`keepsight crop`: cuts the objects of an earlier run out again, in another way."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Background(StrEnum):
    BLACK = "black"
    BLUR = "blur"
    ORIGINAL = "original"


class CameraPath(StrEnum):
    SMOOTH = "smooth"
    PER_FRAME = "per-frame"
    FIXED = "fixed"


class Absent(StrEnum):
    SKIP = "skip"
    BLACK = "black"


class Boxes(StrEnum):
    CSV = "csv"
    PARQUET = "parquet"
    BOTH = "both"


def crop(
    project: Annotated[Path, typer.Argument(help="Output folder of an earlier run, or its project file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Output folder. (default: crops in the run's)")
    ] = None,
    size: Annotated[int | None, typer.Option("--size", metavar="PX", help="Side. (default: by the object)")] = None,
    margin: Annotated[float, typer.Option("--margin", help="Room on every side, as a part of the object.")] = 0.15,
    background: Annotated[Background, typer.Option("--background", help="Outside the mask.")] = Background.BLACK,
    path: Annotated[CameraPath, typer.Option("--path", help="How the window follows.")] = CameraPath.SMOOTH,
    absent: Annotated[Absent, typer.Option("--absent", help="Frames without the object.")] = Absent.SKIP,
    boxes: Annotated[Boxes, typer.Option("--boxes", help="Table of boxes.")] = Boxes.CSV,
    video: Annotated[str | None, typer.Option("--video", help="Where the video is now, if it was moved.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier cut-outs there.")] = False,
) -> None:
    """Cut every object of an earlier run out of its video, without following it again.

    Example: keepsight crop out/barn --size 256 --background blur --path per-frame
    """
    from keepsight.cli import show
    from keepsight.pipeline.crops import crop_objects, crop_style_of

    style = crop_style_of(size=size, margin=margin, background=background, path=path, absent=absent)
    with show.progress_bar() as progress:
        made = crop_objects(project, out, style=style, video=video, overwrite=overwrite, boxes=boxes, progress=progress)
    console = show.out()
    for line in made.notes:
        console.print(f"note: {line}", markup=False)
    count = len(made.clips)
    console.print(f"Cut {count} object{'' if count == 1 else 's'} out of {made.frames} frames.", markup=False)
    for object_id, clip in made.clips.items():
        console.print(f"  object {object_id}  {show.shown(clip)}", markup=False)
    for table in made.boxes:
        console.print(f"  boxes     {show.shown(table)}", markup=False)
