"""What is saved so that a run can go on, and when."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from keepsight.core import StoreError

_VERSION = 1


def pack(done: int, state: bytes) -> bytes:
    """The number of frames followed so far and the engine's state as one blob."""
    return json.dumps({"version": _VERSION, "done": done}).encode() + b"\n" + state


def unpack(blob: bytes) -> tuple[int, bytes]:
    """Inverse of :func:`pack`.

    Raises:
        StoreError: not a checkpoint of this version.
    """
    header, _, state = blob.partition(b"\n")
    try:
        values = json.loads(header)
        if values["version"] != _VERSION:
            raise ValueError(f"version {values['version']}")
        return int(values["done"]), state
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"The project's checkpoint cannot be read ({error}); start anew with --overwrite, "
            "or resume with the version of Keepsight that wrote it."
        ) from error


class Cadence:
    """Says when the next checkpoint is due, such that checkpoints cost at most a given share of the time.

    A crash repeats the work since the last checkpoint, so frequent ones are kind; but a state can be hundreds of megabytes.
    The next one is due ``least_s`` after the last, or later when saving took so long that it would exceed ``share``.

    Args:
        least_s: seconds between two checkpoints at least. Up: less time spent on saving, more work repeated after a crash.
        share: part of the time that saving may take. Up: more frequent checkpoints of large states.
        clock: seconds, for tests.
    """

    def __init__(self, least_s: float, share: float = 0.03, clock: Callable[[], float] = time.monotonic) -> None:
        self._least_s = least_s
        self._share = share
        self._clock = clock
        self._due = clock() + least_s

    def due(self) -> bool:
        """Whether it is time."""
        return self._clock() >= self._due

    def saved(self, cost_s: float) -> None:
        """Notes that a checkpoint was saved and how long that took."""
        self._due = self._clock() + max(self._least_s, cost_s / self._share)
