"""Pointing and tracking at a desk: the tracker's own answers, stored; ways, barriers, and going on without doing anything twice."""

from __future__ import annotations

import pytest
from small_desks import BLUE, FRAMES, RED, Diary, clip, counts, square, stored, track, wait

import keepsight
from keepsight.annotation import Conflict, Locked, NotFound, Said, TrackRequest
from keepsight.core import InputError, Source
from keepsight.store import Split, Swap


def test_clicks_and_ways_give_what_a_plain_session_gives(desk, model):
    answer = desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    assert desk.preview(RED).result().mask == answer.mask.mask
    job = track(desk, 8, "forward")
    assert (job.state, job.done, job.total, job.objects) == ("finished", 15, 15, (1, 2))

    session = keepsight.load(str(model), device="cpu", dtype="float32").open(clip())
    for said in (RED, BLUE):
        number = 1 if said is RED else 2
        session.add(object_id=number, frame=said.frame, points=said.points, box=said.box)
    expected = {result.frame: result for result in session.propagate(8)}
    for number in (1, 2):
        masks = {f: r[number].mask.counts for f, r in expected.items() if number in [o.object_id for o in r.objects]}
        assert counts(desk, number) == masks
    assert stored(desk, 1)[8].source == Source.PROMPT
    assert stored(desk, 1)[9].source == Source.TRACKED
