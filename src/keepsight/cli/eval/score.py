"""`keepsight eval score`: masks that are there already, against a truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepsight.cli.eval.vos_options import (
    CountedFrames,
    CountedObjects,
    DatasetName,
    MeanOver,
    MissingMeans,
    Processes,
    Skipped,
    Split,
    Tolerance,
    Videos,
    VoidMeans,
    chosen,
    switches,
)
from keepsight.cli.options import WRITE
from keepsight.evaluation.vos.protocol import DatasetKind


def score(
    predictions: Annotated[
        Path, typer.Argument(metavar="PRED", help="Folder with a folder of masks for every video, or a run's folder.")
    ],
    truth: Annotated[
        Path, typer.Argument(metavar="TRUTH", help="Root of the data set, or a folder of masks for every video.")
    ],
    dataset: DatasetName = DatasetKind.FOLDER,
    split: Split = None,
    videos: Videos = None,
    skip: Skipped = None,
    frames: CountedFrames = None,
    objects: CountedObjects = None,
    void: VoidMeans = None,
    mean: MeanOver = None,
    missing: MissingMeans = None,
    tolerance: Tolerance = None,
    processes: Processes = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", rich_help_panel=WRITE, help="Folder of the report. (default: out/score-PRED)"),
    ] = None,
) -> None:
    """Score masks against a truth: J, F, recall, decay, and what the data set adds.

    Masks are palette or grey PNGs of ids, or a folder of PNGs an object; frames meet by the number in the name.

    Example: keepsight eval score results/davis data/DAVIS --dataset davis17
    """
    from keepsight.cli import show
    from keepsight.cli.eval.vos_options import say
    from keepsight.evaluation.vos.judging import ScoreJob, run_score

    job = ScoreJob(
        predictions=predictions,
        truth=truth,
        out=out or Path("out") / f"score-{predictions.resolve().name}",
        dataset=dataset,
        split=split,
        videos=chosen(videos),
        switches=switches(skip, frames, objects, void, mean, missing, tolerance),
        processes=processes,
    )
    with show.progress_bar() as progress:
        results = run_score(job, progress)
    say(results, job.out)
