"""What `keepsight eval vos` and `keepsight eval score` share: the data set, the switches of the protocol, the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keepsight.evaluation.vos.protocol import DatasetKind, Frames, Mean, Missing, Objects, Skip, Void

if TYPE_CHECKING:
    from keepsight.evaluation.results import Results

DATA, SCORING = "Data set", "How to score"


DatasetName = Annotated[DatasetKind, typer.Option("--dataset", rich_help_panel=DATA, help="How it is laid out.")]
Split = Annotated[
    str | None,
    typer.Option(
        "--split", rich_help_panel=DATA, help="val, valid, test-dev, train, ... (default: the one papers score)"
    ),
]
Videos = Annotated[
    list[str] | None,
    typer.Option(
        "--videos",
        metavar="NAME",
        rich_help_panel=DATA,
        help="Only these; * and ? stand for anything, @FILE for the names in a file.",
    ),
]
Skipped = Annotated[
    Skip | None,
    typer.Option("--skip", rich_help_panel=SCORING, help="Annotated frames left out. (default: the data set's rule)"),
]
CountedFrames = Annotated[
    Frames | None,
    typer.Option("--frames", rich_help_panel=SCORING, help="Whose frames count: the video's, or each object's own."),
]
CountedObjects = Annotated[
    Objects | None,
    typer.Option(
        "--objects",
        rich_help_panel=SCORING,
        help="Those of the first frame; all, each from where it is first shown; or all, on every frame.",
    ),
]
VoidMeans = Annotated[Void | None, typer.Option("--void", rich_help_panel=SCORING, help="Pixels of 255 in the truth.")]
MeanOver = Annotated[Mean | None, typer.Option("--mean", rich_help_panel=SCORING, help="What weighs the same.")]
MissingMeans = Annotated[
    Missing | None,
    typer.Option(
        "--missing",
        rich_help_panel=SCORING,
        help="An annotated frame without a prediction: an error, an empty mask, or left out. (default: error)",
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        min=0.0,
        rich_help_panel=SCORING,
        help="Of F, as a share of the diagonal; px from 1 on. (default: 0.008)",
    ),
]
Processes = Annotated[
    int | None, typer.Option("--processes", min=1, rich_help_panel=SCORING, help="Workers. (default: one a core)")
]


def chosen(videos: list[str] | None) -> tuple[str, ...]:
    """Names and patterns, those of files included.

    Raises:
        InputError: a file that cannot be read.
    """
    from keepsight.core import InputError

    names: list[str] = []
    for item in videos or ():
        if not item.startswith("@"):
            names.append(item)
            continue
        try:
            names += Path(item[1:]).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--videos {item}: the list cannot be read: {error}.") from None
    return tuple(names)


def switches(
    skip: Skip | None,
    frames: Frames | None,
    objects: Objects | None,
    void: Void | None,
    mean: Mean | None,
    missing: Missing | None,
    tolerance: float | None,
) -> dict[str, Any]:
    """What was said of the protocol, by its field."""
    return {
        "skip": skip,
        "frames": frames,
        "objects": objects,
        "void": void,
        "mean": mean,
        "missing": missing,
        "tolerance": tolerance,
    }


def say(results: Results, out: Path) -> None:
    """The figures, how they came about, and where the rest is."""
    from keepsight.cli import show
    from keepsight.cli.eval.figures import print_figures

    console = show.out()
    print_figures(console, results)
    videos = len({row.video for row in results.rows})
    console.print(f"{len(results.rows)} objects of {videos} videos.")
    for line in results.protocol:
        console.print(line, markup=False)
    page = out / "report.html"
    console.print(f"  {show.shown(page if page.is_file() else out)}", markup=False)
