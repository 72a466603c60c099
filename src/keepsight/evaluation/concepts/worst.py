"""Looks at what went worst: frames with the outlines of what is true and of what was found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import InputError, Mask
from keepsight.evaluation.concepts.dataset import ConceptSet, Pair
from keepsight.evaluation.concepts.gated import count_pair
from keepsight.evaluation.concepts.media import SetMedia
from keepsight.evaluation.concepts.predictions import Predictions
from keepsight.evaluation.concepts.tubes import Tube, overlap
from keepsight.evaluation.report import Picture
from keepsight.evaluation.results import Results, Row

RgbArray = NDArray[np.uint8]

_ROWS, _FRAMES = 6, 3
_WIDTH_PX = 480
TRUE, FOUND = (60, 220, 120), (255, 120, 40)
"""Green and orange, also for eyes that do not tell red from green: true outlines are broad, found ones narrow."""

LEGEND = "green is true, orange was found, filled has no partner"


def worst_pictures(
    results: Results,
    of: ConceptSet,
    found: Predictions,
    media: SetMedia,
    tell: Callable[[int], None] = lambda done: None,
) -> list[Picture]:
    """Up to three frames of each of the six worst rows; videos whose pictures cannot be read have none.

    Args:
        tell: told the number of rows done.
    """
    pairs = {(pair.video.name, pair.name): pair for pair in of.pairs}
    pictures: list[Picture] = []
    for done, row in enumerate(_worst(results.rows), 1):
        pair = pairs.get((row.video, row.item))
        if pair is not None:
            with suppress(InputError):
                pictures += _of_pair(row, pair, found.tubes.get(pair.key, ()), media)
        tell(done)
    return pictures


def _worst(rows: Sequence[Row]) -> list[Row]:
    """Rows with the lowest F1, of equals those with most tubes; half of them at most of phrases that are not there, which are
    wrong altogether or not at all."""
    wrong = [row for row in rows if row.values["F1"] < 1]
    wrong.sort(key=lambda row: (row.values["F1"], -row.values["true tubes"] - row.values["found tubes"]))
    negative = [row for row in wrong if not row.values["true tubes"]]
    left_out = {row.name for row in negative[_ROWS // 2 :]} if len(wrong) - len(negative) >= _ROWS // 2 else set()
    return [row for row in wrong if row.name not in left_out][:_ROWS]


def telling_frames(row: Row, found: Sequence[Tube]) -> list[int]:
    """Frames that say most about what went wrong: the worst one, and the worst ones of the thirds that it is not in. Of a phrase
    that is not there: the first ones of the thirds on which something was found."""
    by_frame = row.series.get("IoU")
    if by_frame is None:
        known = [(0.0, place) for place in {place for tube in found for place in tube.masks}]
    else:
        known = [(value, place) for place, value in zip(row.frames, by_frame, strict=True) if value is not None]
    third = max(len(row.frames) / _FRAMES, 1)
    chosen: dict[int, int] = {}
    for _, place in sorted(known):
        chosen.setdefault(int(place // third), place)
    return sorted(chosen.values())[:_FRAMES]


def _of_pair(row: Row, pair: Pair, found: Sequence[Tube], media: SetMedia) -> Iterator[Picture]:
    scores = np.array([tube.score for tube in found], float)
    counted = count_pair(overlap(pair.truth, found).tube_ious, scores)
    seen = {number: found[number] for number in counted.counted.tolist()}
    footage = media.open(pair.video)
    frame_of = {place: frame for frame, place in footage.places.items()}
    overlaps = dict(zip(row.frames, row.series.get("IoU", ()), strict=False))
    with footage.source as source:
        for shown, place in enumerate(telling_frames(row, list(seen.values()))):
            rgb = source.read(frame_of[place]).rgb
            true = {number: tube.masks[place] for number, tube in enumerate(pair.truth) if place in tube.masks}
            here = {number: tube.masks[place] for number, tube in seen.items() if place in tube.masks}
            drawn = draw_pair(rgb, true, counted.partners.keys(), here, set(counted.partners.values()))
            said = [f"{PurePosixPath(pair.video.file_names[place]).name}: {len(true)} true, {len(here)} found"]
            said += [f"IoU {overlaps[place]:.2f}"] if overlaps else []
            said += [LEGEND] if not shown else []
            yield Picture(row.name, "; ".join(said), drawn)


def draw_pair(
    rgb: RgbArray,
    true: Mapping[int, Mask],
    with_partner: Collection[int],
    found: Mapping[int, Mask],
    partners: Collection[int],
) -> RgbArray:
    """A frame with outlines, about 480 px wide; what has no partner is filled.

    Args:
        true, found: masks by number; ``with_partner`` and ``partners`` are those of them that belong together.
    """
    scale = min(1.0, _WIDTH_PX / rgb.shape[1])
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    shown = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    for masks, known, colour, width_px in ((true, with_partner, TRUE, 4), (found, partners, FOUND, 2)):
        for number, mask in masks.items():
            # Area sampling, so that what is small does not vanish.
            share = cv2.resize(mask.to_array().astype(np.float32), size, interpolation=cv2.INTER_AREA)
            inside = (share > 0.3).astype(np.uint8)
            if number not in known:
                shown[inside > 0] = (0.5 * shown[inside > 0] + 0.5 * np.array(colour)).astype(np.uint8)
            outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(shown, outlines, -1, colour, width_px, cv2.LINE_AA)
    return shown
