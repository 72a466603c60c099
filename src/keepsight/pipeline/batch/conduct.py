"""Conducts a batch: finds its videos, keeps its workers going, tells what happens, writes the report."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from keepsight.core import InputError, KeepsightError
from keepsight.pipeline.batch.config import BatchConfig, make_config
from keepsight.pipeline.batch.manifest import STAGES, Manifest, Unit
from keepsight.pipeline.batch.report import REPORT_NAME, write_batch_report

MANIFEST_NAME = "pipeline.sqlite"
_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"}
_IDLE_DEATHS = 3
_LOOK_S = 0.1

Told = Callable[[Unit, Counter[tuple[str, str]]], None]
"""Called with a unit that has changed, and how many units there are by (stage, state)."""


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
            names[plain if len(twins) == 1 else f"{plain}_{path.suffix[1:].lower()}"] = str(path.resolve())
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


def conduct(out: Path, told: Told | None = None) -> BatchOutcome:
    """Does everything that can be done in a batch, and writes its report.

    Killing this process or any worker at any moment loses at most the unit in flight; calling this again goes on.

    Args:
        told: see :data:`Told`.

    Raises:
        StoreError: another process is at it, or workers cannot be started.
        KeyboardInterrupt: Ctrl-C, once the workers have ended.
    """
    config, units = read_batch(out)
    with Manifest(out / MANIFEST_NAME) as manifest:
        manifest.take_charge()
        manifest.release(None)
        lost = [unit.id for unit in units if unit.state == "done" and not all(map(os.path.exists, unit.outputs))]
        manifest.ask_again(lost)
        with ExitStack() as stack:
            crew = stack.enter_context(_Crew(manifest, config, out))
            seen, states = _States(), -1
            while True:
                for unit in manifest.units(states):
                    states = unit.changed
                    seen.note(unit)
                    if told is not None:
                        told(unit, seen.counts)
                if manifest.over():
                    break
                crew.look_after()
                time.sleep(_LOOK_S)
    config, units = read_batch(out)
    path = out / REPORT_NAME
    write_batch_report(path, config, units)
    counts = Counter((unit.stage, unit.state) for unit in units)
    return BatchOutcome(counts, [unit for unit in units if unit.state == "failed"], path)


class _States:
    """Counts units by (stage, state) as they change."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[str, str]] = {}
        self.counts: Counter[tuple[str, str]] = Counter()

    def note(self, unit: Unit) -> None:
        before = self._of.get(unit.id)
        if before is not None:
            self.counts[before] -= 1
        self._of[unit.id] = (unit.stage, unit.state)
        self.counts[unit.stage, unit.state] += 1


class _Crew:
    """The worker processes: one a device, and those for decoding and encoding beside them."""

    def __init__(self, manifest: Manifest, config: BatchConfig, out: Path) -> None:
        self._manifest, self._config, self._out = manifest, config, out
        light = ",".join(stage for stage in STAGES if stage != "segment")
        self._roles = [("segment", device) for device in config.devices] + [(light, "cpu")] * config.cpu_workers
        self._workers: list[subprocess.Popen[bytes]] = []
        self._deaths = 0

    def __enter__(self) -> _Crew:
        self._workers = [self._start(number) for number in range(len(self._roles))]
        return self

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        stages, device = self._roles[number]
        logs = self._out / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "keepsight.pipeline.batch.worker", str(self._manifest.path), stages, device]
        with (logs / f"worker-{number}.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def look_after(self) -> None:
        """Gives back what dead workers held and starts others in their place."""
        for number, worker in enumerate(self._workers):
            code = worker.poll()
            if code is None or self._manifest.over():
                continue
            self._deaths = self._deaths + 1 if not self._held() else 0
            if self._deaths > _IDLE_DEATHS:
                raise KeepsightError(f"The workers end at once; see {self._out / 'logs'} for why.")
            self._manifest.release(self._config.attempts)
            self._workers[number] = self._start(number)

    def _held(self) -> bool:
        return any(unit.state == "running" for unit in self._manifest.units())

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in self._workers:
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self._manifest.release(None)
