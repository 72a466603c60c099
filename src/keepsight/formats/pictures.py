"""Palette pictures as an exchange format, and the check that every imported picture goes through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image

from keepsight.core import InputError
from keepsight.formats.davis import flatten
from keepsight.formats.exchange import Export, Import, ReadFrame, ReadObject, numbered
from keepsight.formats.labels import MAX_ID, read_labels, write_labels


def write_palette(source: Export, folder: Path) -> None:
    """Writes ``00000.png`` and on, the layout of a DAVIS, YouTube-VOS or MOSE sequence, one for every stored frame.

    Where objects overlap, the one added last is on top; ids outside 1 to 254 are dealt anew; objects beyond 254 are left out.
    """
    ids = source.fit_ids(1, MAX_ID)
    for result in source.results():
        kept = tuple(item for item in result.objects if item.object_id in ids)
        labels, overlap = flatten(replace(result, objects=kept), ids)
        source.losses["overlap_px"] += overlap
        write_labels(folder / f"{result.frame:05d}.png", labels)


def read_palette(source: Import) -> Iterator[ReadFrame]:
    """Reads a folder of label pictures, one frame in memory; see :func:`read_labels` for the kinds that are understood."""
    colours: dict[int, int] = {}
    order = {object_id: place for place, object_id in enumerate(source.declared)}
    for frame, file in numbered(source.path, ".png"):
        check_picture(source, file)
        found = {source.object_id(value, str(file)): mask for value, mask in read_labels(file, colours).items()}
        ids = sorted(found, key=lambda object_id: (order.get(object_id, len(order)), object_id))
        yield ReadFrame(frame, tuple(ReadObject(object_id, found[object_id]) for object_id in ids))


def check_picture(source: Import, file: Path) -> None:
    """Looks at a picture's size before its pixels are decoded.

    Raises:
        InputError: not a picture, or of another size than the video.
    """
    try:
        with Image.open(file) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"Mask {file} cannot be read as a picture: {error}.") from error
    source.check_size(height, width, f"Mask {file}")
