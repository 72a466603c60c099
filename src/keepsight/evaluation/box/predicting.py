"""Sequences that have no prediction yet are followed: here, one after the other, or on a Ray cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepsight.core import Cancelled, InputError
from keepsight.evaluation.box.following import follow
from keepsight.evaluation.box.job import PREDICTIONS, SETTINGS, BoxJob
from keepsight.evaluation.running import check_known, hold_to
from keepsight.pipeline.run import load_tracker
from keepsight.pipeline.stopping import StopRequest

if TYPE_CHECKING:
    from keepsight.evaluation.box.layouts import Layout

Tell = Callable[[str, int, int | None], None]


def predict(job: BoxJob, layout: Layout, tell: Tell) -> dict[str, Any]:
    """Makes this shard's predictions that lack, and gives the settings of all that are there.

    Raises:
        InputError: predictions of other settings are there, or sequences could not be followed; the others were.
        ModelError: weights that are not here.
        Cancelled: Ctrl-C; what is complete stays.
    """
    folder, notes = job.predicted, job.folder / SETTINGS
    what = f"The predictions in {folder}"
    if job.overwrite and notes.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        notes.unlink()
    if not notes.is_file() and folder.is_dir() and any(folder.rglob("*.txt")):
        raise InputError(
            f"{folder} holds predictions that no run has made; score them with --pred, or give another --out."
        )
    check_known(notes, job.decisive(job.asked()), what)
    number, parts = job.shard
    todo = [name for name in layout.names[number - 1 :: parts] if not layout.done(folder, name)]
    failed: list[str] = []
    # A machine without the model's device can score what others followed.
    if todo and job.ray:
        failed = _follow_on_cluster(job, todo, partial(hold_to, notes, what=what), tell)
    elif todo:
        follower = SequenceFollower(job, tell=tell, layout=layout)
        hold_to(notes, follower.settings(), what)
        failed = _follow_here(follower, todo, layout, folder, tell)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(todo)} sequences could not be followed, the others are kept. First of all: {failed[0]}"
        )
    return dict(json.loads(notes.read_text(encoding="utf-8"))) if notes.is_file() else {}


class SequenceFollower:
    """Follows sequences on one device and writes their predictions."""

    def __init__(self, job: BoxJob, tell: Tell = lambda stage, done, total: None, layout: Layout | None = None) -> None:
        self._job = job
        self._layout = layout or job.open()
        self._tracker, self._settings = load_tracker(job.asked(), {}, tell)

    def settings(self) -> dict[str, Any]:
        """With which it follows."""
        return self._job.decisive(self._settings)

    def follow(
        self,
        name: str,
        told: Callable[[int, int], None] = lambda done, total: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> int:
        """Follows a sequence and gives the number of its frames; nothing is left of one that fails or is stopped.

        Raises:
            InputError: files that are missing or do not fit each other.
            Cancelled: ``stopped`` said so.
        """
        sequence = self._layout.read(name)
        total = sequence.frame_count
        found = follow(self._tracker, sequence, self._job.given, tell=lambda done: told(done, total), stopped=stopped)
        self._layout.write(self._job.folder / PREDICTIONS, sequence, found)
        return total


def _follow_here(
    follower: SequenceFollower, todo: Sequence[str], layout: Layout, folder: Path, tell: Tell
) -> list[str]:
    """What was wrong with single sequences; the others are followed nevertheless."""
    failed = []
    with StopRequest() as stop:
        for place, name in enumerate(todo, start=1):
            try:
                follower.follow(name, partial(tell, f"{name} ({place} of {len(todo)})"), lambda: stop.asked)
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


def _follow_on_cluster(
    job: BoxJob, todo: Sequence[str], begin: Callable[[dict[str, Any]], Any], tell: Tell
) -> list[str]:
    from keepsight.evaluation.cluster import ClusterJob, follow_on_cluster

    job = replace(job, root=job.root.resolve(), out=job.folder.resolve(), listed=job.listed and job.listed.resolve())
    cluster = ClusterJob(partial(_follower_on, job), job.root, job.folder, job.device, job.ray_address)
    return follow_on_cluster(cluster, todo, begin, tell)


def _follower_on(job: BoxJob, device: str) -> SequenceFollower:
    """A worker of the cluster."""
    return SequenceFollower(replace(job, device=device, ray=False, overwrite=False))
