"""`keepsight pipeline`: a folder of long videos, cut into clips, followed, cut out."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from keepsight.pipeline.batch.conduct import BatchOutcome

app = typer.Typer(help="A folder of long videos: clips, masks, one cut-out an object.", no_args_is_help=True)


class Log(StrEnum):
    TEXT = "text"
    JSON = "json"


LogForm = Annotated[Log, typer.Option("--log", help="Lines for people, or JSON lines.")]


class Where(StrEnum):
    LOCAL = "local"
    RAY = "ray"


Executor = Annotated[
    Where | None, typer.Option("--executor", help="Work on this machine, or on all of a Ray cluster. (default: local)")
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="Of the Ray cluster; auto: look for it. Alone: --executor ray."),
]
Out = Annotated[Path, typer.Argument(help="Output folder of the batch.")]


@app.command("init")
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("pipeline.yaml"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace it.")] = False,
) -> None:
    """Write a commented file of settings."""
    from keepsight.core import StoreError
    from keepsight.pipeline.batch.config import TEMPLATE
    from keepsight.store.files import replacing_file

    if path.exists() and not overwrite:
        raise StoreError(f"{path} is there already; replace it by --overwrite, or name another.")
    with replacing_file(path) as temporary:
        temporary.write_text(TEMPLATE, encoding="utf-8")
    typer.echo(f"Wrote {path}. Say in it what to find and where, then: keepsight pipeline run {path}")


@app.command("run")
def run(
    what: Annotated[Path, typer.Argument(metavar="CONFIG|FOLDER", help="File of settings, or a folder of videos.")],
    text: Annotated[list[str] | None, typer.Option("--text", metavar="WORDS", help="What to find.")] = None,
    detector: Annotated[str | None, typer.Option("--detector", metavar="NAME", help="What finds it.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="What follows it. (default: builtin)")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Output folder.")] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", metavar="N", help="Frames of a clip. (default: 300)")
    ] = None,
    step: Annotated[int | None, typer.Option("--step", metavar="S", help="Take every S-th frame.")] = None,
    overlap: Annotated[int | None, typer.Option("--overlap", metavar="K", help="Frames that clips share.")] = None,
    size: Annotated[int | None, typer.Option("--size", metavar="PX", help="Side of the cut-outs.")] = None,
    executor: Executor = None,
    address: Address = None,
    log: LogForm = Log.TEXT,
) -> None:
    """Cut every video into clips, find and follow, cut out. Run it again to go on after a stop, or with new videos.

    Example: keepsight pipeline run videos --text cow --out out/barn
    """
    from keepsight.pipeline.batch.conduct import begin_batch
    from keepsight.pipeline.batch.config import load_config, make_config

    changes: dict[str, Any] = {
        "prompt_class": text or None,
        "detector": detector,
        "model": model,
        "output_folder": out,
        "frames_per_clip": frames,
        "frame_step": step,
        "clip_overlap": overlap,
        "crop_size": size,
        **_where(executor, address),
    }
    if what.is_dir():
        given = {name: value for name, value in changes.items() if value is not None}
        config = make_config({"input_folder": what} | given, str(what))
    else:
        config = load_config(what, **changes)
    begin_batch(config)
    _go(config.output_folder, log)


@app.command("resume")
def resume(out: Out, executor: Executor = None, address: Address = None, log: LogForm = Log.TEXT) -> None:
    """Go on with a batch that was stopped, under its own settings."""
    _go(out, log, executor, address)


@app.command("retry")
def retry(out: Out, executor: Executor = None, address: Address = None, log: LogForm = Log.TEXT) -> None:
    """Try again what has failed, and go on."""
    from keepsight.pipeline.batch.conduct import ask_failed_again

    count = ask_failed_again(out)
    if log is Log.TEXT:
        typer.echo(f"{count} failed unit{'' if count == 1 else 's'} to try again.")
    _go(out, log, executor, address)


@app.command("status")
def status(out: Out) -> None:
    """Say how far a batch is, and what has failed."""
    from keepsight.pipeline.batch.conduct import read_batch
    from keepsight.pipeline.batch.report import stage_rows

    _, units = read_batch(out)
    for row in stage_rows(units):
        states = ", ".join(
            f"{row[state]} {state}" for state in ("done", "running", "ready", "failed") if row.get(state)
        )
        typer.echo(f"{row['stage']:<8} {states or 'nothing yet'}  ({row['seconds']:.1f} s)")
    for unit in units:
        if unit.state == "failed":
            typer.echo(f"failed: {unit.stage} {unit.name}: {unit.error}")


@app.command("report")
def report(out: Out) -> None:
    """Write the report of what is done so far."""
    from keepsight.cli import show
    from keepsight.pipeline.batch.conduct import read_batch
    from keepsight.pipeline.batch.report import REPORT_NAME, write_batch_report

    config, units = read_batch(out)
    write_batch_report(out / REPORT_NAME, config, units)
    typer.echo(show.shown(out / REPORT_NAME))


def _where(executor: Where | None, address: str | None) -> dict[str, str | None]:
    """The settings that these options are; an address alone means Ray."""
    named = executor.value if executor is not None else "ray" if address else None
    return {"executor": named, "ray_address": address}


def _go(out: Path, log: Log, executor: Where | None = None, address: str | None = None) -> None:
    from keepsight.cli.batch_progress import telling
    from keepsight.core import Cancelled
    from keepsight.pipeline.batch.conduct import conduct

    try:
        with telling(as_json=log is Log.JSON) as observer:
            outcome = conduct(out, observer, **_where(executor, address))
    except KeyboardInterrupt:
        raise Cancelled(
            f"Stopped; everything that was done is kept. Go on with: keepsight pipeline resume {out}"
        ) from None
    _conclude(outcome, log)


def _conclude(outcome: BatchOutcome, log: Log) -> None:
    from keepsight.cli import show

    done = outcome.counts["crop", "done"]
    if log is Log.JSON:
        report = str(outcome.report) if outcome.report is not None else None
        typer.echo(json.dumps({"event": "end", "clips": done, "failed": len(outcome.failed), "report": report}))
        return
    typer.echo(f"{done} clip{'' if done == 1 else 's'} done, {len(outcome.failed)} failed.")
    if outcome.report is not None:
        typer.echo(f"  report  {show.shown(outcome.report)}")
