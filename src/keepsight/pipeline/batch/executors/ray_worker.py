"""A worker on a machine of a Ray cluster: the actor that :mod:`.ray_cluster` speaks to."""

from __future__ import annotations

import os
import platform
import threading
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from keepsight.pipeline.batch.config import make_config
from keepsight.pipeline.batch.manifest import Unit
from keepsight.pipeline.batch.worker import Answer, Worker
from keepsight.pipeline.job import Progress
from keepsight.store.runs import this_process

#: A worker that its conductor has not called for so long ends itself. It is less than the lease of a unit, so a worker that
#: was cut off is gone before somebody else begins what it was at.
UNHEARD_S = 45.0


@dataclass(frozen=True)
class Introduction:
    """What a worker says of itself, to be made sure that it can work.

    Attributes:
        process: as leases name it.
        host: name of its machine.
        keepsight: its version there.
        sees: whether the input folder, and a file that the conductor has just written beside the outputs, are there for it too.
    """

    process: str
    host: str
    keepsight: str
    sees: bool


class RayWorker:
    """Does units; to be made an actor that can do one thing while it is asked another.

    Args:
        settings: of the batch, as plain values.
        device: that Ray has left for it.
        sign: path of a file that all machines of the batch must see.
    """

    def __init__(self, settings: dict[str, Any], device: str, sign: str) -> None:
        config = make_config(settings, "the conductor")
        self._worker = Worker(config, device)
        self._to_be_seen = (sign, config.input_folder)
        self._heard = time.monotonic()
        threading.Thread(target=self._end_with_conductor, daemon=True).start()

    def introduce(self) -> Introduction:
        """The first call."""
        sees = all(os.path.exists(path) for path in self._to_be_seen)
        return Introduction(this_process(), platform.node(), version("keepsight"), sees)

    def do(self, unit: Unit) -> Answer:
        """Does a unit."""
        return self._worker.do(unit)

    def beat(self) -> Progress | None:
        """Says that it lives, and how far it is."""
        self._heard = time.monotonic()
        return self._worker.progress

    def _end_with_conductor(self) -> None:
        while time.monotonic() - self._heard < UNHEARD_S:
            time.sleep(1.0)
        os._exit(1)
