"""What is said about the objects of a clip: each on the frame where its first annotation lies."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from keepsight.core import InputError, Mask, Prompt
from keepsight.core.geometry import BoolArray
from keepsight.evaluation.vos.clips import Clip
from keepsight.evaluation.vos.protocol import FirstPrompt, Objects, Protocol
from keepsight.evaluation.vos.sources import MaskSource
from keepsight.formats.labels import MAX_ID


def first_prompts(clip: Clip, protocol: Protocol, kind: FirstPrompt, *, per_object: bool) -> list[Prompt]:
    """A prompt for every object, in the order in which they appear.

    Args:
        protocol: where only objects of the first annotated frame count, the others are not followed.
        per_object: predictions are pictures of single objects, which may have any id.

    Raises:
        InputError: no object, a frame that the video lacks, or an id that a picture of ids cannot hold.
    """
    truth = clip.truth
    if truth is None:
        raise InputError(f"{clip.name} has no annotation to begin with.")
    prompts = [
        _prompt(object_id, clip.index_of(number), pixels, kind)
        for object_id, number, pixels in _appearances(clip, truth, protocol)
    ]
    if not prompts:
        raise InputError(f"{clip.name} has no object on any of its annotated frames.")
    highest = max(prompt.object_id for prompt in prompts)
    if not per_object and highest > MAX_ID:
        raise InputError(f"{clip.name} has an object {highest}; a picture of ids holds 1 to {MAX_ID}.")
    return prompts


def _appearances(clip: Clip, truth: MaskSource, protocol: Protocol) -> Iterator[tuple[int, int, BoolArray]]:
    """Object, number of the frame on which it first has a pixel, and its pixels there."""
    known = set(truth.objects or ()) or set(clip.spans) | set(clip.groups)
    seen: set[int] = set()
    for number in truth.numbers:
        masks = truth.read(number)
        for object_id in sorted(masks.ids - seen):
            yield object_id, number, masks.pixels(object_id)
        seen |= masks.ids
        if (seen and protocol.objects is Objects.FIRST) or (known and known <= seen):
            return


def _prompt(object_id: int, frame: int, pixels: BoolArray, kind: FirstPrompt) -> Prompt:
    mask = Mask.from_array(pixels)
    if kind is FirstPrompt.MASK:
        return Prompt(object_id, frame, mask=mask)
    if kind is FirstPrompt.BOX:
        return Prompt(object_id, frame, box=mask.box)
    # Beyond the frame there is nothing: an object at its edge is not clicked on the edge.
    depth = cv2.distanceTransform(np.pad(pixels.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return Prompt(object_id, frame, points=((float(x) + 0.5, float(y) + 0.5),), labels=(1,))
