"""A data set of boxes from beginning to end: what is missing is predicted, what is there is scored and reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepsight.core import Cancelled, InputError
from keepsight.evaluation.box.following import Given, follow
from keepsight.evaluation.box.layouts import Layout, open_layout
from keepsight.evaluation.box.layouts.base import write_text
from keepsight.evaluation.box.scoring import score
from keepsight.evaluation.box.worst import worst_pictures
from keepsight.evaluation.report import write_run
from keepsight.evaluation.results import Results
from keepsight.models.registry import local_dir, resolve
from keepsight.pipeline.job import Progress, ProgressCallback
from keepsight.pipeline.run import load_tracker
from keepsight.pipeline.settings import Settings, canonical_model, weights_fingerprint
from keepsight.pipeline.stopping import StopRequest

if TYPE_CHECKING:
    from keepsight.tracking import Tracker

PREDICTIONS, SETTINGS = "predictions", "settings.json"
_OTHER_SHARDS = "{} sequences are left to other shards; the one that ends last scores them all."
_WITHHELD = "The truth of this part is withheld: hand in {} at the data set's server."


@dataclass(frozen=True)
class BoxJob:
    """What to evaluate, on what, and where to write.

    Attributes:
        root: of the data set.
        dataset: its layout, a key of :data:`keepsight.evaluation.box.layouts.LAYOUTS`.
        split, listed: part of the set, or a file that names the sequences.
        out: folder of the run; default ``out/eval-DATASET``.
        model, policy, policy_options, device, dtype, zoom: as for ``keepsight.load``.
        given: what is told on an object's first frame.
        shard: number of this part, from 1, and how many parts there are.
        predictions: folder of predictions to score; nothing is followed then.
        as_toolkit: see :func:`keepsight.evaluation.box.scoring.score`.
        overwrite: start anew where predictions with other settings are.
    """

    root: Path
    dataset: str
    split: str | None = None
    listed: Path | None = None
    out: Path | None = None
    model: str = Settings.model
    policy: str = Settings.policy
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"
    zoom: bool | None = None
    given: Given = "box"
    shard: tuple[int, int] = (1, 1)
    predictions: Path | None = None
    as_toolkit: bool = False
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self.out or Path("out") / f"eval-{self.dataset}"


@dataclass(frozen=True)
class BoxOutcome:
    """What a run has come to.

    Attributes:
        results: ``None`` where predictions are still missing, or the truth is withheld.
        out: folder of the report.
        predictions: folder of the predictions.
        followed: sequences that this process has followed.
        missing: sequences that have no prediction yet, of other shards.
        lines: what a person should know.
    """

    results: Results | None
    out: Path
    predictions: Path
    followed: int
    missing: int
    lines: tuple[str, ...] = ()


def run_box(job: BoxJob, progress: ProgressCallback | None = None) -> BoxOutcome:
    """Predicts what has no prediction yet, and scores once all is there.

    A sequence whose predictions are there is never followed again: the same command goes on after a stop, several shards fill
    one folder, and the last of them scores.

    Raises:
        InputError, ModelError, StoreError: one line for the person.
        Cancelled: Ctrl-C; sequences that are complete stay.
    """
    if job.overwrite and job.shard != (1, 1):
        raise InputError(
            "--overwrite would take other shards' predictions away; use another --out, or remove the folder."
        )
    layout = open_layout(job.dataset, job.root, split=job.split, listed=job.listed)
    tell = progress or (lambda event: None)
    folder = job.predictions or job.folder / PREDICTIONS
    settings: dict[str, Any] = {
        "dataset": job.dataset,
        "root": str(job.root),
        **({"split": layout.split} if layout.split else {}),
        **({"list": str(job.listed)} if job.listed else {}),
        **({"as_vot_toolkit": job.as_toolkit} if job.dataset == "vot" else {}),
    }
    followed = 0
    if job.predictions is None:
        followed, made = _predict(job, layout, folder, tell)
        settings = made | settings
    else:
        if not folder.is_dir():
            raise InputError(f"--pred {folder} is no folder of predictions.")
        settings |= {"predictions": str(folder)}
    missing = [name for name in layout.names if not layout.done(folder, name)]
    if missing and job.predictions is not None:
        lacks = next(path for path in layout.prediction_files(folder, missing[0]) if not path.is_file())
        raise InputError(
            f"{len(missing)} of {len(layout.names)} sequences have no prediction; the first that lacks is {lacks}."
        )
    if missing:
        return BoxOutcome(None, job.folder, folder, followed, len(missing), (_OTHER_SHARDS.format(len(missing)),))
    if layout.withheld:
        return BoxOutcome(None, job.folder, folder, followed, 0, (_WITHHELD.format(folder),))
    results = score(
        layout,
        folder,
        settings,
        as_toolkit=job.as_toolkit,
        tell=lambda done: tell(Progress("score", done, len(layout.names))),
    )
    pictures = worst_pictures(results, layout, folder, lambda done: tell(Progress("pictures", done, None)))
    write_run(results, job.folder, pictures=pictures)
    return BoxOutcome(results, job.folder, folder, followed, 0)


def _predict(job: BoxJob, layout: Layout, folder: Path, tell: Callable[[Progress], None]) -> tuple[int, dict[str, Any]]:
    """Follows this shard's sequences that have no prediction; how many, and under which settings."""
    notes = job.folder / SETTINGS
    asked = Settings(
        model=canonical_model(job.model),
        policy=job.policy,
        policy_options=dict(job.policy_options),
        device=job.device,
        dtype=job.dtype,
        zoom=job.zoom,
        weights=weights_fingerprint(local_dir(resolve(job.model))),
    )
    if job.overwrite and notes.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        notes.unlink()
    _check_same(notes, folder, _decisive(job, asked))
    number, parts = job.shard
    todo = [name for name in layout.names[number - 1 :: parts] if not layout.done(folder, name)]
    if not todo:
        return 0, _read_settings(notes)
    tracker, settled = load_tracker(asked, {}, lambda stage, done, total: tell(Progress(stage, done, total)))
    made = _decisive(job, settled)
    _check_same(notes, folder, made)
    if not notes.is_file():
        write_text(notes, json.dumps(made, indent=1) + "\n")
    failed = _follow_all(job, layout, folder, todo, tracker, tell)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(todo)} sequences could not be followed, the others are kept. First of all: {failed[0]}"
        )
    return len(todo), made


