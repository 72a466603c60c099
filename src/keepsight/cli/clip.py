"""`keepsight clip`: cuts a long video into clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def clip(
    video: Annotated[str, typer.Argument(help="Video file or folder of images.")],
    frames: Annotated[int | None, typer.Option("--frames", metavar="N", help="Frames of a clip.")] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", metavar="T", help="Or its length in seconds.")] = None,
    step: Annotated[int, typer.Option("--step", metavar="S", help="Take every S-th frame.")] = 1,
    overlap: Annotated[
        int, typer.Option("--overlap", metavar="K", help="Frames that a clip shares with the one before.")
    ] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Output folder. (default: out/clips)")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier clips of this video.")] = False,
) -> None:
    """Cut a long video into clips, exact to the frame.

    Frames are counted after --step. Example: keepsight clip barn.mp4 --frames 300 --step 5 --overlap 10 --out clips
    """
    from keepsight.cli import show
    from keepsight.core import InputError
    from keepsight.pipeline.clips import CutRule, cut_video

    if frames is None and seconds is None:
        raise InputError("How long is a clip to be? Give --frames N or --seconds T.")
    rule = CutRule(frames, seconds, step, overlap)
    with show.progress_bar() as progress:
        made = cut_video(video, out or Path("out/clips"), rule, overwrite=overwrite, progress=progress)
    console = show.out()
    for line in made.notes:
        console.print(f"note: {line}", markup=False)
    count = len(made.clips)
    console.print(f"Cut {made.frames} frames into {count} clip{'' if count == 1 else 's'}.", markup=False)
    names = show.shown(made.clips[0]) + (f" to {made.clips[-1].name}" if count > 1 else "")
    console.print(f"  clips  {names}\n  list   {show.shown(made.table)}", markup=False)
