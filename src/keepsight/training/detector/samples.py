"""A picture of what the training shows: what a person looks at before hours are spent."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.render.palette import object_colour
from keepsight.render.tags import paste, place, tag_bitmap
from keepsight.training.detector.album import Album, Picture
from keepsight.training.detector.batches import Question

_WIDE_PX, _GAP_PX, _TAG_PX = 360, 8, 14
_ABSENT = (90, 90, 90)


def draw_samples(album: Album, questions: Sequence[Question], columns: int = 3) -> NDArray[np.uint8]:
    """uint8 ``(H, W, 3)``: each question with boxes, masks and names of what is there, and below it what is not."""
    tiles = [_tile(album.pictures[question.picture], question) for question in questions]
    rows = [tiles[begin : begin + columns] for begin in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    width = columns * (_WIDE_PX + _GAP_PX) + _GAP_PX
    sheet = np.full((sum(heights) + _GAP_PX * (len(rows) + 1), width, 3), 255, np.uint8)
    top = _GAP_PX
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = _GAP_PX + column * (_WIDE_PX + _GAP_PX)
            sheet[top : top + tile.shape[0], left : left + _WIDE_PX] = tile
        top += height + _GAP_PX
    return sheet


def _tile(picture: Picture, question: Question) -> NDArray[np.uint8]:
    scale = _WIDE_PX / picture.width
    height = max(1, round(picture.height * scale))
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    tile = np.array(cv2.resize(picture.pixels.read(), (_WIDE_PX, height), interpolation=shrinks), np.uint8)
    colours = {phrase: object_colour(number) for number, phrase in enumerate(question.phrases, 1)}
    shown = [(item, colours[phrase]) for phrase in question.phrases for item in picture.of(phrase)]
    for item, colour in shown:
        if item.mask is not None:
            pixels = item.mask.to_array().astype(np.float32)
            share = 0.3 * cv2.resize(pixels, (_WIDE_PX, height), interpolation=cv2.INTER_AREA)[..., None]
            tile[:] = tile * (1 - share) + np.array(colour) * share
        x1, y1, x2, y2 = (round(side * scale) for side in item.box)
        cv2.rectangle(tile, (x1, y1), (max(x1, x2 - 1), max(y1, y2 - 1)), colour, 2)
    if question.flipped:
        tile = np.ascontiguousarray(tile[:, ::-1])
    taken: list[tuple[float, float, float, float]] = []
    for item, colour in shown:
        left, top, right, bottom = (side * scale for side in item.box)
        if question.flipped:
            left, right = _WIDE_PX - right, _WIDE_PX - left
        bitmap, opacity = tag_bitmap(item.phrase, colour, _TAG_PX, _WIDE_PX)
        size = bitmap.shape[1], bitmap.shape[0]
        x, y = place((left, top, right, bottom), *size, _WIDE_PX, height, taken)
        taken.append((x, y, x + size[0], y + size[1]))
        paste(tile, bitmap, opacity, x, y)
    absent = [phrase for phrase in question.phrases if not picture.of(phrase)]
    foot = np.full((round(_TAG_PX * 1.5) * len(absent) + 4 * bool(absent), _WIDE_PX, 3), 255, np.uint8)
    for row, phrase in enumerate(absent):
        bitmap, opacity = tag_bitmap(f"no {phrase}", _ABSENT, _TAG_PX, _WIDE_PX)
        paste(foot, bitmap, opacity, 0, 2 + row * round(_TAG_PX * 1.5))
    return np.concatenate([tile, foot])
