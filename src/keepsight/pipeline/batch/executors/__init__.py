"""Where the units of a batch are done: on this machine, or on all machines of a Ray cluster."""

from __future__ import annotations

from pathlib import Path

from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.executors.base import Executor


def open_executor(config: BatchConfig, out: Path) -> Executor:
    """The executor that the settings name; entering it starts the workers.

    Raises:
        InputError: Ray is wanted and not installed.
    """
    if config.executor == "ray":
        from keepsight.pipeline.batch.executors.ray_cluster import RayExecutor

        return RayExecutor(config, out)
    from keepsight.pipeline.batch.executors.local import LocalExecutor

    return LocalExecutor(config, out / "logs")
