"""`keepsight eval vos`: semi-supervised video object segmentation over a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepsight.cli.eval.run_options import WHERE, AnyDevice, Executor, ExecutorName, RayAddress, RunFolder
from keepsight.cli.eval.vos_options import (
    DATA,
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
    say,
    switches,
)
from keepsight.cli.options import HOW, WRITE, ModelName, PolicyName, PolicyOptions, Precision, ZoomSwitch
from keepsight.evaluation.vos.protocol import FirstPrompt


def vos(
    root: Annotated[Path, typer.Argument(metavar="DATASET_ROOT", help="Folder of the data set.")],
    dataset: DatasetName,
    split: Split = None,
    videos: Videos = None,
    all_frames: Annotated[
        bool,
        typer.Option(
            "--all-frames", rich_help_panel=DATA, help="YouTube-VOS: follow at 30 frames a second (SPLIT_all_frames)."
        ),
    ] = False,
    model: ModelName = None,
    policy: PolicyName = None,
    policy_option: PolicyOptions = None,
    prompt: Annotated[
        FirstPrompt, typer.Option("--prompt", rich_help_panel=HOW, help="What is said of an object where it first is.")
    ] = FirstPrompt.MASK,
    dtype: Precision = None,
    zoom: ZoomSwitch = None,
    device: AnyDevice = "auto",
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", rich_help_panel=WHERE, help="Follow the I-th of N parts of the videos."),
    ] = None,
    executor: ExecutorName = Executor.LOCAL,
    ray_address: RayAddress = None,
    skip: Skipped = None,
    frames: CountedFrames = None,
    objects: CountedObjects = None,
    void: VoidMeans = None,
    mean: MeanOver = None,
    missing: MissingMeans = None,
    tolerance: Tolerance = None,
    processes: Processes = None,
    out: RunFolder = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=WRITE, help="Throw away the predictions that are there.")
    ] = False,
) -> None:
    """Follow every object of a data set from its first annotation, write the predictions, and score them.

    Run it again to go on after a stop: videos that are complete are not followed again. Shards fill one folder, and
    whichever completes it scores.

    Example: keepsight eval vos data/DAVIS --dataset davis17 --model sam2.1-tiny --out out/davis
    """
    from keepsight.cli import show
    from keepsight.evaluation.running import read_shard
    from keepsight.evaluation.vos.job import VosJob
    from keepsight.evaluation.vos.running import run_vos
    from keepsight.pipeline.job import parse_options

    job = VosJob(
        root=root,
        dataset=dataset,
        out=out or Path("out") / f"eval-{dataset.value}",
        split=split,
        all_frames=all_frames,
        videos=chosen(videos),
        model=model or VosJob.model,
        policy=policy or VosJob.policy,
        policy_options=parse_options("--policy-option", policy_option or ()),
        device=device,
        dtype=VosJob.dtype if dtype is None else dtype.value,
        zoom=zoom,
        prompt=prompt,
        shard=read_shard(shard),
        ray=executor is Executor.RAY,
        ray_address=ray_address,
        switches=switches(skip, frames, objects, void, mean, missing, tolerance),
        processes=processes,
        overwrite=overwrite,
    )
    with show.progress_bar() as progress:
        outcome = run_vos(job, progress)
    console = show.out()
    for line in outcome.lines:
        console.print(f"note: {line}", markup=False)
    if outcome.results is not None:
        say(outcome.results, outcome.out)
    console.print(f"  {show.shown(outcome.predictions)}", markup=False)
