"""Data sets of boxes as they lie on disk, and the files that they take predictions in."""

from __future__ import annotations

from pathlib import Path

from keepsight.core import InputError
from keepsight.evaluation.box.layouts.base import Layout
from keepsight.evaluation.box.layouts.got10k import Got10k
from keepsight.evaluation.box.layouts.lasot import LaSOT, LaSOTExt
from keepsight.evaluation.box.layouts.plain import PlainFolder
from keepsight.evaluation.box.layouts.vot import Vot

__all__ = ["LAYOUTS", "Layout", "open_layout"]

LAYOUTS: dict[str, type[Layout]] = {item.kind: item for item in (LaSOT, LaSOTExt, Got10k, Vot, PlainFolder)}


def open_layout(kind: str, root: Path, *, split: str | None = None, listed: Path | None = None) -> Layout:
    """A data set by the name of its layout.

    Args:
        split: part of the set, where it has parts.
        listed: file that names the sequences to take, one a line.

    Raises:
        InputError: no such layout or part, or the folder is not laid out so.
    """
    if kind not in LAYOUTS:
        raise InputError(f"--dataset {kind}: choose {', '.join(LAYOUTS)}.")
    if not root.is_dir():
        raise InputError(f"{root} is no folder; give the root of the data set.")
    return LAYOUTS[kind](root, split=split, listed=listed)
