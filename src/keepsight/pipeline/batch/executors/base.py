"""What the conductor of a batch needs to know of those who do its units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self

from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.manifest import STAGES, Unit
from keepsight.pipeline.batch.worker import Answer
from keepsight.pipeline.job import Progress

#: A worker that has not been heard for so long is ended, and what it did is given back. Workers are heard every second, also
#: amid a unit. Turning it up is kind to machines that swap; down, a unit that hangs with its machine is tried again sooner.
SILENT_S = 30.0
#: How often a worker is heard.
BEAT_S = 1.0


@dataclass
class Hand:
    """A worker as the conductor sees it.

    Attributes:
        name: what people call it: its device; on several machines with the machine.
        stages: what it does.
        process: the process, as leases name it.
        unit: what it is at; ``None``: it is free.
        progress: how far that is, where it is a matter of frames.
        since: when it began with that, seconds of ``time.monotonic``.
    """

    name: str
    stages: tuple[str, ...]
    process: str
    unit: Unit | None = None
    progress: Progress | None = None
    since: float = 0.0


@dataclass(frozen=True)
class Ended:
    """A unit has come back: with an answer, or for ``lost`` (why) without one, as its worker is no more."""

    unit: Unit
    answer: Answer | None
    lost: str = ""


class Executor(Protocol):
    """Workers that do units. Entered, it starts them; left, it ends them, in the middle of their units if need be.

    Every worker is given one unit at a time, so as many units are in flight as there are workers, and no more.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def hands(self) -> Iterable[Hand]:
        """The workers that are there now; a worker that is still starting is not among them."""
        ...

    def submit(self, hand: Hand, unit: Unit) -> None:
        """Gives a unit to a worker that is free."""
        ...

    def remarks(self) -> list[str]:
        """Lines for people that have come up since the last call: machines that came, went or cannot work."""
        ...

    def wait(self, timeout_s: float) -> list[Ended]:
        """The units that have come back; waits for the first of them, or for the time to pass. Replaces workers that are gone.

        Raises:
            KeepsightError: workers cannot be started.
        """
        ...


def crew_of(config: BatchConfig) -> list[tuple[tuple[str, ...], str]]:
    """(stages, device) of the workers of one machine: one a device, and those for decoding and encoding beside them."""
    light = tuple(stage for stage in STAGES if stage != "segment")
    return [(("segment",), device) for device in config.devices] + [(light, "cpu")] * config.cpu_workers


def names_of(crew: Iterable[tuple[tuple[str, ...], str]]) -> list[str]:
    """A name for each of a crew: its device for who segments, ``cutter`` for the others, numbered where several share one."""
    plain = [device if "segment" in stages else "cutter" for stages, device in crew]
    return [
        name if plain.count(name) == 1 else f"{name} {plain[: place + 1].count(name)}"
        for place, name in enumerate(plain)
    ]
