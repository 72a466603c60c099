"""Conducts a batch: finds its videos, gives its units to workers, writes down what comes back, writes the report.

Workers are where the executor has them. Nobody but the conductor writes the manifest: what a worker has to say goes by way of
its executor, so workers on other machines need the folders of the batch and nothing else.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from keepsight.core import InputError
from keepsight.pipeline.batch.config import BatchConfig, make_config
from keepsight.pipeline.batch.executors import open_executor
from keepsight.pipeline.batch.executors.base import BEAT_S, Ended, Executor, Hand
from keepsight.pipeline.batch.manifest import Manifest, Unit
from keepsight.pipeline.batch.progress import Observer, Tally
from keepsight.pipeline.batch.report import REPORT_NAME, write_batch_report

MANIFEST_NAME = "pipeline.sqlite"
_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"}
_AHEAD = 4
_LOOK_S = 0.1


@dataclass
class BatchOutcome:
    """What a batch came to: units by (stage, state), the failed ones, and the report."""

    counts: Counter[tuple[str, str]]
    failed: list[Unit] = field(default_factory=list)
    report: Path | None = None


def find_videos(folder: Path) -> dict[str, str]:
    """Every video below a folder, by a name that is fit for a folder and depends on nothing but the video's own path."""
    names: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES and path.is_file() and not path.name.startswith("."):
            inner = path.relative_to(folder)
            plain = "__".join([*inner.parts[:-1], inner.stem])
            twins = [item for item in path.parent.glob(f"{_escaped(inner.stem)}.*") if item.suffix.lower() in _SUFFIXES]
            names[plain if len(twins) == 1 else f"{plain}_{path.suffix[1:].lower()}"] = str(path.absolute())
    return names


def _escaped(stem: str) -> str:
    import glob

    return glob.escape(stem)


def begin_batch(config: BatchConfig) -> None:
    """Makes the manifest, or adds new videos to it.

    Raises:
        InputError: settings that cannot be, no video, or a batch with other settings in that folder.
        StoreError: another process is at it, or the folder cannot be written.
    """
    config.check()
    config = config.absolute()
    videos = find_videos(config.input_folder)
    if not videos:
        raise InputError(f"There is no video in {config.input_folder}.")
    with Manifest(config.output_folder / MANIFEST_NAME, create=True) as manifest:
        manifest.take_charge()
        earlier = manifest.fact("config")
        if earlier is not None:
            before, now = make_config(earlier, str(manifest.path)).decisive(), config.decisive()
            differing = [f"{name} ({before[name]} then, {now[name]} now)" for name in now if before[name] != now[name]]
            if differing:
                raise InputError(
                    f"The batch in {config.output_folder} has other settings: {', '.join(differing)}. Give it those again, or "
                    "choose another output_folder (--out)."
                )
        manifest.set_fact("config", config.model_dump(mode="json"))
        manifest.add_videos(videos)


def ask_failed_again(out: Path) -> int:
    """Makes failed units ready once more; returns how many."""
    with Manifest(out / MANIFEST_NAME) as manifest:
        manifest.take_charge()
        failed = [unit.id for unit in manifest.units() if unit.state == "failed"]
        manifest.ask_again(failed)
        return len(failed)


def read_batch(out: Path) -> tuple[BatchConfig, list[Unit]]:
    """Settings and units of a batch.

    Raises:
        InputError: there is none.
    """
    with Manifest(out / MANIFEST_NAME) as manifest:
        config = manifest.fact("config")
        if config is None:
            raise InputError(f"There is no batch in {out}; begin one with `keepsight pipeline run`.")
        return make_config(config, str(manifest.path)), manifest.units()


