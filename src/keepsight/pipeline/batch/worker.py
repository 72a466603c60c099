"""What a worker is, wherever it runs: it does units one after the other with the same equipment."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from keepsight.core import KeepsightError
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.manifest import Unit
from keepsight.pipeline.batch.units import Equipment, hashes, perform
from keepsight.pipeline.job import Progress


@dataclass(frozen=True)
class Answer:
    """What came of a unit.

    Attributes:
        outputs: SHA-256 by path.
        results: what is worth telling.
        following: (clip, settings) of the units that follow from it.
        error: why it cannot be done.
        trace: where that was, where it is a defect of ours.
        stopped: it was asked to stop before its end; the unit is to be given back.
    """

    seconds: float
    outputs: dict[str, str] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    following: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    error: str | None = None
    trace: str | None = None
    stopped: bool = False


class Worker:
    """Does units on one device.

    Attributes:
        progress: how far the present unit is; read by whoever watches, from another thread.
    """

    def __init__(self, config: BatchConfig, device: str) -> None:
        self._config, self._equipment = config, Equipment(device, told=self._note)
        self.progress: Progress | None = None

    def do(self, unit: Unit) -> Answer:
        """Does a unit. Whatever is wrong with one video is in the answer: it must not cost the others."""
        begin = time.perf_counter()
        try:
            done = perform(unit, self._config, self._equipment)
            if done is None:
                return Answer(time.perf_counter() - begin, stopped=True)
            outputs = dict(hashes(done.files))
            return Answer(time.perf_counter() - begin, outputs, done.results, list(done.following))
        except Exception as error:
            line = " ".join(str(error).split())
            if isinstance(error, KeepsightError):
                return Answer(time.perf_counter() - begin, error=line)
            line = f"{type(error).__name__}: {line}"
            return Answer(time.perf_counter() - begin, error=line, trace=traceback.format_exc())
        finally:
            self.progress = None

    def _note(self, progress: Progress) -> None:
        self.progress = progress
