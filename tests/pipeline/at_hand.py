"""Batches whose units this process does, one after the other, for tests of what comes of them and not of who does them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from keepsight.pipeline.batch import conduct
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.executors.base import Ended, Hand
from keepsight.pipeline.batch.manifest import STAGES, Unit
from keepsight.pipeline.batch.worker import Worker
from keepsight.store.runs import this_process


class AtHand:
    """An executor whose only worker is this process: none has to be started."""

    def __init__(self, config: BatchConfig, out: Path) -> None:
        self._worker, self._hand = Worker(config, config.devices[0]), Hand("here", STAGES, this_process())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def hands(self) -> list[Hand]:
        return [self._hand]

    def submit(self, hand: Hand, unit: Unit) -> None:
        hand.unit = unit

    def remarks(self) -> list[str]:
        return []

    def wait(self, timeout_s: float) -> list[Ended]:
        unit, self._hand.unit = self._hand.unit, None
        return [] if unit is None else [Ended(unit, self._worker.do(unit))]


@contextlib.contextmanager
def batches_at_hand() -> Iterator[None]:
    """Batches that are conducted meanwhile are done here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conduct, "open_executor", AtHand)
        yield
