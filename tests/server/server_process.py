"""`keepsight annotate` as a process of its own, which can be killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HELD = Path(__file__).with_name("held_annotate.py")


class ServerProcess:
    """Serves what is in a folder until it is stopped or killed; begun again it is at the same address.

    Its jobs go no further than :meth:`hold` says.

    Attributes:
        address: ``http://localhost:PORT``.
    """

    def __init__(self, videos: Path, projects: Path, model: str | Path = "builtin") -> None:
        self._limit = projects.with_name(f"{projects.name}.limit")
        self._command = [sys.executable, str(HELD), str(self._limit), "annotate", str(videos), "--no-browser"]
        self._command += ["--out", str(projects), "--model", str(model), "--device", "cpu"]
        self.address = ""
        self.begin()

    def begin(self) -> None:
        """Starts the process; it listens when this returns."""
        port = self.address.rpartition(":")[2] or "0"
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
        self._process = subprocess.Popen(
            [*self._command, "--port", port],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://[\w.]+:\d+", line)
        assert found is not None, f"the server did not begin: {line}"
        self.address = found[0]

    def hold(self, frames: int) -> None:
        """Lets jobs wait when they have done so many frames, those that are going too: no cancel comes too late."""
        written = self._limit.with_suffix(".new")
        written.write_text(str(frames))
        written.replace(self._limit)

    def let_go(self) -> None:
        """Jobs go on to their ends, also when none was held."""
        self._limit.unlink(missing_ok=True)

    def kill(self) -> None:
        """As losing power does: no handler runs."""
        self._process.kill()
        self._ended()

    def stop(self) -> str:
        """As Ctrl-C does; safe to call more than once. What the server said besides where it is."""
        self._process.terminate()
        return self._ended()

    def _ended(self) -> str:
        self._process.wait(30)
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            return ""
        with self._process.stdout as rest:
            return rest.read()
