"""Processes of a test's own that begin in a blink: forked from one that has imported what takes seconds and does nothing else."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess

# Where nobody has said how many threads: as many as cores would wait for each other beside the test.
os.environ.setdefault("OMP_NUM_THREADS", "2")

CONTEXT = multiprocessing.get_context("forkserver")
# One list for all tests: whoever forks first begins the process that all of a worker's are forked from.
CONTEXT.set_forkserver_preload(
    [
        "transformers.models.sam2_video.modeling_sam2_video",
        "keepsight.cli.main",
        "keepsight.pipeline.segment",
        "keepsight.server.app",
    ]
)


def fork(work: Callable[..., object], *args: object) -> ForkServerProcess:
    """Does ``work`` in a process of its own; what it says and leaves with is that process's.

    Args:
        work: a function of a module, not a closure.
    """
    process = CONTEXT.Process(target=work, args=args)
    process.start()
    return process
