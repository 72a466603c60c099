"""Clips on the devices of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from keepsight.evaluation.cluster import ClusterJob
from keepsight.evaluation.cluster import follow_on_cluster as follow_names
from keepsight.evaluation.vos.clips import Clip
from keepsight.evaluation.vos.following import follow, settings_of, tracker_for
from keepsight.evaluation.vos.job import PredictionFolder, VosJob


class ClipFollower:
    """Follows clips on one device."""

    def __init__(self, job: VosJob, device: str) -> None:
        self._job = replace(job, device=device, ray=False, overwrite=False)
        self._dataset = self._job.open()
        self._tracker, self._settings = tracker_for(self._job, self._dataset, lambda stage, done, total: None)

    def settings(self) -> dict[str, Any]:
        """With which it follows."""
        return settings_of(self._job, self._dataset, self._settings)

    def follow(self, name: str) -> int:
        """Follows a clip and gives the number of its frames."""
        clip = next(clip for clip in self._dataset.clips if clip.name == name)
        folder = PredictionFolder(self._job.out, self._dataset.subfolder)
        follow(clip, self._dataset, self._tracker, self._job.prompt, folder)
        return int(folder.facts(clip).get("frames", 0))


def follow_on_cluster(
    job: VosJob, todo: Sequence[Clip], folder: PredictionFolder, tell: Callable[[str, int, int | None], None]
) -> list[str]:
    """Follows clips on all devices of a cluster; see :func:`keepsight.evaluation.cluster.follow_on_cluster`."""
    job = replace(job, root=job.root.resolve(), out=job.out.resolve())
    overwrite = job.overwrite

    def begin(settings: dict[str, Any]) -> None:
        # The settings of the first that can work are those of the run.
        nonlocal overwrite
        folder.begin(settings, overwrite=overwrite)
        overwrite = False

    cluster = ClusterJob(partial(ClipFollower, job), job.root, job.out, job.device, job.ray_address)
    return follow_names(cluster, [clip.name for clip in todo], begin, tell)
