"""A worker process of this machine: ``python -m keepsight.pipeline.batch.executors.process``, spoken to by :mod:`.local`.

JSON lines come in: first ``{"config", "device"}``, then a unit each; JSON lines go out: ``{"ready"}``, ``{"progress"}`` every
second, ``{"answer"}`` after each unit. The end of what comes in is the end of this process, at once: the conductor is gone,
and another one may take over.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import asdict
from typing import Any, TextIO

from keepsight.pipeline.batch.executors.base import BEAT_S
from keepsight.store.runs import this_process


def main() -> int:
    """Works until it is told that there is no more, SIGTERM comes, or the conductor is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the conductor, which then asks us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    out = _Out(_own_stdout())
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox,), daemon=True).start()
    first = inbox.get()

    from keepsight.pipeline.batch.config import make_config
    from keepsight.pipeline.batch.manifest import Unit
    from keepsight.pipeline.batch.worker import Worker

    worker = Worker(make_config(first["config"], "the conductor"), first["device"])
    out.say(ready=this_process())
    threading.Thread(target=_beat, args=(worker, out), daemon=True).start()
    while (message := inbox.get()).get("unit") is not None:
        answer = worker.do(Unit(**message["unit"]))
        out.say(answer=asdict(answer))
        if answer.stopped:
            break
    return 0


class _Out:
    """Writes whole lines, from several threads."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._lock = file, threading.Lock()

    def say(self, **message: Any) -> None:
        with self._lock:
            self._file.write(json.dumps(message) + "\n")
            self._file.flush()


def _own_stdout() -> TextIO:
    """The conductor's line out; what anything prints from now on goes where errors go: to the log."""
    line = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return line


def _listen(inbox: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        inbox.put(json.loads(line))
    os._exit(1)


def _beat(worker: Any, out: _Out) -> None:
    while True:
        time.sleep(BEAT_S)
        progress = worker.progress
        out.say(progress=asdict(progress) if progress is not None else None)


if __name__ == "__main__":
    sys.exit(main())
