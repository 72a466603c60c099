"""`keepsight annotate` as a process of its own, which can be killed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from held_annotate import held_annotate

from forks import CONTEXT, fork


class ServerProcess:
    """Serves what is in a folder until it is stopped or killed; begun again it is at the same address.

    Its jobs go no further than :meth:`hold` says.

    Attributes:
        address: ``http://localhost:PORT``.
    """

    def __init__(self, videos: Path, projects: Path, model: str | Path = "builtin") -> None:
        self._limit = projects.with_name(f"{projects.name}.limit")
        self._arguments = [
            str(videos),
            "--no-browser",
            "--out",
            str(projects),
            "--model",
            str(model),
            "--device",
            "cpu",
        ]
        self.address = ""
        self.begin()

    def begin(self) -> None:
        """Starts the process; it listens when this returns."""
        port = self.address.rpartition(":")[2] or "0"
        reader, writer = CONTEXT.Pipe(duplex=False)
        self._process = fork(held_annotate, self._limit, [*self._arguments, "--port", port], writer)
        writer.close()
        self._said = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()
        line = self._said.readline()
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
        self._process.join(30)
        assert self._process.exitcode is not None, "the server did not end"
        if self._said.closed:
            return ""
        with self._said as rest:
            return rest.read()
