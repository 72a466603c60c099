"""How much memory a unit of work has held at most."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

_SELF = Path("/proc/self")


class PeakMemory:
    """Watches what this process holds while it is entered, in RAM and on the GPU.

    Linux can set the mark of a process's peak back, so that every unit has its own; elsewhere the peak is that of the process
    since it began, and :meth:`results` says so.
    """

    def __init__(self) -> None:
        self._own = False

    def __enter__(self) -> Self:
        with suppress(OSError):
            (_SELF / "clear_refs").write_text("5", encoding="ascii")
            self._own = True
        if (torch := _torch_on_gpu()) is not None:
            torch.cuda.reset_peak_memory_stats()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def results(self) -> dict[str, Any]:
        """``peak_mib``, on a GPU ``peak_gpu_mib``, and ``peak_since_start`` where the first is the process's."""
        found: dict[str, Any] = {}
        own = _high_water_kib() if self._own else None
        if own is not None:
            found["peak_mib"] = round(own / 1024, 1)
        elif sys.platform != "win32":
            import resource

            unit = 1 if sys.platform == "darwin" else 1024
            found["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
            found["peak_since_start"] = True
        if (torch := _torch_on_gpu()) is not None:
            found["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
        return found


def _high_water_kib() -> int | None:
    with suppress(OSError, ValueError):
        for line in (_SELF / "status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return None


def _torch_on_gpu() -> Any:
    """torch where it is loaded already and has a GPU: nobody waits for it only to hear that nothing is held."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None
