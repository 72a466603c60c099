"""`keepsight eval box`: tracking from a box on the first frame."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from keepsight.cli.eval.run_options import WHERE, AnyDevice, Executor, ExecutorName, RayAddress, RunFolder
from keepsight.cli.options import HOW, WRITE, ModelName, PolicyName, PolicyOptions, Precision, ZoomSwitch

_DATA, _SCORE = "Data", "Score"


class BoxDataset(StrEnum):
    LASOT = "lasot"
    LASOT_EXT = "lasot-ext"
    GOT10K = "got10k"
    VOT = "vot"
    FOLDER = "folder"


class GivenOnFirst(StrEnum):
    BOX = "box"
    REGION = "region"


def box(
    root: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    dataset: Annotated[BoxDataset, typer.Option("--dataset", rich_help_panel=_DATA, help="How it is laid out.")],
    split: Annotated[
        str | None,
        typer.Option("--split", rich_help_panel=_DATA, help="lasot: test or all; got10k: val, test or train."),
    ] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--list", rich_help_panel=_DATA, help="File that names the sequences to take, one a line."),
    ] = None,
    pred: Annotated[
        Path | None,
        typer.Option(
            "--pred", rich_help_panel=_DATA, help="Score the predictions in this folder; nothing is followed."
        ),
    ] = None,
    model: ModelName = None,
    policy: PolicyName = None,
    policy_option: PolicyOptions = None,
    given: Annotated[
        GivenOnFirst,
        typer.Option(
            "--given",
            rich_help_panel=HOW,
            help="What is told on the first frame: the box, or VOT's region (mask, polygon).",
        ),
    ] = GivenOnFirst.BOX,
    dtype: Precision = None,
    zoom: ZoomSwitch = None,
    device: AnyDevice = "auto",
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard", metavar="I/N", rich_help_panel=WHERE, help="Follow the I-th of N parts of the sequences."
        ),
    ] = None,
    executor: ExecutorName = Executor.LOCAL,
    ray_address: RayAddress = None,
    as_toolkit: Annotated[
        bool,
        typer.Option(
            "--as-vot-toolkit", rich_help_panel=_SCORE, help="Count the given frame as missed, as vot-toolkit does."
        ),
    ] = False,
    out: RunFolder = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", rich_help_panel=WRITE, help="Start anew where predictions with other settings are."
        ),
    ] = False,
) -> None:
    """Follow the object of each sequence from its first box, and measure success, precision, overlap and absence.

    Run it again to go on after a stop: sequences that have their predictions are not followed again.

    Example: keepsight eval box data/LaSOT --dataset lasot --model sam2.1-tiny --out out/lasot
    """
    from keepsight.cli import show
    from keepsight.cli.eval.figures import say_outcome
    from keepsight.evaluation.box.job import BoxJob
    from keepsight.evaluation.box.run import run_box
    from keepsight.evaluation.running import read_shard
    from keepsight.pipeline.job import parse_options

    job = BoxJob(
        root=root,
        dataset=dataset.value,
        split=split,
        listed=listed,
        out=out,
        model=model or BoxJob.model,
        policy=policy or BoxJob.policy,
        policy_options=parse_options("--policy-option", policy_option or ()),
        device=device,
        dtype=dtype.value if dtype is not None else "auto",
        zoom=zoom,
        given=given.value,
        shard=read_shard(shard),
        ray=executor is Executor.RAY,
        ray_address=ray_address,
        predictions=pred,
        as_toolkit=as_toolkit,
        overwrite=overwrite,
    )
    with show.progress_bar() as progress:
        outcome = run_box(job, progress)
    say_outcome(outcome)
