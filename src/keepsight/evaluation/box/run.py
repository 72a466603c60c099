"""A data set of boxes from beginning to end: what is missing is predicted, what is there is scored and reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepsight.core import InputError
from keepsight.evaluation.box.following import Given, follow
from keepsight.evaluation.box.layouts import Layout, open_layout
from keepsight.evaluation.box.scoring import score
from keepsight.evaluation.box.worst import worst_pictures
from keepsight.evaluation.report import write_run
from keepsight.evaluation.results import Results
from keepsight.pipeline.job import Progress, ProgressCallback
from keepsight.pipeline.run import load_tracker
from keepsight.pipeline.settings import Settings, canonical_model
from keepsight.store.files import replacing_file

if TYPE_CHECKING:
    from keepsight.tracking import Tracker

PREDICTIONS, SETTINGS = "predictions", "predictions.json"
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

    Raises:
        InputError, ModelError, StoreError: one line for the person.
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
    }
    followed = 0
    if job.predictions is None:
        followed, made = _predict(job, layout, folder, tell)
        settings |= made
    else:
        if not folder.is_dir():
            raise InputError(f"--pred {folder} is no folder of predictions.")
        settings |= {"predictions": str(folder)}
    if job.dataset == "vot":
        settings["as_vot_toolkit"] = job.as_toolkit
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
    number, parts = job.shard
    mine = layout.names[number - 1 :: parts]
    asked = Settings(
        model=canonical_model(job.model),
        policy=job.policy,
        policy_options=dict(job.policy_options),
        device=job.device,
        dtype=job.dtype,
        zoom=job.zoom,
    )
    tracker, settled = load_tracker(asked, {}, lambda stage, done, total: tell(Progress(stage, done, total)))
    made = {
        "model": settled.model,
        "weights": settled.weights,
        "policy": settled.policy,
        "policy_options": dict(settled.policy_options),
        "device": settled.device,
        "dtype": settled.dtype,
        "zoom": settled.zoom,
        "given": job.given,
    }
    _hold_to(folder.parent / SETTINGS, made | {"dataset": job.dataset}, folder, overwrite=job.overwrite)
    count = 0
    for place, name in enumerate(mine, start=1):
        if layout.done(folder, name):
            continue
        stage = f"{name} ({place} of {len(mine)})"
        _follow_one(tracker, layout, folder, name, job.given, stage, tell)
        count += 1
    return count, made


def _follow_one(
    tracker: Tracker,
    layout: Layout,
    folder: Path,
    name: str,
    given: Given,
    stage: str,
    tell: Callable[[Progress], None],
) -> None:
    sequence = layout.read(name)
    total = sequence.frame_count
    predictions = follow(tracker, sequence, given, lambda frames: tell(Progress(stage, frames, total)))
    layout.write(folder, sequence, predictions)


def _hold_to(path: Path, made: dict[str, Any], folder: Path, *, overwrite: bool) -> None:
    """Holds predictions to the settings that the first of them were made with."""
    if path.is_file() and not overwrite:
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(f"{path} is damaged; start anew with --overwrite or another --out.") from None
        differing = [
            f"{name} ({before.get(name)} then, {value} now)"
            for name, value in made.items()
            if before.get(name) != value
        ]
        if differing:
            raise InputError(
                f"{folder} holds predictions with other settings: {', '.join(differing)}. Start anew with --overwrite or another "
                "--out."
            )
        return
    if any(folder.rglob("*.txt")) and not path.is_file():
        raise InputError(
            f"{folder} holds predictions that no run has made; score them with --pred, or give another --out."
        )
    if overwrite:
        for old in sorted(folder.rglob("*.*")):
            if old.suffix in (".txt", ".value"):
                old.unlink()
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