def _follow_all(
    job: BoxJob,
    layout: Layout,
    folder: Path,
    todo: list[str],
    tracker: Tracker,
    tell: Callable[[Progress], None],
) -> list[str]:
    """What was wrong with single sequences; the others are followed nevertheless."""
    failed = []
    with StopRequest() as stop:
        for place, name in enumerate(todo, start=1):
            stage = f"{name} ({place} of {len(todo)})"
            try:
                sequence = layout.read(name)
                told = partial(_tell_frames, tell, stage, sequence.frame_count)
                layout.write(
                    folder,
                    sequence,
                    follow(tracker, sequence, job.given, tell=told, stopped=lambda: stop.asked),
                )
            except InputError as error:
                failed.append(str(error))
            except Cancelled:
                pass
            if stop.asked:
                done = sum(layout.done(folder, one) for one in layout.names)
                raise Cancelled(
                    f"Stopped; {done} of {len(layout.names)} sequences are complete. The same command goes on with the others."
                )
    return failed


def _tell_frames(tell: Callable[[Progress], None], stage: str, total: int, frames: int) -> None:
    tell(Progress(stage, frames, total))


def _decisive(job: BoxJob, settings: Settings) -> dict[str, Any]:
    """Everything that decides predictions; runs that differ in any of it do not share a folder. ``auto`` is no demand."""
    demanded = {
        "dataset": job.dataset,
        "given": job.given,
        "model": settings.model,
        "weights": settings.weights,
        "policy": settings.policy,
        "policy_options": dict(settings.policy_options),
    }
    # Any GPU of a kind: shards lie on several.
    machine = {"device": settings.device.partition(":")[0], "dtype": settings.dtype, "zoom": settings.zoom}
    return demanded | {name: value for name, value in machine.items() if value not in (None, "auto")}


def _check_same(notes: Path, folder: Path, wanted: dict[str, Any]) -> None:
    """Holds predictions to the settings that the first of them were made with."""
    if not notes.is_file():
        if folder.is_dir() and any(folder.rglob("*.txt")):
            raise InputError(
                f"{folder} holds predictions that no run has made; score them with --pred, or give another --out."
            )
        return
    before = _read_settings(notes)
    wanted = json.loads(json.dumps(wanted))
    differing = [
        f"{name} ({before.get(name)} then, {wanted[name]} now)" for name in wanted if before.get(name) != wanted[name]
    ]
    if differing:
        raise InputError(
            f"{folder} holds predictions with other settings: {', '.join(differing)}. Start anew with --overwrite or another "
            "--out."
        )


def _read_settings(notes: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(notes.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{notes} is damaged; start anew with --overwrite or another --out.") from None
