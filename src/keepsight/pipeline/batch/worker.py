"""A process that does units until there are none: ``python -m keepsight.pipeline.batch.worker MANIFEST STAGES DEVICE``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from keepsight.core import KeepsightError
from keepsight.pipeline.batch.config import make_config
from keepsight.pipeline.batch.manifest import Manifest, Unit
from keepsight.pipeline.batch.units import Equipment, hashes, perform

_LOOK_S = 0.1


def main(path: str, stages: str, device: str) -> int:
    """Works until the batch is over or SIGTERM comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the conductor, which then asks us
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: _leave(stop))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with Manifest(Path(path)) as manifest:
        config = make_config(manifest.fact("config"), path)
        equipment = Equipment(device)
        while not stop.is_set():
            unit = manifest.claim(stages.split(","))
            if unit is not None:
                _do(manifest, unit, config, equipment)
            elif manifest.over():
                break
            else:
                time.sleep(_LOOK_S)
    return 0


def _do(manifest: Manifest, unit: Unit, config: object, equipment: Equipment) -> None:
    from keepsight.pipeline.batch.config import BatchConfig

    assert isinstance(config, BatchConfig)
    begin = time.perf_counter()
    try:
        done = perform(unit, config, equipment)
        if done is None:
            raise SystemExit(0)  # stopped in the middle; the unit is given back when this process has ended
        outputs = dict(hashes(done.files))
        manifest.finish(unit, time.perf_counter() - begin, outputs, done.results, done.following)
    except Exception as error:
        # Whatever is wrong with one video must not cost the others.
        line = " ".join(str(error).split())
        if not isinstance(error, KeepsightError):
            traceback.print_exc()
            line = f"{type(error).__name__}: {line}"
        manifest.fail(unit, line, time.perf_counter() - begin)


def _leave(stop: threading.Event) -> None:
    stop.set()
    raise SystemExit(0)


def _end_with(parent: int) -> None:
    """Ends this process as soon as the one that started it is gone: another run may take over then."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
