"""Text files of numbers as data sets have them: read with checks, errors in a line that says where."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keepsight.core import InputError
from keepsight.evaluation.box.overlaps import Bools, Floats

_MOST_BYTES = 256 << 20
_MOST_PX = 1e6


def check_size(path: Path) -> None:
    """Raises :class:`InputError` where a file is missing, or larger than any of its kind is."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise InputError(f"{path} is missing.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if size > _MOST_BYTES:
        raise InputError(f"{path} has {size >> 20} MB; no file of its kind has more than {_MOST_BYTES >> 20}.")


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without empty ones at the end.

    Raises:
        InputError: missing, unreadable, no text, or larger than any such file is.
    """
    check_size(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def read_boxes(path: Path) -> Floats:
    """``(T, 4)`` boxes ``(x, y, w, h)``, numbers apart by commas, tabs or spaces; NaN where a line has NaN.

    Raises:
        InputError: not four numbers on a line, or numbers that are no place in a picture.
    """
    lines = read_lines(path)
    if not lines:
        raise InputError(f"{path} is empty; it has a line x,y,w,h for every frame.")
    try:
        table = np.array([line.replace(",", " ").split() for line in lines], dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != 4:
            raise ValueError("not four columns")
    except ValueError:
        raise InputError(f"{path}, line {_first_bad(lines)}: a line has four numbers x,y,w,h.") from None
    wild = np.flatnonzero((np.abs(np.nan_to_num(table, posinf=np.inf, neginf=np.inf)) > _MOST_PX).any(axis=1))
    if len(wild):
        raise InputError(f"{path}, line {wild[0] + 1}: '{lines[wild[0]][:60]}' is no place in a picture.")
    return table


def _first_bad(lines: Iterable[str]) -> int:
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        try:
            if len([float(word) for word in words]) != 4:
                return number
        except ValueError:
            return number
    return 1


def read_values(path: Path, frames: int | None = None) -> Floats:
    """``(T,)`` numbers, one a line or all on one line.

    Args:
        frames: how many there must be; ``None``: any number.

    Raises:
        InputError: no numbers, or not as many as there are frames.
    """
    words = " ".join(read_lines(path)).replace(",", " ").split()
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        raise InputError(f"{path}: there is something that is no number.") from None
    if frames is not None and len(values) != frames:
        raise InputError(f"{path} has {len(values)} values, but there are {frames} frames.")
    return values


def read_flags(path: Path, frames: int) -> Bools:
    """``(T,)`` of 0 and 1."""
    values = read_values(path, frames)
    if not np.isin(values, (0, 1)).all():
        raise InputError(f"{path}: {values[~np.isin(values, (0, 1))][0]:g} is neither 0 nor 1.")
    return values == 1


def box_lines(boxes: Floats) -> str:
    """Boxes as LaSOT and GOT-10k take them, three decimals; a missing one as ``0,0,0,0``."""
    return "".join(f"{x:.3f},{y:.3f},{w:.3f},{h:.3f}\n" for x, y, w, h in np.nan_to_num(boxes).tolist())
