"""J and F of every object on every annotated frame, frame by frame, in several processes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import cv2

from keepsight.core import InputError
from keepsight.core.metrics import Agreement, agreement
from keepsight.evaluation.vos.maps import empty_masks
from keepsight.evaluation.vos.protocol import Void
from keepsight.evaluation.vos.sources import MaskSource

#: What was measured of a video: frame number -> object -> agreement. Objects that neither side shows on a frame are left out.
Table = dict[int, dict[int, Agreement]]

_FRAMES_A_TASK = 8
_ALONE_S = 1.0
"""Work for less than this is done before workers have started."""


@dataclass(frozen=True)
class Pairing:
    """A video's predictions and its truth.

    Attributes:
        name: of the video.
        found: predictions; ``None`` where there are none at all.
        numbers: frames to measure.
        lacking: those of them whose prediction is missing, to be measured as empty.
    """

    name: str
    found: MaskSource | None
    truth: MaskSource
    numbers: tuple[int, ...]
    lacking: frozenset[int] = frozenset()


def measure(
    pairings: Sequence[Pairing],
    *,
    void: Void,
    tolerance: float,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Table]:
    """Measures everything; the values do not depend on the number of processes.

    Args:
        void: what pixels marked as void in the truth mean.
        processes: workers; 1 works in this process. More than one needs an importable main module.
        progress: told frames done and frames in all.

    Returns:
        The table of every video. It holds a few numbers an object and frame and no mask.

    Raises:
        InputError: a picture that cannot be read, or sizes that differ.
    """
    tasks = list(_tasks(pairings, void, tolerance))
    total = sum(len(task.pairing.numbers) for task in tasks)
    tables: dict[str, Table] = {pairing.name: {} for pairing in pairings}
    done = 0
    for name, table in _carried_out(tasks, min(processes, len(tasks))):
        tables[name] |= table
        done += len(table)
        if progress is not None:
            progress(done, total)
    return {name: dict(sorted(table.items())) for name, table in tables.items()}


@dataclass(frozen=True)
class _Task:
    pairing: Pairing
    void: Void
    tolerance: float

    def carry_out(self) -> tuple[str, Table]:
        return self.pairing.name, {
            number: _measure_frame(self.pairing, number, self.void, self.tolerance) for number in self.pairing.numbers
        }


def _tasks(pairings: Iterable[Pairing], void: Void, tolerance: float) -> Iterator[_Task]:
    for pairing in pairings:
        for start in range(0, len(pairing.numbers), _FRAMES_A_TASK):
            part = pairing.numbers[start : start + _FRAMES_A_TASK]
            yield _Task(Pairing(pairing.name, pairing.found, pairing.truth, part, pairing.lacking), void, tolerance)


def _carried_out(tasks: Sequence[_Task], processes: int) -> Iterator[tuple[str, Table]]:
    begin, done = time.perf_counter(), 0
    while done < len(tasks) and (processes <= 1 or time.perf_counter() - begin < _ALONE_S):
        yield tasks[done].carry_out()
        done += 1
    if done == len(tasks):
        return
    with ProcessPoolExecutor(processes, mp_context=_context(), initializer=_alone) as pool:
        try:
            for future in as_completed([pool.submit(_Task.carry_out, task) for task in tasks[done:]]):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _context() -> BaseContext:
    """How workers start. A process that has threads (torch's, OpenCV's, a progress bar's) must not be forked, but a fresh one
    that has imported what workers need can be, again and again."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    return context


def _alone() -> None:
    """Workers share the cores already."""
    cv2.setNumThreads(1)


def _measure_frame(pairing: Pairing, number: int, void: Void, tolerance: float) -> dict[int, Agreement]:
    truth = pairing.truth.read(number)
    found = empty_masks(truth.shape)
    if pairing.found is not None and number not in pairing.lacking:
        found = pairing.found.read(number)
    if found.shape != truth.shape:
        raise InputError(
            f"{pairing.name}, frame {number}: the prediction is {found.shape[1]}x{found.shape[0]} px but the truth is "
            f"{truth.shape[1]}x{truth.shape[0]} px."
        )
    if void is Void.IGNORE and truth.void is not None:
        found, truth = found.without(truth.void), truth.without(truth.void)
    return {
        object_id: agreement(found.pixels(object_id), truth.pixels(object_id), tolerance)
        for object_id in sorted(found.ids | truth.ids)
    }
