"""Box text: ``x,y,width,height`` a line. First-frame prompts (SAMURAI, many trackers) and box tracks (LaSOT, GOT-10k)."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

from keepsight.core import Box, InputError, Prompt

_MAX_BYTES = 64 * 2**20


def load_box_prompts(path: str | os.PathLike[str], frame: int = 0) -> list[Prompt]:
    """Every line is an object on one frame: ids from 1, in the order of the lines.

    Raises:
        InputError: no box in the file, or a line that is none; the line is named.
    """
    boxes = parse_boxes(read_text(path), str(path))
    for number, box in enumerate(boxes, start=1):
        if box is None:
            raise InputError(f"{path}: box {number} has no extent; give a width and height above 0.")
    return [Prompt(object_id, frame, box=box) for object_id, box in enumerate(boxes, start=1)]


def read_box_track(path: str | os.PathLike[str]) -> list[Box | None]:
    """One object, one line a frame; ``None`` where the box is empty or not a number, which means absent.

    Given a LaSOT or GOT-10k folder, reads its ``groundtruth.txt``, and frames marked in ``full_occlusion.txt``,
    ``out_of_view.txt`` or ``absence.label`` are absent too. Coordinates are taken as they are in the file.

    Raises:
        InputError: unreadable, or a line that is no box.
    """
    root = Path(path)
    if not root.is_dir():
        return parse_boxes(read_text(root), str(root))
    boxes = parse_boxes(read_text(root / "groundtruth.txt"), str(root / "groundtruth.txt"))
    for name in ("full_occlusion.txt", "out_of_view.txt", "absence.label"):
        if (root / name).is_file():
            marks = re.findall(r"\d+", read_text(root / name))
            if len(marks) != len(boxes):
                raise InputError(f"{root / name} has {len(marks)} marks for {len(boxes)} boxes.")
            boxes = [None if int(mark) else box for mark, box in zip(marks, boxes, strict=True)]
    return boxes


def parse_boxes(text: str, name: str) -> list[Box | None]:
    """Boxes ``(x1, y1, x2, y2)`` from lines of ``x y width height``, separated by commas, semicolons, tabs or spaces.

    Empty lines and lines that start with ``#`` are skipped.

    Args:
        name: the file, for error lines.
    """
    boxes: list[Box | None] = []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = re.split(r"\s*[,;\t]\s*|\s+", line.strip())
        try:
            x, y, width, height = (float(part) for part in parts)
        except ValueError as error:
            raise InputError(
                f"{name}, line {number}: expected x,y,width,height but found {line.strip()[:60]!r}."
            ) from error
        if not all(math.isfinite(value) for value in (x, y, width, height)) or width <= 0 or height <= 0:
            boxes.append(None)
        else:
            boxes.append((x, y, x + width, y + height))
    if not boxes:
        raise InputError(f"{name} holds no boxes; write one x,y,width,height a line.")
    return boxes


def format_boxes(boxes: Iterable[Box | None]) -> str:
    """The text that :func:`parse_boxes` reads; an absent box becomes ``0,0,0,0``."""
    lines = []
    for box in boxes:
        x1, y1, x2, y2 = box or (0.0, 0.0, 0.0, 0.0)
        lines.append(",".join(f"{value:.10g}" for value in (x1, y1, x2 - x1, y2 - y1)))
    return "\n".join(lines) + "\n"


def read_text(path: str | os.PathLike[str]) -> str:
    """A small text file.

    Raises:
        InputError: missing, not a file, larger than 64 MB, not text.
    """
    file = Path(path)
    if not file.is_file():  # also keeps devices and pipes out, which have no end
        raise InputError(f"{file} does not exist." if not file.exists() else f"{file} is not a file.")
    if file.stat().st_size > _MAX_BYTES:
        raise InputError(f"{file} is larger than {_MAX_BYTES // 2**20} MB; that is not a file of prompts or boxes.")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not a text file.") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
