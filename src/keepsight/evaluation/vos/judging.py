"""From predictions on disk to a report: what ``keepsight eval score`` does, and the end of ``keepsight eval vos``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keepsight.evaluation.report import write_run
from keepsight.evaluation.results import Results
from keepsight.evaluation.vos.clips import Dataset
from keepsight.evaluation.vos.layouts import open_dataset, predictions_in
from keepsight.evaluation.vos.pictures import worst_pictures
from keepsight.evaluation.vos.protocol import DatasetKind
from keepsight.evaluation.vos.scoring import score
from keepsight.pipeline.job import Progress, ProgressCallback

REPORT = "report.html"


@dataclass(frozen=True)
class ScoreJob:
    """Which predictions are to be scored, against what and how.

    Attributes:
        predictions: folder of a folder a video, or of a run of ``keepsight eval vos``.
        truth: root of the data set, or a folder of masks.
        dataset, split: see :func:`~keepsight.evaluation.vos.layouts.open_dataset`.
        videos: patterns of names; all of them where it is empty.
        switches: of the protocol, by name; the set's own where they are ``None``.
        out: folder of the report.
        processes: workers; ``None``: one a core.
    """

    predictions: Path
    truth: Path
    out: Path
    dataset: DatasetKind = DatasetKind.FOLDER
    split: str | None = None
    videos: tuple[str, ...] = ()
    switches: Mapping[str, Any] = field(default_factory=dict)
    processes: int | None = None


def run_score(job: ScoreJob, progress: ProgressCallback | None = None) -> Results:
    """Scores predictions and writes the report.

    Raises:
        InputError: a layout that is not there, predictions that lack, pictures that cannot be read.
        StoreError: the report cannot be written.
    """
    dataset = open_dataset(job.truth, job.dataset, job.split)
    if job.videos:
        dataset = dataset.only(job.videos)
    settings = {"predictions": str(job.predictions), **described(dataset, job.videos)}
    return judge(
        dataset, job.predictions, job.out, settings, switches=job.switches, processes=job.processes, progress=progress
    )


def described(dataset: Dataset, videos: tuple[str, ...]) -> dict[str, Any]:
    """The data set in the settings of a run."""
    chosen = {"videos": list(videos)} if videos else {}
    return {"dataset": dataset.kind.value, "root": str(dataset.root), "split": dataset.split, **chosen}


def judge(
    dataset: Dataset,
    predictions: Path,
    out: Path,
    settings: Mapping[str, Any],
    *,
    switches: Mapping[str, Any],
    processes: int | None,
    progress: ProgressCallback | None,
    remarks: tuple[str, ...] = (),
) -> Results:
    """Scores the predictions in a folder by the set's protocol and writes the report with pictures of the worst."""
    found = predictions_in(predictions, dataset.subfolder)
    results = score(
        dataset.clips,
        found,
        dataset.protocol.but(**switches),
        settings,
        processes=processes or os.cpu_count() or 1,
        progress=_told(progress),
    )
    results = replace(results, remarks=(*remarks, *dataset.remarks, *results.remarks))
    write_run(results, out, pictures=worst_pictures(results, dataset, found))
    return results


def _told(progress: ProgressCallback | None) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(Progress("score", done, total))
