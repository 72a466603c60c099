"""Pictures whose pixel values are object ids: palette, grey, 16-bit and colour PNGs.

These are what DAVIS, YouTube-VOS, MOSE and LVOS ship and what most tools write. A picture of this kind cannot hold
overlaps and has no names; the project file can and has.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keepsight.core import InputError, Mask

MAX_ID = 254  # 0 is the background, 255 is "void" in the PASCAL VOC and DAVIS convention
_MAX_GREY_IDS, _MAX_DEEP_IDS = 128, 1000
_LOSSLESS = {"PNG", "BMP", "TIFF", "GIF", "PPM"}


def voc_palette() -> NDArray[np.uint8]:
    """The colour map of PASCAL VOC and DAVIS, ``(256, 3)``: the bits of the id, dealt to red, green and blue in turn."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((ids >> (3 * (bit % 8) + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def write_labels(path: str | os.PathLike[str], labels: NDArray[np.uint8]) -> None:
    """Writes ``(H, W)`` ids as a palette PNG in the DAVIS colours."""
    image = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8), mode="P")
    image.putpalette(voc_palette().tobytes())
    # Level 1 is three times as fast as the default on flat pictures and costs a few kilobytes.
    image.save(path, format="PNG", compress_level=1)


def read_labels(path: str | os.PathLike[str], colours: dict[int, int] | None = None) -> dict[int, Mask]:
    """Reads the objects of a label picture: id -> mask.

    * palette and grey, 8 or 16 bit: every value is an object; 0 is background, the highest value (255 or 65535) is void;
    * two values, 0 and the highest (or black and white): one object, id 1;
    * colour: the DAVIS colours give their ids; any other colours are numbered from 1 as they are met. Transparent pixels are
      background.

    Args:
        colours: the numbers given to colours (24-bit RGB) so far; pass the same table for all pictures of a folder.

    Raises:
        InputError: not a picture, lossy, truncated, or a photograph or soft-edged mask instead of labels.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"Mask {file} does not exist." if not file.exists() else f"Mask {file} is not a file.")
    try:
        with Image.open(file) as image:
            if image.format not in _LOSSLESS:
                raise InputError(f"Mask {file} is {image.format}, which changes pixel values; save it as PNG.")
            values = _values(image)
            # A palette says that its values are labels; 8-bit grey may as well be a photograph.
            most = MAX_ID if image.mode == "P" else _MAX_GREY_IDS if values.dtype == np.uint8 else _MAX_DEEP_IDS
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"Mask {file} cannot be read as a picture: {error}.") from error
    if values.ndim == 3:
        return _from_colours(file, values, {} if colours is None else colours)
    return _from_values(file, values, most)


def _values(image: Image.Image) -> NDArray[Any]:
    """``(H, W)`` integers, or ``(H, W, 3)`` uint8 where a colour means the object."""
    if image.mode == "P":
        indices = np.array(image)
        if (image.getpalette("RGB") or [])[765:] == voc_palette()[255].tolist():
            indices[indices == 255] = 0  # void by its colour: a frame may hold nothing else
        return indices
    if image.mode in ("L", "1", "I;16", "I;16B", "I;16L", "I"):
        return np.asarray(image)
    pixels = np.asarray(image.convert("RGBA"))
    rgb = np.where(pixels[..., 3:] > 0, pixels[..., :3], 0).astype(np.uint8)
    return rgb[..., 0] if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all() else rgb


def _from_values(file: Path, values: NDArray[Any], most: int) -> dict[int, Mask]:
    if values.dtype == bool:
        return {1: Mask.from_array(values)} if values.any() else {}
    if values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"Mask {file} holds values from {values.min()} to {values.max()}; object ids are 0 to 65534 here."
        )
    counts = np.bincount(values.ravel())  # far quicker than np.unique, which sorts every pixel
    ids = np.flatnonzero(counts)
    found = [int(i) for i in ids if i]
    void = 255 if values.dtype == np.uint8 else 65535
    if found == [void]:
        return {1: Mask.from_array(values)}
    extremes = sum(int(counts[i]) for i in ids if i in (0, void))
    if void in found and len(found) > 32 and extremes > 0.9 * values.size:
        raise InputError(f"Mask {file} has soft edges ({len(found)} grey levels); make it black and white first.")
    if len(found) > most:
        raise InputError(
            f"Mask {file} has {len(found)} different values; it looks like a photograph, not like object ids."
        )
    return {i: Mask.from_array(values == i) for i in found if i != void}


def _from_colours(file: Path, rgb: NDArray[Any], table: dict[int, int]) -> dict[int, Mask]:
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found = [int(colour) for colour in np.unique(packed) if colour]
    if len(found) > MAX_ID + 1:
        raise InputError(
            f"Mask {file} has {len(found)} different colours; it looks like a photograph, not like object ids."
        )
    voc = {int(colour): i for i, colour in enumerate(voc_palette().astype(np.uint32) @ [1 << 16, 1 << 8, 1])}
    masks: dict[int, Mask] = {}
    # All of them or none: a single colour may be in the map by chance.
    known = not table and all(colour in voc for colour in found)
    for colour in found:
        if known and voc[colour] == 255:
            continue
        object_id = voc[colour] if known else table.setdefault(colour, len(table) + 1)
        masks[object_id] = Mask.from_array(packed == colour)
    return masks
