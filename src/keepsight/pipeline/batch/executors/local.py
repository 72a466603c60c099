"""The workers of this machine: processes, spoken to through pipes."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from keepsight.core import KeepsightError
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.executors.base import SILENT_S, Ended, Hand, crew_of, names_of
from keepsight.pipeline.batch.manifest import Unit
from keepsight.pipeline.batch.worker import Answer
from keepsight.pipeline.job import Progress

_IDLE_DEATHS = 3
_GOODBYE_S = 20.0
_MODULE = "keepsight.pipeline.batch.executors.process"

_Mail = queue.SimpleQueue["tuple[_Process, dict[str, Any] | None]"]


class LocalExecutor:
    """One process a device, and those for decoding and encoding beside them.

    Args:
        logs: folder for what they print.
    """

    def __init__(self, config: BatchConfig, logs: Path) -> None:
        self._config, self._logs = config, logs
        self._mail: _Mail = queue.SimpleQueue()
        self._workers: list[_Process] = []
        self._looked = 0.0
        self._idle_deaths = 0

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        crew = crew_of(self._config)
        for number, ((stages, device), name) in enumerate(zip(crew, names_of(crew), strict=True)):
            self._workers.append(self._start(Hand(name, stages, ""), device, self._logs / f"worker-{number}.log"))
        self._looked = time.monotonic()
        return self

    def _start(self, hand: Hand, device: str, log: Path) -> _Process:
        return _Process(hand, device, log, self._config, self._mail)

    def hands(self) -> Iterable[Hand]:
        return [worker.hand for worker in self._workers if worker.hand.process]

    def submit(self, hand: Hand, unit: Unit) -> None:
        worker = next(worker for worker in self._workers if worker.hand is hand)
        hand.unit, hand.progress, hand.since = unit, None, time.monotonic()
        worker.say(unit=asdict(unit))

    def remarks(self) -> list[str]:
        return []

    def wait(self, timeout_s: float) -> list[Ended]:
        ended = []
        with contextlib.suppress(queue.Empty):
            sender, message = self._mail.get(timeout=timeout_s)
            while True:
                ended += self._read(sender, message)
                sender, message = self._mail.get_nowait()
        self._end_the_silent()
        return ended

    def _read(self, sender: _Process, message: dict[str, Any] | None) -> list[Ended]:
        """What a message comes to; ``None`` is the end of a worker."""
        hand = sender.hand
        if message is None:
            return self._replace(sender)
        sender.silent_s = 0.0
        if "ready" in message:
            hand.process = message["ready"]
        elif "progress" in message and message["progress"] is not None:
            hand.progress = Progress(**message["progress"])
        elif "answer" in message and hand.unit is not None:
            unit, hand.unit, hand.progress = hand.unit, None, None
            self._idle_deaths = 0
            return [Ended(unit, Answer(**message["answer"]))]
        return []

    def _replace(self, gone: _Process) -> list[Ended]:
        gone.end()
        unit = gone.hand.unit
        self._idle_deaths = 0 if unit is not None else self._idle_deaths + 1
        if self._idle_deaths > _IDLE_DEATHS:
            raise KeepsightError(f"The workers end at once; see {self._logs} for why.")
        place = self._workers.index(gone)
        self._workers[place] = self._start(Hand(gone.hand.name, gone.hand.stages, ""), gone.device, gone.log)
        return [] if unit is None else [Ended(unit, None, "its process died (out of memory?)")]

    def _end_the_silent(self) -> None:
        # Counted by looks, not by the clock: a conductor that was itself suspended must not take that for silence.
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 1.0), now
        for worker in self._workers:
            if worker.hand.process:
                worker.silent_s += passed
                if worker.silent_s > SILENT_S:
                    worker.silent_s = 0.0
                    worker.process.kill()  # its end comes by mail

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.leave()
        until = time.monotonic() + _GOODBYE_S
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(until - time.monotonic(), 0.01))
            worker.end()


class _Process:
    """A worker process and the thread that reads what it says.

    Attributes:
        silent_s: for how long it has not been heard.
    """

    def __init__(self, hand: Hand, device: str, log: Path, config: BatchConfig, mail: _Mail) -> None:
        self.hand, self.device, self.log, self.silent_s = hand, device, log, 0.0
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
            )
        self.say(config=config.model_dump(mode="json"), device=device)
        self._reader = threading.Thread(target=self._listen, args=(mail,), daemon=True)
        self._reader.start()

    def _listen(self, mail: _Mail) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            # A line that a kill has cut off is no message.
            with contextlib.suppress(ValueError):
                mail.put((self, json.loads(line)))
        mail.put((self, None))

    def say(self, **message: Any) -> None:
        assert self.process.stdin is not None
        # Where it is gone already, its end is on its way by mail.
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def leave(self) -> None:
        """Asks it to end: a free one by a word, one at work by SIGTERM, on which it keeps what it has."""
        if self.hand.unit is None:
            self.say(unit=None)
        else:
            self.process.terminate()

    def end(self) -> None:
        """Makes sure that it has ended, and closes the line to it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
