"""A single picture: what is in it, or what was marked in it."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from fastapi.concurrency import run_in_threadpool
from PIL import Image, ImageOps

from keepsight.annotation import Glance
from keepsight.core import Box, Prompt
from keepsight.server.anylabeling.bodies import Mark, PredictBody
from keepsight.server.anylabeling.intake import decode_picture
from keepsight.server.anylabeling.offers import wordless
from keepsight.server.anylabeling.prompting import POINTED
from keepsight.server.anylabeling.remote import Remote
from keepsight.server.anylabeling.shapes import EPSILON, Shape, shapes_of
from keepsight.server.errors import ApiError
from keepsight.server.reception import soon


async def shapes_in(here: Remote, body: PredictBody) -> list[Shape]:
    """Answers a prediction.

    Raises:
        ApiError: 404 for the model, 413 or 422 for the picture or the marks.
        ModelError: words, and nothing that understands them.
    """
    offer, config, params = here.offer(body.model), here.config, body.params
    workshop = here.reception.workshop
    data = await run_in_threadpool(decode_picture, body.image, config.limits.pixels)
    key = hashlib.sha256(data).hexdigest()
    glance = Glance(key, lambda: _pixels(data), offer.model, workshop.settings.policy)
    epsilon = EPSILON if params.epsilon_factor is None else params.epsilon_factor
    text = (params.text_prompt or "").strip()
    if text or not params.marks:
        detector = (wordless(text) or config.detector) if text else "everything"
        found = await soon(workshop.find(glance, text or "object", detector, params.conf_threshold))
        return [shape for label, item in found or () for shape in shapes_of(item, label, offer.kind, epsilon)]
    items = await soon(workshop.point(glance, _prompts(params.marks)))
    return [shape for item in items or () for shape in shapes_of(item, POINTED, offer.kind, epsilon)]


def _prompts(marks: list[Mark]) -> list[Prompt]:
    """Each rectangle is an object; the points are about the rectangle that holds them, or about an object of their own."""
    boxes: list[Box] = []
    points: list[tuple[float, float, int]] = []
    for mark in marks:
        if mark.type == "rectangle" and len(mark.data) == 4 and mark.label > 0:
            (x1, x2), (y1, y2) = sorted(mark.data[0::2]), sorted(mark.data[1::2])
            boxes.append((x1, y1, x2, y2))
        elif mark.type == "point" and len(mark.data) == 2:
            points.append((*mark.data, int(mark.label > 0)))  # type: ignore[arg-type]
    groups: list[list[tuple[float, float, int]]] = [[] for _ in boxes]
    alone: list[tuple[float, float, int]] = []
    for point in points:
        owners = [n for n, (x1, y1, x2, y2) in enumerate(boxes) if x1 <= point[0] <= x2 and y1 <= point[1] <= y2]
        (groups[owners[0]] if owners else alone).append(point)
    told: list[tuple[Box | None, list[tuple[float, float, int]]]] = list(zip(boxes, groups, strict=True))
    if any(on for _, _, on in alone):
        told.append((None, alone))
    if not told:
        raise ApiError(422, "MISSING_PROMPT", "Mark something by a point on it or a rectangle around it.")
    return [
        Prompt(number, 0, tuple((x, y) for x, y, _ in said), tuple(on for _, _, on in said), box)
        for number, (box, said) in enumerate(told, start=1)
    ]


def _pixels(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return np.array(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        raise ApiError(422, "INVALID_IMAGE", "The picture is damaged and cannot be decoded.") from None
