"""Concepts in frames that come one by one."""

from __future__ import annotations

import numpy as np
import pytest
from coloured import ColourBackbone, ScriptedDetector, Seen, areas, film, ids

from keepsight.concepts import ConceptRules, ConceptStream
from keepsight.core import InputError
from keepsight.tracking import Tracker

A, B = (4, 4, 20, 20), (36, 36, 56, 56)


def stream(script, **rules) -> ConceptStream:
    return ConceptStream(Tracker(ColourBackbone()), "thing", ScriptedDetector(script), ConceptRules(**rules))


def play(made: ConceptStream, frames, start: int = 0):
    video = film(frames)
    return [made.step(video.read(frame).rgb) for frame in range(start, len(frames))]


def test_what_a_stream_gives_up_is_that_false_finds_show_until_they_go():
    made = stream(lambda frame: [Seen(A), Seen(B)] if frame < 3 else [Seen(A)])
    results = play(made, [{0: A, 1: B}] * 30)
    assert list(areas(results, 1)) == list(range(30))
    # Its eighth frame without a detection is frame 10.
    assert list(areas(results, 2)) == list(range(10))
    assert made.object_ids == [1]


def test_nothing_grows_with_the_stream():
    # Every other frame shows one more thing for a moment.
    made = stream(lambda frame: [Seen(A)] + ([Seen(B)] if frame % 12 == 0 else []), hotstart_unmatched=4)
    video = film([{0: A, 1: B}] * 240)
    numbers = []
    for frame in range(240):
        made.step(video.read(frame).rgb)
        if frame in (80, 224):
            tracks = made._loop.set.tracks.values()
            numbers.append((len(made._loop.lives.of), sum(len(track.bank) for track in tracks)))
    assert made.next_id > 15
    assert numbers[0] == numbers[1]


def test_a_click_adds_and_a_removal_holds():
    made = stream(lambda frame: [Seen(A)])
    video = film([{0: A, 1: B}] * 12)
    made.step(video.read(0).rgb)
    made.add(object_id=made.next_id, points=[(40, 40)])
    made.remove(1)
    results = [made.step(video.read(frame).rgb) for frame in range(1, 12)]
    assert ids(results) == {2}
    assert made.labels[2] == "thing"
    with pytest.raises(InputError, match="given up"):
        made.add(object_id=1, points=[(5, 5)])
    with pytest.raises(InputError, match="no object 1"):
        made.remove(1)
    with pytest.raises(InputError, match="uint8"):
        made.step(np.zeros((4, 4), np.float32))
