"""`keepsight compare`: several memory policies on one video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keepsight.cli.options import (
    HOW,
    WHAT,
    WRITE,
    Boxes,
    DetectEvery,
    Detector,
    DeviceName,
    Exemplars,
    Likes,
    Masks,
    ModelName,
    Points,
    Precision,
    Rules,
    Start,
    Stop,
    Stride,
    Texts,
    ZoomSwitch,
)

if TYPE_CHECKING:
    from keepsight.pipeline.compare_job import Comparison

_WIDTH = 110


def compare(
    video: Annotated[str, typer.Argument(help="Video file or folder of images.")],
    policies: Annotated[
        str, typer.Option("--policies", metavar="NAME,NAME,...", rich_help_panel=HOW, help="Policies to compare.")
    ] = "sam2,sam2long,mosam,dms",
    text: Texts = None,
    point: Points = None,
    box: Boxes = None,
    mask: Masks = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", rich_help_panel=WHAT, help="Prompts file, as for segment.")
    ] = None,
    exemplar: Exemplars = None,
    like: Likes = None,
    detector: Detector = None,
    detect_every: DetectEvery = None,
    rule: Rules = None,
    truth: Annotated[
        Path | None,
        typer.Option("--truth", rich_help_panel=WHAT, help="Folder of true masks (DAVIS PNGs), some or all frames."),
    ] = None,
    model: ModelName = None,
    policy_option: Annotated[
        list[str] | None,
        typer.Option(
            "--policy-option", metavar="POLICY.NAME=VALUE", rich_help_panel=HOW, help="An option of one policy."
        ),
    ] = None,
    device: DeviceName = None,
    dtype: Precision = None,
    zoom: ZoomSwitch = None,
    start: Start = None,
    stop: Stop = None,
    stride: Stride = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", rich_help_panel=WRITE, help="Output folder. (default: out/NAME-compare)"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=WRITE, help="Replace an earlier comparison in the folder.")
    ] = False,
) -> None:
    """Compare memory policies on one video.

    Every frame is decoded and encoded once for all of them; each gives what it would give alone. Example:
    keepsight compare clip.mp4 --box 0:100,80,220,260 --policies sam2,sam2long,dms

    With --text every policy follows what it finds from the same detections; --policies sam3,dms are SAM 3's group selection
    and SAM3-DMS' decoupled one.
    """
    from keepsight.cli import show
    from keepsight.pipeline.compare import run_compare
    from keepsight.pipeline.compare_job import CompareJob, read_options, read_policies
    from keepsight.pipeline.job import SegmentJob, parse_options
    from keepsight.pipeline.words import gather

    names = read_policies(policies)
    asked = gather(
        point,
        box,
        mask,
        prompts,
        texts=text,
        exemplars=exemplar,
        likes=like,
        detector=detector,
        rules=rule,
        detect_every=detect_every,
    )
    told = SegmentJob(
        video=video,
        out=out,
        model=model,
        device=device,
        dtype=dtype,
        zoom=zoom,
        start=start,
        stop=stop,
        stride=stride,
    )
    options = read_options(names, parse_options("--policy-option", policy_option or ()))
    with show.progress_bar() as progress:
        result = run_compare(CompareJob(asked.added_to(told), names, options, truth, overwrite), progress=progress)
    _print(result)
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _print(result: Comparison) -> None:
    from rich.table import Table

    from keepsight.cli import show

    console = show.out(least_width=_WIDTH)
    for line in result.notes:
        console.print(f"note: {line}", markup=False)
    if result.state == "cancelled":
        console.print(f"Stopped after {result.frames} frames; what follows is about these.")
    table = Table(box=None, pad_edge=False, header_style="italic", padding=(0, 2, 0, 0))
    columns = ["policy", "J&F", "J", "F", "agreement", "time", "units", "remembered", "revised", "uncertain"]
    for column in columns:
        table.add_column(column, no_wrap=True, justify="left" if column == "policy" else "right")
    for row in result.rows:
        share = "-" if row.uncertain is None else f"{100 * row.uncertain:.0f} %"
        quality = [_number(value) for value in (row.j_and_f, row.j, row.f, row.agreement)]
        cost = [f"{row.seconds:.1f} s", str(row.units), f"{row.peak_bytes / 2**20:.1f} MiB", str(row.revised), share]
        table.add_row(row.policy, *quality, *cost)
    console.print(table)
    console.print(
        f"{result.frames} frames; {result.views} views encoded once for all in {result.encode_s:.1f} s. Time is what a "
        "policy would take alone, without decoding the video.",
        markup=False,
    )
    console.print(result.look, markup=False)
    width = max((len(name) for name, _ in result.files), default=0)
    for name, path in result.files:
        console.print(f"  {name:<{width}}  {show.shown(path)}", markup=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