def conduct(out: Path, observer: Observer | None = None, **where: str | None) -> BatchOutcome:
    """Does everything that can be done in a batch, and writes its report.

    Killing this process or any worker at any moment loses at most the units in flight; calling this again goes on.

    Args:
        observer: is told what happens.
        where: ``executor`` and ``ray_address``, where others than the batch's settings are wanted.

    Raises:
        InputError: an executor that is not installed, or machines that do not see the folders of the batch.
        StoreError: another process is at it.
        KeepsightError: workers cannot be started.
        KeyboardInterrupt: Ctrl-C, once the workers have ended.
    """
    config, units = read_batch(out)
    config = make_config(config.model_dump() | {name: value for name, value in where.items() if value}, str(out))
    with Manifest(out / MANIFEST_NAME) as manifest:
        manifest.take_charge()
        lost = [unit.id for unit in units if unit.state == "done" and not all(map(os.path.exists, unit.outputs))]
        manifest.ask_again(lost)
        manifest.recover()
        with ExitStack() as stack:
            stack.callback(manifest.leave)
            book = _Book(manifest, config.attempts, out / "logs")
            stack.callback(book.close)
            if not manifest.over():
                executor = stack.enter_context(open_executor(config, out))
                _work(manifest, book, executor, observer or Observer())
    config, units = read_batch(out)
    path = out / REPORT_NAME
    write_batch_report(path, config, units)
    counts = Counter((unit.stage, unit.state) for unit in units)
    return BatchOutcome(counts, [unit for unit in units if unit.state == "failed"], path)


def _work(manifest: Manifest, book: _Book, executor: Executor, observer: Observer) -> None:
    """Gives units to workers until there is nothing left to give."""
    states, tally, news, heard, free = -1, Tally(), True, 0.0, set[str]()
    while True:
        hands = list(executor.hands())
        now_free = {hand.process for hand in hands if hand.unit is None}
        if news or now_free - free:
            states = _tell(manifest, states, tally, observer)
            book.give_out(hands, executor, tally)
            states = _tell(manifest, states, tally, observer)
            if not any(hand.unit for hand in hands) and manifest.over():
                return
        free = now_free
        ended = executor.wait(_LOOK_S)
        for item in ended:
            book.note(item)
        news = bool(ended)
        if time.monotonic() - heard > BEAT_S:
            heard = time.monotonic()
            news |= book.keep(hands)
            for line in executor.remarks():
                observer.remarked(line)
            observer.looked(hands, tally)


def _tell(manifest: Manifest, states: int, tally: Tally, observer: Observer) -> int:
    """Tells what has changed after ``states``; returns what to tell from next time."""
    for unit in manifest.units(states):
        states = unit.changed
        tally.note(unit)
        observer.changed(unit, tally.counts)
    return states


class _Book:
    """Writes down what is given out and what comes back."""

    def __init__(self, manifest: Manifest, attempts: int, logs: Path) -> None:
        self._manifest, self._attempts, self._logs = manifest, attempts, logs
        self._held: dict[int, Unit] = {}
        self._others = True

    def give_out(self, hands: Sequence[Hand], executor: Executor, tally: Tally) -> None:
        """Gives every worker that is free what it can do."""
        # Clips lie about until they are followed: no more of them than those who follow will soon ask for.
        followers = sum("segment" in hand.stages for hand in hands)
        enough = tally.counts["segment", "ready"] >= _AHEAD + 2 * followers
        for hand in hands:
            if hand.unit is None:
                stages = [stage for stage in hand.stages if stage != "clip" or not enough]
                unit = self._manifest.claim(stages, hand.process, hand.name)
                if unit is not None:
                    self._held[unit.id] = unit
                    executor.submit(hand, unit)

    def note(self, ended: Ended) -> None:
        """Writes down what came of a unit."""
        unit, answer = ended.unit, ended.answer
        self._held.pop(unit.id, None)
        if answer is None:
            self._manifest.give_back(unit, self._attempts, ended.lost)
        elif answer.stopped:
            self._manifest.give_back(unit, None)
        elif answer.error is not None:
            if answer.trace is not None:
                self._logs.mkdir(parents=True, exist_ok=True)
                with (self._logs / "defects.log").open("a", encoding="utf-8") as log:
                    log.write(f"{unit.stage} {unit.name}, {unit.worker}:\n{answer.trace}\n")
            self._manifest.fail(unit, answer.error, answer.seconds)
        else:
            self._manifest.finish(unit, answer.seconds, answer.outputs, answer.results, answer.following)

    def keep(self, hands: Sequence[Hand]) -> bool:
        """Lengthens the leases of all who live; whether something has come back from workers that nobody looks after."""
        self._manifest.take_charge()
        self._manifest.renew([hand.process for hand in hands])
        before, self._others = (
            self._others,
            self._others and self._manifest.recover({hand.process for hand in hands}) > 0,
        )
        return before

    def close(self) -> None:
        """Gives back what is still out; the workers have ended."""
        for unit in self._held.values():
            self._manifest.give_back(unit, None)
