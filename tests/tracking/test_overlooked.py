"""Clicks that an answer goes against, and what becomes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import keepsight
from keepsight.core import Region
from keepsight.tracking.looks import Look, best_heeding, overlooked
from keepsight.tracking.prompting import Prompting
from keepsight.tracking.track import FramePrompt
from keepsight.video.source import ArrayVideo

SIZE = (64, 128)  # px of the frame; a cell of a look at all of it is 1 px high and 2 px wide
WHOLE = Region.whole(*SIZE)
SPOT = (102.0, 24.0)


def look(*boxes: tuple[int, int, int, int], region: Region = WHOLE, ious: list[float] | None = None) -> Look:
    """Candidates that fill boxes, in cells."""
    logits = torch.full((len(boxes), 64, 64), -5.0)
    for row, (x1, y1, x2, y2) in enumerate(boxes):
        logits[row, y1:y2, x1:x2] = 5.0
    return Look(region, logits, ious or [0.9] * len(boxes), 4.0, None)


def said(*clicks: tuple[float, float, int]) -> FramePrompt:
    return FramePrompt([(x, y) for x, y, _ in clicks], [label for _, _, label in clicks])


@pytest.mark.parametrize(
    ("click", "count"),
    [
        ((40.0, 30.0, 0), 1),  # in the middle of the mask
        ((19.0, 30.0, 0), 0),  # in it, near its edge
        ((40.0, 30.0, 1), 0),
        ((110.0, 30.0, 0), 0),  # far outside
        ((110.0, 30.0, 1), 1),
        ((67.0, 30.0, 1), 0),  # outside, near its edge
    ],
)
def test_a_click_is_overlooked_where_the_mask_goes_against_it_and_not_just_by_its_edge(click, count):
    assert overlooked(look((8, 10, 32, 50)), 0, said(click)) == count
    assert overlooked(look((8, 10, 32, 50)), 0, said(click), kinds=(1 - click[2],)) == 0


def test_what_a_look_cannot_show_it_only_overlooks_where_it_is_of_the_object():
    beside = look((0, 0, 64, 64), region=Region(0, 0, 32, 64))
    assert overlooked(beside, 0, said((100.0, 30.0, 0))) == 0
    assert overlooked(beside, 0, said((100.0, 30.0, 1))) == 1


def test_of_answers_that_heed_the_same_clicks_the_smallest_is_believed_that_is_no_speck():
    prompt = said((*SPOT, 1), (40.0, 30.0, 0), (42.0, 32.0, 0))
    wide = look((0, 0, 64, 64), (40, 0, 64, 64), (49, 20, 54, 28), (50, 23, 52, 25), ious=[0.99, 0.9, 0.5, 0.8])
    near = look((0, 0, 40, 40), region=Region(92, 14, 112, 34))
    assert best_heeding([wide], prompt, SIZE) == (0, 2)
    # 40 cells of a look 20 px wide are 12.5 px: more than the mask of 10 x 8 px that was found from afar.
    assert best_heeding([wide, near], prompt, SIZE) == (0, 2)


def test_two_clicks_that_are_overlooked_are_asked_about_as_if_there_were_no_mask(monkeypatch):
    asked = []

    def answer(self, said, regions, selection, step, sight, previous, threshold, *, several=False):
        asked.append((len(said[0]), previous is not None, several))
        boxes = [(0, 0, 64, 64), (49, 20, 54, 28)] if several else [(0, 0, 64, 64)]
        return [look(*boxes) for _ in regions[:1]]

    monkeypatch.setattr(Prompting, "_answer", answer)
    session = keepsight.load("builtin").open(ArrayVideo([np.zeros((*SIZE, 3), np.uint8)]))
    areas = []
    for x, y, label in ((*SPOT, 1), (40.0, 30.0, 0), (42.0, 32.0, 0)):
        areas.append(session.add(object_id=1, frame=0, points=[(x, y)], labels=[label]).mask.area)
    assert [entry for entry in asked if entry[2]] == [(3, False, True)]
    assert areas == [SIZE[0] * SIZE[1]] * 2 + [10 * 8]
    # With nothing that is said to be of the object there is nothing to begin anew from.
    asked.clear()
    session.add(object_id=2, frame=0, points=[(40.0, 30.0), (42.0, 32.0)], labels=[0, 0])
    assert not any(several for _, _, several in asked)
