"""`keepsight import`: annotations of other tools as tracks in a project, or as prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepsight.cli.options import HOW, WHAT, WRITE


def import_(
    path: Annotated[Path, typer.Argument(help="File or folder to read.")],
    format_name: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            rich_help_panel=WHAT,
            help="davis, sav, coco, ytvis, yolo, labelme, mot, mots, cvat, csv or parquet.",
        ),
    ],
    project: Annotated[
        Path | None,
        typer.Option("--project", "-p", rich_help_panel=WRITE, help="Project file or folder; new with --video."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", rich_help_panel=WRITE, help="Write a prompt file for segment instead of tracks."),
    ] = None,
    video: Annotated[
        str | None, typer.Option("--video", rich_help_panel=WHAT, help="The video that the file is about.")
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="NAME", rich_help_panel=WHAT, help="Which video of the project.")
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            "--frames",
            metavar="N,N,...",
            rich_help_panel=HOW,
            help="Prompts: on these frames. (default: first of each object)",
        ),
    ] = None,
    boxes: Annotated[bool, typer.Option("--boxes", rich_help_panel=HOW, help="Prompts: boxes, not masks.")] = False,
    new_ids: Annotated[
        bool, typer.Option("--new-ids", rich_help_panel=HOW, help="Tracks: give every object a new id.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", rich_help_panel=HOW, help="Tracks: replace masks of objects that are there."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=WRITE, help="Replace the prompt file.")
    ] = False,
) -> None:
    """Read annotations of another tool, as finished tracks or as prompts.

    Examples:

        keepsight import edited/ --format labelme --project out/clip --replace

        keepsight import gt.txt --format mot --video clip.mp4 --prompts prompts.json
    """
    from keepsight.cli import show
    from keepsight.core import InputError
    from keepsight.pipeline import exchange

    if prompts is not None:
        chosen = exchange.frame_list(frames)
        show.exchange(
            exchange.import_as_prompts(
                path,
                format_name,
                prompts,
                source=video,
                project=project,
                video=of,
                frames=chosen,
                as_boxes=boxes,
                overwrite=overwrite,
            )
        )
    elif project is None:
        raise InputError("Where to? Give --project for finished tracks, or --prompts for a prompt file.")
    else:
        show.exchange(
            exchange.import_as_tracks(
                path, format_name, project, source=video, video=of, new_ids=new_ids, replace=replace
            )
        )
