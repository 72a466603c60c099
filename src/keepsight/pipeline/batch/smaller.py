"""A clip that does not fit into memory, tried again with less at a time."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from keepsight.core import MemoryExhausted
from keepsight.store.files import replacing_file

T = TypeVar("T")
TRIES_NAME = "tries.json"
_UNITS = (None, 4, 1)


@dataclass(frozen=True)
class Try:
    """With how much a clip is followed.

    Attributes:
        units: objects (times hypotheses) that go through the model at a time; ``None``: as many as usual.
        dtype: precision.
    """

    units: int | None
    dtype: str

    def __str__(self) -> str:
        at_a_time = "as many objects as usual" if self.units is None else f"{self.units} at a time"
        return f"{at_a_time} in {self.dtype}"


def tries_of(dtype: str, device: str, family: str) -> list[Try]:
    """What is tried in turn: fewer objects a batch, then half the precision where the device and the model have it.

    Args:
        dtype: what the batch's settings say.
        device: ``"cuda:1"``, ``"auto"``...
        family: of the model.
    """
    from keepsight.models.devices import resolve_device, resolve_dtype

    target = resolve_device(device)
    settled = str(resolve_dtype(dtype, target, family=family)).removeprefix("torch.")
    tries = [Try(units, settled) for units in _UNITS]
    if settled == "float32" and family != "builtin" and target.type in ("cpu", "cuda"):
        tries.append(Try(_UNITS[-1], "bfloat16"))
    return tries


def smaller_and_smaller(tries: list[Try], folder: Path, work: Callable[[Try], T]) -> tuple[T, list[str]]:
    """Does work with the first of ``tries`` for which the memory is enough.

    What has failed is noted in ``folder``, so that after a kill the work goes on with what it was begun with. When all have
    failed, the note goes, and who tries again begins anew.

    Returns:
        What ``work`` gave, and what was tried in vain before, a line each.

    Raises:
        MemoryExhausted: it was never enough.
    """
    note = folder / TRIES_NAME
    failed = _read(note)
    for one in tries[len(failed) :]:
        try:
            return work(one), failed
        except MemoryExhausted as error:
            # The error's trace holds the tensors of the frame at which it ended.
            line = str(error)
        failed.append(f"{one}: {line}")
        _let_go()
        with replacing_file(note) as temporary:
            temporary.write_text(json.dumps({"failed": failed}, indent=1))
    note.unlink(missing_ok=True)
    raise MemoryExhausted(
        f"Not enough memory, even with less at a time (tried: {'; '.join(str(one) for one in tries)}). Use a smaller model, "
        "smaller videos, or another device, then `keepsight pipeline retry`."
    )


def _read(note: Path) -> list[str]:
    with suppress(OSError, ValueError, KeyError):
        return [str(line) for line in json.loads(note.read_text(encoding="utf-8"))["failed"]]
    return []


def _let_go() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
