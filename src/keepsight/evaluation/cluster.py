"""Videos of a data set on the devices of a Ray cluster: an actor a device, which takes one after the other.

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
from typing import Any, Protocol

from keepsight.core import InputError, KeepsightError
from keepsight.pipeline.batch.executors.ray_cluster import connect, import_ray
from keepsight.pipeline.batch.executors.ray_nodes import Node, nodes_of

_ATTEMPTS = 2


class Worker(Protocol):
    """Follows videos by their names, on the machine and device that it was made for, and writes their predictions."""

    def settings(self) -> dict[str, Any]:
        """With which it follows, plain values; the model is loaded by then."""
        ...

    def follow(self, name: str) -> int:
        """Follows a video and gives the number of its frames.

        Raises:
            InputError: this video cannot be followed.
        """
        ...


@dataclass(frozen=True)
class ClusterJob:
    """What the actors are told.

    Attributes:
        make: a worker for a device; goes through Ray, so that it is a class or function of a module with plain values.
        root: of the data set; must be seen by all machines.
        out: folder of the run; must be seen by all machines.
        device: "cpu", or anything else for the GPUs of the cluster.
        address: of the cluster; ``None``: the one that Ray finds, or this machine.
    """

    make: Callable[[str], Worker]
    root: Path
    out: Path
    device: str
    address: str | None = None


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
    """A worker and what it is asked before it works; to be made an actor.

    Args:
        sign: path of a file that all machines must see.
    """

    def __init__(self, job: ClusterJob, device: str, sign: str) -> None:
        self._job, self._device, self._sign = job, device, sign
        self._worker: Worker | None = None

    def introduce(self, keepsight: str) -> Introduction:
        """Makes the worker, and says with which settings it follows."""
        if not (os.path.exists(self._sign) and self._job.root.is_dir()):
            folders = f"{self._job.root} and {Path(self._sign).parent}"
            return Introduction({}, f"does not see {folders}: both must be on storage that all machines see")
        if version("keepsight") != keepsight:
            return Introduction({}, f"has keepsight {version('keepsight')}, not {keepsight}")
        self._worker = self._job.make(self._device)
        return Introduction(self._worker.settings())

    def follow(self, name: str) -> tuple[str, int]:
        """Follows a video; what was wrong with it, nothing where it is done, and the number of its frames."""
        assert self._worker is not None
        try:
            return "", self._worker.follow(name)
        except InputError as error:
            return str(error), 0


def follow_on_cluster(
    job: ClusterJob,
    names: Sequence[str],
    begin: Callable[[dict[str, Any]], None],
    tell: Callable[[str, int, int | None], None],
) -> list[str]:
    """Follows videos on all devices of a cluster; returns what went wrong with single ones.

    A video whose actor dies is given to another one, once.

    Args:
        begin: given the settings of every worker; raises :class:`InputError` where they do not fit what is there.

    Raises:
        InputError: Ray is not installed or not there, or predictions of other settings are there.
        KeepsightError: no machine can work.
    """
    ray = import_ray()
    job = replace(job, root=job.root.resolve(), out=job.out.resolve())
    job.out.mkdir(parents=True, exist_ok=True)
    sign = job.out / f".seen-{uuid.uuid4().hex[:12]}"
    sign.touch()
    ours = connect(ray, job.address)
    try:
        return _Cluster(ray, job, names, begin, tell, str(sign)).run()
    finally:
        sign.unlink(missing_ok=True)
        if ours:
            ray.shutdown()


class _Cluster:
    def __init__(
        self,
        ray: Any,
        job: ClusterJob,
        names: Sequence[str],
        begin: Callable[[dict[str, Any]], None],
        tell: Callable[[str, int, int | None], None],
        sign: str,
    ) -> None:
        self._ray, self._job, self._begin, self._tell, self._sign = ray, job, begin, tell, sign
        self._total = len(names)
        self._waiting = deque(names)
        self._attempts: Counter[str] = Counter()
        # What each actor is at: its introduction, or the name of a video.
        self._asked: dict[Any, tuple[Any, Place, str | None]] = {}
        self._failed: list[str] = []
        self._out: list[str] = []
        self._frames = 0

    def run(self) -> list[str]:
        places = places_on(nodes_of(self._ray.nodes()), self._job.device)[: self._total]
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
            if answer.trouble:
                self._out.append(f"{place.name} {answer.trouble}")
                return
            self._begin(answer.settings)
        else:
            wrong, frames = answer
            self._failed += [f"{name}: {wrong}"] if wrong else []
            self._frames += frames
            self._tell(f"{self._total - len(self._waiting)} of {self._total} videos", self._frames, None)
        if self._waiting:
            fresh = self._waiting.popleft()
            self._attempts[fresh] += 1
            self._asked[actor.follow.remote(fresh)] = (actor, place, fresh)

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
