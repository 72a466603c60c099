"""Clips on the devices of a Ray cluster: an actor a device, which takes one clip after the other.

Only names and numbers go through Ray; frames are read and predictions written by the actors, in folders that all machines see.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keepsight.core import InputError, KeepsightError
from keepsight.evaluation.vos.clips import Clip, Dataset
from keepsight.evaluation.vos.following import follow, settings_of, tracker_for
from keepsight.evaluation.vos.job import RunFolder, VosJob
from keepsight.pipeline.batch.executors.ray_cluster import connect, import_ray
from keepsight.pipeline.batch.executors.ray_nodes import Node, nodes_of

_ATTEMPTS = 2


@dataclass(frozen=True)
class Place:
    """Room for an actor."""

    node: str
    name: str
    device: str
    cpus: float
    gpus: int


@dataclass(frozen=True)
class Introduction:
    """What an actor says of itself; ``trouble`` is why it cannot work, empty where it can."""

    settings: dict[str, Any]
    trouble: str = ""


def places_on(nodes: Sequence[Node], device: str) -> list[Place]:
    """An actor a GPU of the cluster, or one a machine where there is none or the CPU is asked for."""
    wanted = device != "cpu" and any(node.gpus for node in nodes)
    if wanted:
        return [
            Place(node.id, f"{node.host} GPU {number}", "cuda", min(1.0, node.cpus / node.gpus), 1)
            for node in nodes
            for number in range(node.gpus)
        ]
    # Ray counts in whole CPUs above one.
    return [Place(node.id, node.host, "cpu", float(int(node.cpus)) or node.cpus, 0) for node in nodes if node.cpus > 0]


class Follower:
    """Follows clips on one device; to be made an actor.

    Args:
        sign: path of a file that all machines must see.
    """

    def __init__(self, job: VosJob, device: str, sign: str) -> None:
        self._job, self._sign = replace(job, device=device, ray=False, overwrite=False), sign
        self._tracker: Any = None
        self._dataset: Dataset | None = None

    def introduce(self, keepsight: str) -> Introduction:
        """Loads the model, and says with which settings it follows."""
        if not (os.path.exists(self._sign) and self._job.root.is_dir()):
            folders = f"{self._job.root} and {Path(self._sign).parent}"
            return Introduction({}, f"does not see {folders}: both must be on storage that all machines see")
        if version("keepsight") != keepsight:
            return Introduction({}, f"has keepsight {version('keepsight')}, not {keepsight}")
        self._dataset = self._job.open()
        self._tracker, settings = tracker_for(self._job, self._dataset, lambda stage, done, total: None)
        return Introduction(settings_of(self._job, self._dataset, settings))

    def follow(self, name: str) -> str:
        """Follows a clip; returns what was wrong with it, nothing where it is done."""
        assert self._dataset is not None
        clip = next(clip for clip in self._dataset.clips if clip.name == name)
        try:
            folder = RunFolder(self._job.out, self._dataset.subfolder)
            follow(clip, self._dataset, self._tracker, self._job.prompt, folder)
        except InputError as error:
            return str(error)
        return ""


def follow_on_cluster(
    job: VosJob,
    dataset: Dataset,
    todo: Sequence[Clip],
    folder: RunFolder,
    tell: Callable[[str, int, int | None], None],
) -> list[str]:
    """Follows clips on all devices of a cluster; returns what went wrong with single ones.

    A clip whose actor dies is given to another one, once.

    Raises:
        InputError: Ray is not installed or not there, or predictions of other settings are there.
        KeepsightError: no machine can work.
    """
    ray = import_ray()
    job = replace(job, root=job.root.resolve(), out=job.out.resolve())
    job.out.mkdir(parents=True, exist_ok=True)
    sign = job.out / f".seen-{uuid.uuid4().hex[:12]}"
    sign.touch()
    ours = connect(ray, job.ray_address)
    try:
        return _Cluster(ray, job, todo, folder, tell, str(sign)).run()
    finally:
        sign.unlink(missing_ok=True)
        if ours:
            ray.shutdown()


class _Cluster:
    def __init__(
        self,
        ray: Any,
        job: VosJob,
        todo: Sequence[Clip],
        folder: RunFolder,
        tell: Callable[[str, int, int | None], None],
        sign: str,
    ) -> None:
        self._ray, self._job, self._folder, self._tell, self._sign = ray, job, folder, tell, sign
        self._clips = {clip.name: clip for clip in todo}
        self._waiting = deque(self._clips)
        self._attempts: Counter[str] = Counter()
        # What each actor is at: its introduction, or the name of a clip.
        self._asked: dict[Any, tuple[Any, Place, str | None]] = {}
        self._failed: list[str] = []
        self._out: list[str] = []
        self._begun = not job.overwrite
        self._frames = 0

    def run(self) -> list[str]:
        places = places_on(nodes_of(self._ray.nodes()), self._job.device)[: len(self._clips)]
        for place in places:
            actor = self._start(place)
            self._asked[actor.introduce.remote(version("keepsight"))] = (actor, place, None)
        while self._asked:
            [ready], _ = self._ray.wait(list(self._asked), num_returns=1)
            self._answered(ready, *self._asked.pop(ready))
        if self._waiting:
            raise KeepsightError(
                f"No machine of the cluster can work. {'. '.join(self._out) or 'It has no CPU or GPU.'}"
            )
        return self._failed

    def _start(self, place: Place) -> Any:
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(place.node, soft=False)
        maker = self._ray.remote(Follower).options(
            num_cpus=place.cpus, num_gpus=place.gpus, max_restarts=0, scheduling_strategy=strategy
        )
        return maker.remote(self._job, place.device, self._sign)

    def _answered(self, reference: Any, actor: Any, place: Place, name: str | None) -> None:
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            self._lost(place, name, str(error).strip().splitlines()[-1])
            return
        except self._ray.exceptions.RayTaskError as error:
            # Settings that do not fit fail everywhere alike.
            raise error.cause if isinstance(error.cause, KeepsightError) else error from None
        if name is None:
            trouble = self._met(answer)
            if trouble:
                self._out.append(f"{place.name} {trouble}")
                return
        else:
            self._failed += [f"{name}: {answer}"] if answer else []
            self._frames += int(self._folder.facts(self._clips[name]).get("frames", 0))
            self._tell(f"{len(self._clips) - len(self._waiting)} of {len(self._clips)} videos", self._frames, None)
        if self._waiting:
            fresh = self._waiting.popleft()
            self._attempts[fresh] += 1
            self._asked[actor.follow.remote(fresh)] = (actor, place, fresh)

    def _met(self, said: Introduction) -> str:
        """Why an actor cannot work; the settings of the first that can are those of the run."""
        if said.trouble:
            return said.trouble
        self._folder.begin(said.settings, overwrite=not self._begun)
        self._begun = True
        return ""

    def _lost(self, place: Place, name: str | None, why: str) -> None:
        if name is None:
            self._out.append(f"{place.name} died: {why}")
        elif self._attempts[name] >= _ATTEMPTS:
            self._failed.append(f"{name}: its process died, tried {_ATTEMPTS} times: {why}")
        else:
            self._waiting.append(name)
        if name is not None:
            actor = self._start(place)
            self._asked[actor.introduce.remote(version("keepsight"))] = (actor, place, None)
