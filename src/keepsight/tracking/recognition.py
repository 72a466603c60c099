"""Whether what was found is the object: seen a second time from a better place, and checked by size and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from keepsight.core import Box, Region
from keepsight.memory import Step
from keepsight.tracking.appearance import resemblance
from keepsight.tracking.looks import alike, middle, without_strays
from keepsight.tracking.masks import measure, pieces_of
from keepsight.tracking.pace import expected_box, on_its_way, pace_known, stays_inside
from keepsight.tracking.sight import Sight
from keepsight.tracking.units import Unit, best_boxes
from keepsight.tracking.zoom import Zoom

DISMISSED_SCORE = -2.0
"""Presence logit of something that was found in place of a lost object and is not it."""

CONFINED_MARGIN = 0.15
"""How far beyond the box in which it is expected an object may be seen beside something that its mask has spread to, over its
size."""

LIKELY_IOU = 0.65
"""IoU estimate from which what seems to be a lost object is compared, from near, as if it had always been there. Less sure finds
must be near where it was: large objects that have left are most easily taken for what enters elsewhere."""

WIDEST = 1.5
"""Side of a third look over that of the second. Up: what is found further away is too small in it to be known."""

MOST_PIECES = 6
"""Pieces of a mask, the largest ones, among which a lost object is looked for."""


def single_out(units: Sequence[Unit], sight: Sight, zoom: Zoom) -> None:
    """Of what seems to be a lost object, or one that is not where it was expected, leaves the one piece that looks most like it,
    among those of a plausible size.

    Where everything is searched a mask is scattered over all that resembles the object a little, and a box around all of it
    shows nothing from near.
    """
    for unit in units:
        missing = unit.searching or (unit.last is not None and unit.last.lost)
        if not missing or unit.last is None or not unit.last.extent or unit.track.colours is None:
            continue
        logits = unit.offer.masks[unit.offer.best]
        likenesses: dict[Box, float] = {}
        for piece in pieces_of(logits, MOST_PIECES):
            box = unit.region.box_from_grid(piece, *logits.shape)
            if zoom.plausible(box, unit.last.extent, 1.0, guessed=unit.track.guessed):
                around = zoom.close_up(box, sight.size).within(unit.region)
                likenesses[piece] = resemblance(unit.track, logits, unit.region, sight, around)
        if likenesses:
            height, width = logits.shape
            x1, y1, x2, y2 = max(likenesses, key=lambda piece: likenesses[piece])
            window = (x1 / width, y1 / height, x2 / width, y2 / height)
            unit.offer = replace(unit.offer, masks=unit.offer.masks.confined(window))


def second_looks(units: Sequence[Unit], step: Step, size: tuple[int, int], zoom: Zoom) -> list[Unit]:
    """Moves the region of objects that were not seen well in the first one; gives the units to decode again.

    A lost object that seems to be found is confirmed from near before anybody is told; a mask that runs into the
    border of its region is seen whole; where a fast thing is not to be seen, or one of which nobody knows yet whether it is
    fast, more is looked at around where it was, for it is in the neighbourhood and may have turned round. All hypotheses of
    an object look at the same region.
    """
    regions: dict[int, Region] = {}
    places: dict[int, tuple[float, float]] = {}
    boxes = best_boxes(units, size)
    shown = {id(unit.track) for unit, box in zip(units, boxes, strict=True) if box is not None}
    for unit, box in zip(units, boxes, strict=True):
        last, better = unit.last, None
        if id(unit.track) in regions:
            continue
        if box is None:
            fast = unit.pace != (0.0, 0.0) or (last is not None and not last.lost and not pace_known(last))
            if fast and id(unit.track) not in shown:
                better = zoom.wider(unit.region, size, _left_behind(unit, step, size))
        elif last is not None and last.lost:
            better = zoom.close_up(box, size)
            if alike(better, unit.region):
                better = None
            elif float(unit.offer.ious.max()) >= LIKELY_IOU:
                places[id(unit.track)] = middle(box)
        else:
            better = zoom.recentre(box, last.extent if last else 0.0, unit.region, size)
        if better is not None and better != unit.region:
            regions[id(unit.track)] = better
    again = [unit for unit in units if id(unit.track) in regions]
    for unit in again:
        unit.region = regions[id(unit.track)]
        unit.searching = id(unit.track) not in shown
        unit.at = places.get(id(unit.track), unit.at)
        before = _left_behind(unit, step, size) if unit.searching else None
        if before is not None:
            unit.pace, unit.at = (0.0, 0.0), middle(before)
    return again


def third_looks(units: Sequence[Unit], size: tuple[int, int], zoom: Zoom) -> list[Unit]:
    """Moves the region of objects that a second, wider look has not shown, or has cut off, and of which nobody knows how fast
    they are; gives the units to decode again.

    Such a thing may be anywhere within three of its sizes, and if it is not seen now nobody will know where it goes.

    Args:
        units: what was looked at a second time.
    """
    unpaced = [unit for unit in units if unit.searching and unit.last is not None and not pace_known(unit.last)]
    if not unpaced:
        return []
    boxes = best_boxes(unpaced, size)
    shown = {
        id(unit.track)
        for unit, box in zip(unpaced, boxes, strict=True)
        if box is not None and not zoom.cut_off(box, unit.region, size)
    }
    further = []
    for unit in unpaced:
        region = zoom.wider(unit.region, size, times=WIDEST)
        if id(unit.track) not in shown and region != unit.region:
            unit.region = region
            further.append(unit)
    return further


def _left_behind(unit: Unit, step: Step, size: tuple[int, int]) -> Box | None:
    """Where an object was, in px of the frame, that has not gone on as it went, for it has stopped or turned round; ``None``
    where it has left the frame, or nobody knows."""
    last = unit.last
    return None if last is None or last.box is None or not stays_inside(last, step, size) else last.box


def dismiss(units: Sequence[Unit], step: Step, sight: Sight, zoom: Zoom, absent: Tensor | None) -> None:
    """Takes back what is not the object, by its size and colours.

    A lost object that seems to be found is checked always; one that is being followed only when its size has changed, for
    that is how a mask stays behind on something else when its object leaves, or spreads to what comes near; of the latter
    remains what lies where the object is expected, if that looks like it.

    Args:
        absent: pointer ``(1, C)`` of an object that is not there, where the model has one.
    """
    for unit, box in zip(units, best_boxes(units, sight.size), strict=True):
        if box is None or unit.last is None or not unit.last.extent:
            continue
        offer = unit.offer
        iou = float(offer.ious.max())
        if iou >= zoom.part_iou and zoom.swollen(box, unit.last.extent):
            box = _tidy_box(unit, sight.size, zoom)
        if unit.last.lost or unit.searching:
            keep = on_its_way(box, unit.last, step) and zoom.recognised(
                box,
                unit.last.extent,
                iou,
                _likeness(unit, sight),
                guessed=unit.track.guessed,
                just_seen=not unit.last.lost,
            )
        else:
            least = zoom.least_likeness(box, unit.last.extent)
            keep = not least or _likeness(unit, sight) >= least
            if not keep and zoom.swollen(box, unit.last.extent):
                keep = _confine(unit, expected_box(unit.last, step.frame, CONFINED_MARGIN), sight, zoom)
        if not keep:
            pointers = offer.pointers
            if pointers is not None and absent is not None:
                pointers = absent.expand_as(pointers)
            score = min(offer.object_score, DISMISSED_SCORE)
            unit.offer = replace(offer, masks=offer.masks.emptied(), object_score=score, pointers=pointers)


def _tidy_box(unit: Unit, size: tuple[int, int], zoom: Zoom) -> Box:
    """Box in px of the frame of the best candidate as it would be remembered, which must not be empty."""
    logits = without_strays(unit.offer.masks[unit.offer.best], unit.region, zoom, unit.last)
    _, (box,) = measure(logits[None])
    assert box is not None, "the largest piece stays"
    return unit.region.box_from_grid(box, *logits.shape)


def _confine(unit: Unit, box: Box, sight: Sight, zoom: Zoom) -> bool:
    """Leaves of a unit's masks what lies in a box, in px of the frame; all of it, and ``False``, where that is not the object."""
    region, offer = unit.region, unit.offer
    unit.offer = replace(offer, masks=offer.masks.confined(region.box_to_grid(box, 1, 1)))
    if _likeness(unit, sight) >= zoom.shrunk_likeness:
        return True
    unit.offer = offer
    return False


def _likeness(unit: Unit, sight: Sight) -> float:
    """How much the best candidate looks like the object, by colours; 1 when that is not known."""
    return resemblance(unit.track, unit.offer.masks[unit.offer.best], unit.region, sight)
