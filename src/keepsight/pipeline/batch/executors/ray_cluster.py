"""The workers of a Ray cluster: actors that stay where they are started, one a device, and those that cut beside them.

Only words go through Ray: which unit, how far, what came of it. Videos and results are read and written by the workers
themselves, in folders that all machines see.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from keepsight.core import InputError, KeepsightError
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.executors.base import BEAT_S, SILENT_S, Ended, Hand
from keepsight.pipeline.batch.executors.ray_nodes import Place, nodes_of, places_on
from keepsight.pipeline.batch.executors.ray_worker import UNHEARD_S, Introduction, RayWorker
from keepsight.pipeline.batch.manifest import Unit
from keepsight.store.runs import is_alive, is_of_this_machine

_IDLE_DEATHS = 3
_NODES_S = 2.0
_PATIENCE_S = 60.0
_STORE_BYTES = 100 * 2**20
"""Nearly the least that Ray takes: nothing large goes through it."""


@dataclass
class _Actor:
    """An actor, and what it has been asked and not yet answered.

    Attributes:
        asked: what is to be done with an answer, by its reference.
        silent_s: for how long it has not been heard.
    """

    place: Place
    handle: Any
    hand: Hand
    asked: dict[Any, Callable[[_Actor, Any], list[Ended]]] = field(default_factory=dict)
    beating: bool = False
    silent_s: float = 0.0
    begun: float = field(default_factory=time.monotonic)


class RayExecutor:
    """Workers on every machine of a cluster; machines may come and go.

    Args:
        out: output folder of the batch; all machines must see it under this path, and the input folder too.
    """

    def __init__(self, config: BatchConfig, out: Path) -> None:
        self._ray = import_ray()
        self._config = config
        self._sign = out.absolute() / f".seen-{uuid.uuid4().hex[:12]}"
        self._actors: list[_Actor] = []
        self._hosts: dict[str, str] = {}
        self._idle_deaths: Counter[str] = Counter()
        self._shunned: dict[str, str] = {}
        self._remarks: list[str] = []
        self._limbo: list[tuple[float, str, Ended]] = []
        self._looked = self._listed = 0.0
        self._ours = False

    # ---- beginning and end ----

    def __enter__(self) -> Self:
        ray = self._ray
        self._ours = connect(ray, self._config.ray_address)
        try:
            for left in self._sign.parent.glob(".seen-*"):
                left.unlink()
            self._sign.touch()
            self._look_for_machines()
        except BaseException:
            self.__exit__()
            raise
        self._looked = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        for actor in list(self._actors):
            self._lose(actor, "the run is over")
        self._sign.unlink(missing_ok=True)
        if self._ours:
            self._ray.shutdown()

    # ---- what the conductor asks ----

    def hands(self) -> Iterable[Hand]:
        return [actor.hand for actor in self._actors if actor.hand.process]

    def submit(self, hand: Hand, unit: Unit) -> None:
        actor = next(actor for actor in self._actors if actor.hand is hand)
        hand.unit, hand.progress, hand.since = unit, None, time.monotonic()
        actor.asked[actor.handle.do.remote(unit)] = _answered

    def remarks(self) -> list[str]:
        said, self._remarks = self._remarks, []
        return said

    def wait(self, timeout_s: float) -> list[Ended]:
        owners = {reference: actor for actor in self._actors for reference in actor.asked}
        if owners:
            self._ray.wait(list(owners), num_returns=1, timeout=timeout_s)
            ready, _ = self._ray.wait(list(owners), num_returns=len(owners), timeout=0)
        else:
            time.sleep(timeout_s)
            ready = []
        ended = []
        for reference in ready:
            ended += self._read(owners[reference], reference)
        self._look()
        return ended + self._surely_lost()

    # ---- what workers say ----

    def _read(self, actor: _Actor, reference: Any) -> list[Ended]:
        then = actor.asked.pop(reference, None)
        if then is None or actor not in self._actors:
            return []
        try:
            value = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            died = isinstance(error, self._ray.exceptions.ActorDiedError)
            self._lose(actor, str(error).strip().splitlines()[-1], dead=died and actor.place.node in self._alive())
            return []
        actor.silent_s = 0.0
        ended = then(actor, value)
        if ended:
            self._idle_deaths.pop(actor.place.node, None)
        return ended

    def _meet(self, actor: _Actor, said: Introduction) -> list[Ended]:
        """Takes a worker on, or leaves its machine out where it cannot work."""
        trouble = None
        if not said.sees:
            trouble = (
                f"does not see {self._config.input_folder} and {self._sign.parent}: input and output folders must be on "
                "storage that all machines see under the same path"
            )
        elif said.keepsight != version("keepsight"):
            trouble = f"has keepsight {said.keepsight}, this machine {version('keepsight')}"
        if trouble is None:
            actor.hand.process = said.process
        else:
            self._shun(actor.place.node, trouble)
        return []

    def _lose(self, actor: _Actor, why: str, *, dead: bool = False) -> None:
        """A worker is no more; another is started by the next look at the machines.

        Args:
            dead: its process has certainly ended; otherwise its unit waits until it must have.
        """
        self._actors.remove(actor)
        with contextlib.suppress(Exception):
            self._ray.kill(actor.handle, no_restart=True)
        hand, node = actor.hand, actor.place.node
        if hand.unit is not None:
            lost = Ended(hand.unit, None, f"its process or machine ({hand.name}) died")
            self._limbo.append((time.monotonic() + (0 if dead else UNHEARD_S), hand.process, lost))
            return
        self._idle_deaths[node] += 1
        if self._idle_deaths[node] > _IDLE_DEATHS:
            self._shun(node, f"has workers that end at once: {why}")

    def _surely_lost(self) -> list[Ended]:
        """Units of lost workers that nobody can be at any more: two at the same files would spoil them."""
        now = time.monotonic()
        over = [
            item for item in self._limbo if now >= item[0] or (is_of_this_machine(item[1]) and not is_alive(item[1]))
        ]
        self._limbo = [item for item in self._limbo if item not in over]
        return [ended for _, _, ended in over]

    def _shun(self, node: str, trouble: str) -> None:
        if node not in self._shunned:
            self._shunned[node] = f"{self._hosts.get(node, node)} {trouble}"
            self._remarks.append(f"{self._shunned[node]}. It is left out.")

    # ---- looking after workers and machines ----

    def _look(self) -> None:
        # Silence is counted by looks, not by the clock: a conductor that was itself suspended must not take that for silence.
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, BEAT_S), now
        for actor in list(self._actors):
            if actor.place.node in self._shunned:
                self._lose(actor, "its machine is left out")
            elif actor.hand.process:
                actor.silent_s += passed
                if actor.silent_s > SILENT_S:
                    self._lose(actor, "it fell silent")
                elif not actor.beating and actor.silent_s >= BEAT_S:
                    actor.beating = True
                    actor.asked[actor.handle.beat.remote()] = _beaten
            elif now - actor.begun > _PATIENCE_S:
                actor.begun = now
                self._remarks.append(f"{actor.hand.name} waits for Ray to give it {actor.place.cpus:g} CPUs there.")
        if now - self._listed > _NODES_S:
            self._look_for_machines()

    def _alive(self) -> dict[str, str]:
        """Hosts by the ids of the machines."""
        return {node.id: node.host for node in nodes_of(self._ray.nodes())}

    def _look_for_machines(self) -> None:
        """Starts the workers that are missing, gives up those of lost machines."""
        self._listed = time.monotonic()
        nodes = nodes_of(self._ray.nodes())
        alive = {node.id: node.host for node in nodes}
        self._remarks += [f"{alive[name]} is with us." for name in sorted(alive.keys() - self._hosts.keys())]
        self._remarks += [f"{self._hosts[name]} is gone." for name in sorted(self._hosts.keys() - alive.keys())]
        for actor in [actor for actor in self._actors if actor.place.node not in alive]:
            self._lose(actor, "its machine is gone")
        self._hosts = alive
        filled = {(actor.place.node, actor.place.name) for actor in self._actors}
        gpus = any(node.gpus for node in nodes)
        for node in nodes:
            for place in places_on(node, self._config, gpus_anywhere=gpus):
                if node.id not in self._shunned and (place.node, place.name) not in filled:
                    self._actors.append(self._start(place))
        if alive and all(node in self._shunned for node in alive):
            raise KeepsightError(f"No machine of the cluster can work. {'. '.join(self._shunned.values())}.")

    def _start(self, place: Place) -> _Actor:
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(place.node, soft=False)
        maker = self._ray.remote(RayWorker).options(
            num_cpus=place.cpus, num_gpus=place.gpus, max_concurrency=2, max_restarts=0, scheduling_strategy=strategy
        )
        handle = maker.remote(self._config.model_dump(mode="json"), place.device, str(self._sign))
        actor = _Actor(place, handle, Hand(place.name, place.stages, ""))
        actor.asked[handle.introduce.remote()] = self._meet
        return actor


def _answered(actor: _Actor, answer: Any) -> list[Ended]:
    hand = actor.hand
    unit, hand.unit, hand.progress = hand.unit, None, None
    return [] if unit is None else [Ended(unit, answer)]


def _beaten(actor: _Actor, progress: Any) -> list[Ended]:
    actor.beating, actor.hand.progress = False, progress if actor.hand.unit is not None else None
    return []


def import_ray() -> Any:
    """The package.

    Raises:
        InputError: it is not installed.
    """
    # Ray reports how it is used to its makers unless it is told not to; that is the user's to decide, not ours.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise InputError("Ray is not installed here: pip install 'keepsight[ray]'") from None
    return ray


def connect(ray: Any, address: str | None) -> bool:
    """Joins a cluster, or begins one on this machine; returns whether this call did, so that its caller ends it.

    Args:
        address: of the cluster; ``None``: the one that the environment names, else this machine.

    Raises:
        InputError: it cannot be reached.
    """
    if ray.is_initialized():
        return False
    address = address or ("auto" if os.environ.get("RAY_ADDRESS") else "local")
    begin: dict[str, Any] = {}
    if address == "local":
        begin = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **begin)
    except Exception as error:
        first = " ".join(str(error).split())
        raise InputError(f"Ray at address '{address}' cannot be used: {first}") from error
    return True
