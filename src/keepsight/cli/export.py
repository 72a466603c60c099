"""`keepsight export`: a project's objects in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepsight.cli.options import HOW, WRITE, Start, Stop


def export(
    project: Annotated[Path, typer.Argument(help="Project file, or the output folder of a run.")],
    format_name: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            rich_help_panel=WRITE,
            help="davis, sav, coco, ytvis, yolo, labelme, mot, mots, cvat, csv, parquet, alpha-png, alpha-webm.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", rich_help_panel=WRITE, help="Folder to write.")],
    images: Annotated[
        bool, typer.Option("--images", rich_help_panel=WRITE, help="Write the frames as JPEG too.")
    ] = False,
    simplify: Annotated[
        float,
        typer.Option(
            "--simplify", metavar="PX", rich_help_panel=HOW, help="Polygons: fewer points, this far off at most."
        ),
    ] = 0.0,
    base: Annotated[
        Path | None,
        typer.Option(
            "--base", rich_help_panel=HOW, help="LabelMe: files whose unknown keys and other shapes are kept."
        ),
    ] = None,
    of: Annotated[
        str | None, typer.Option("--of", metavar="NAME", rich_help_panel=HOW, help="Which video of the project.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option("--video", rich_help_panel=HOW, help="Where the video is now, if it has moved.")
    ] = None,
    start: Start = None,
    stop: Stop = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=WRITE, help="Replace an earlier export in the folder.")
    ] = False,
) -> None:
    """Write a project's objects in the format of another tool.

    What the format cannot hold is said with counts; docs/formats.md has the rules. Example:

        keepsight export out/clip --format coco --out out/clip-coco
    """
    from keepsight.cli import show
    from keepsight.pipeline import exchange

    show.exchange(
        exchange.export(
            project,
            format_name,
            out,
            video=of,
            start=start,
            stop=stop,
            images=images,
            base=base,
            simplify_px=simplify,
            overwrite=overwrite,
            source=video,
        )
    )
