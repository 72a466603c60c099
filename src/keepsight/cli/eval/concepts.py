"""`keepsight eval concepts`: everything that phrases name, found and followed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from keepsight.cli.options import (
    HOW,
    WRITE,
    DetectEvery,
    Detector,
    DeviceName,
    ModelName,
    PolicyOptions,
    Precision,
    Rules,
    Selection,
    ZoomSwitch,
)

_DATA = "Data"


class FollowedFrames(StrEnum):
    LISTED = "listed"
    ALL = "all"


class AskedPhrases(StrEnum):
    ALL = "all"
    ANNOTATED = "annotated"


def concepts(
    annotations: Annotated[Path, typer.Argument(metavar="ANNOTATIONS.json", help="SA-Co/VEval or YTVIS JSON.")],
    media: Annotated[
        Path | None, typer.Option("--media", rich_help_panel=_DATA, help="Folder that holds the videos' pictures.")
    ] = None,
    pred: Annotated[
        Path | None,
        typer.Option("--pred", rich_help_panel=_DATA, help="Score this results.json; nothing is followed."),
    ] = None,
    frames: Annotated[
        FollowedFrames,
        typer.Option(
            "--frames", rich_help_panel=_DATA, help="Follow the pictures that the set lists, or all in their folder."
        ),
    ] = FollowedFrames.LISTED,
    phrases: Annotated[
        AskedPhrases,
        typer.Option(
            "--phrases",
            rich_help_panel=_DATA,
            help="YTVIS: look for all of its categories in every video, or for those annotated there.",
        ),
    ] = AskedPhrases.ALL,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", rich_help_panel=_DATA, help="Leave out videos whose pictures are not there."),
    ] = False,
    detector: Detector = None,
    detect_every: DetectEvery = None,
    rule: Rules = None,
    model: ModelName = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", rich_help_panel=HOW, help="Memory policy. (default: sam3 with SAM 3, else sam2)"),
    ] = None,
    policy_option: PolicyOptions = None,
    selection: Annotated[
        Selection | None,
        typer.Option(
            "--selection",
            rich_help_panel=HOW,
            help="Memory of what was found: of all together (policy sam3) or each by itself (policy dms).",
        ),
    ] = None,
    device: DeviceName = None,
    dtype: Precision = None,
    zoom: ZoomSwitch = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", rich_help_panel=HOW, help="Follow the I-th of N parts of the videos."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", rich_help_panel=WRITE, help="Folder of the run. (default: out/eval-ANNOTATIONS)"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=WRITE, help="Throw earlier predictions in the folder away.")
    ] = False,
) -> None:
    """Find and follow what phrases name, and measure cgF1, pmF1, IL_MCC, pHOTA and tube AP.

    Run it again to go on after a stop: videos that have their predictions are not followed again.

    Example: keepsight eval concepts saco_veval_sav_val.json --media media/saco_sav --model sam3 --out out/sav
    """
    from keepsight.cli import show
    from keepsight.cli.eval.figures import say_outcome
    from keepsight.evaluation.concepts.run import ConceptJob, run_concepts
    from keepsight.evaluation.running import read_shard
    from keepsight.pipeline.job import parse_options
    from keepsight.pipeline.words import read_rules

    job = ConceptJob(
        annotations=annotations,
        media=media,
        out=out,
        model=model,
        policy=policy,
        policy_options=parse_options("--policy-option", policy_option or ()),
        selection=selection.value if selection is not None else None,
        detector=detector,
        rules=read_rules(rule or (), detect_every),
        device=device.value if device is not None else None,
        dtype=dtype.value if dtype is not None else None,
        zoom=zoom,
        frames=frames.value,
        phrases=phrases.value,
        skip_missing=skip_missing,
        shard=read_shard(shard),
        predictions=pred,
        overwrite=overwrite,
    )
    with show.progress_bar() as progress:
        outcome = run_concepts(job, progress)
    say_outcome(outcome)
