"""Small name tags: drawn once, kept as bitmaps, placed where they fit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from keepsight.core import Box
from keepsight.render.palette import Colour, text_colour

RgbArray = NDArray[np.uint8]


@lru_cache(maxsize=16)
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """The face that matplotlib ships, so that it is there on every machine; knows Latin, Greek and Cyrillic."""
    import matplotlib  # where only its folder is asked for; processes that draw nothing begin without it

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"), size_px)


@lru_cache(maxsize=1024)
def tag_bitmap(text: str, colour: Colour, size_px: int, max_width_px: int) -> tuple[RgbArray, NDArray[np.float32]]:
    """A rounded plate with text: colours ``(h, w, 3)`` and opacity ``(h, w, 1)`` in [0, 1]. Callers must not write to them."""
    face = font(size_px)
    pad = max(2, size_px // 3)
    text = _fit(text, face, max_width_px - 2 * pad)
    width = round(face.getlength(text)) + 2 * pad
    height = round(size_px * 1.5)
    image = Image.new("RGBA", (width, height), (*colour, 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=height // 4, fill=(*colour, 235))
    draw.text((pad, height / 2), text, font=face, fill=(*text_colour(colour), 255), anchor="lm")
    pixels = np.asarray(image)
    return pixels[..., :3], (pixels[..., 3:] / 255).astype(np.float32)


def paste(target: RgbArray, bitmap: RgbArray, opacity: NDArray[np.float32], x: int, y: int) -> None:
    """Blends a bitmap into ``target`` in place; what does not fit is cut off."""
    height = min(bitmap.shape[0], target.shape[0] - y)
    width = min(bitmap.shape[1], target.shape[1] - x)
    if height <= 0 or width <= 0:
        return
    window = target[y : y + height, x : x + width]
    alpha = opacity[:height, :width]
    window[:] = (window * (1 - alpha) + bitmap[:height, :width] * alpha + 0.5).astype(np.uint8)


def place(
    box: Box, width: int, height: int, frame_width: int, frame_height: int, taken: Iterable[Box]
) -> tuple[int, int]:
    """Where a ``width`` x ``height`` px tag for ``box`` goes: above, below, else inside, within the frame and off other tags."""
    taken = list(taken)
    x1, y1, x2, y2 = (round(side) for side in box)
    gap = max(1, height // 8)
    inside = y1 + gap
    spots = [
        (x1, y1 - height - gap),
        (x2 - width, y1 - height - gap),
        (x1, y2 + gap),
        (x1, inside),
        (x1, inside + height + gap),
    ]
    fitting = []
    for x, y in spots:
        if 0 <= y <= frame_height - height:
            fitting.append((min(max(x, 0), max(0, frame_width - width)), y))
    for x, y in fitting:
        if not any(x < b[2] and b[0] < x + width and y < b[3] and b[1] < y + height for b in taken):
            return x, y
    return fitting[0] if fitting else (min(max(x1, 0), max(0, frame_width - width)), 0)


def _fit(text: str, face: ImageFont.FreeTypeFont, width_px: int) -> str:
    text = " ".join(text.split())
    if face.getlength(text) <= width_px:
        return text
    while text and face.getlength(text + "…") > width_px:
        text = text[:-1]
    return text.rstrip() + "…"
