"""A data set of boxes from beginning to end: what is missing is predicted, what is there is scored and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keepsight.core import InputError
from keepsight.evaluation.box.job import BoxJob, BoxOutcome
from keepsight.evaluation.box.layouts import Layout
from keepsight.evaluation.box.predicting import predict
from keepsight.evaluation.box.scoring import score
from keepsight.evaluation.box.worst import worst_pictures
from keepsight.evaluation.report import write_run
from keepsight.pipeline.job import Progress, ProgressCallback

_OTHER_SHARDS = "{} sequences are left to other shards; the one that ends last scores them all."
_WITHHELD = "The truth of this part is withheld: hand in {} at the data set's server."


def run_box(job: BoxJob, progress: ProgressCallback | None = None) -> BoxOutcome:
    """Predicts what has no prediction yet, and scores once all is there.

    A sequence whose predictions are there is never followed again: the same command goes on after a stop, several shards fill
    one folder, and the last of them scores.

    Raises:
        InputError, ModelError, StoreError: one line for the person.
        Cancelled: Ctrl-C; sequences that are complete stay.
    """
    layout = job.open()

    def tell(stage: str, done: int, total: int | None) -> None:
        if progress is not None:
            progress(Progress(stage, done, total))

    settings = _of_the_set(job, layout)
    if job.predictions is None:
        settings = predict(job, layout, tell) | settings
    else:
        settings |= {"predictions": str(job.predictions)}
    folder = job.predicted
    missing = _missing(job, layout, folder)
    if missing:
        return BoxOutcome(None, job.folder, folder, (_OTHER_SHARDS.format(len(missing)),))
    if layout.withheld:
        return BoxOutcome(None, job.folder, folder, (_WITHHELD.format(folder),))
    results = score(
        layout,
        folder,
        settings,
        as_toolkit=job.as_toolkit,
        tell=lambda done: tell("score", done, len(layout.names)),
    )
    pictures = worst_pictures(results, layout, folder, lambda done: tell("pictures", done, None))
    write_run(results, job.folder, pictures=pictures)
    return BoxOutcome(results, job.folder, folder)


def _of_the_set(job: BoxJob, layout: Layout) -> dict[str, Any]:
    return {
        "dataset": job.dataset,
        "root": str(job.root),
        **({"split": layout.split} if layout.split else {}),
        **({"list": str(job.listed)} if job.listed else {}),
        **({"as_vot_toolkit": job.as_toolkit} if layout.family == "vots" else {}),
    }


def _missing(job: BoxJob, layout: Layout, folder: Path) -> list[str]:
    """Sequences without a prediction; an error where predictions are all that was given."""
    if job.predictions is not None and not folder.is_dir():
        raise InputError(f"--pred {folder} is no folder of predictions.")
    missing = [name for name in layout.names if not layout.done(folder, name)]
    if missing and job.predictions is not None:
        lacks = next(path for path in layout.prediction_files(folder, missing[0]) if not path.is_file())
        raise InputError(
            f"{len(missing)} of {len(layout.names)} sequences have no prediction; the first that lacks is {lacks}."
        )
    return missing
