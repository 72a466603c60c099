"""What is said beforehand is used when the run gets there."""

from __future__ import annotations

import pytest
from coloured import ColourBackbone, ScriptedDetector, Seen, areas, film, ids

from keepsight.concepts import ConceptRules, CorrectedSession
from keepsight.core import Prompt, Source
from keepsight.tracking import Tracker

A, B, C = (4, 4, 20, 20), (36, 36, 56, 56), (40, 4, 50, 14)
FILM = [{0: A, 1: B, 2: C}] * 30


def click(object_id, frame, x, y):
    return Prompt(object_id, frame, points=((float(x), float(y)),), labels=(1,))


def session(script, *corrections, removed=(), **rules):
    return CorrectedSession(
        Tracker(ColourBackbone()),
        film(FILM),
        "thing",
        ScriptedDetector(script),
        ConceptRules(**rules),
        corrections=corrections,
        removed=removed,
    )


def only(*boxes):
    return lambda frame: [Seen(box) for box in boxes]


@pytest.mark.parametrize("delay", [0, 15])
def test_a_found_object_is_refined_where_it_is_said_and_keeps_its_id(delay):
    # The click says that object 2 is the third thing, from frame 9 on.
    results = list(session(only(A, B), click(2, 9, 44, 8), hotstart_frames=delay).propagate())
    assert areas(results, 1) == dict.fromkeys(range(30), 256)
    seen = areas(results, 2)
    assert [seen[frame] for frame in (8, 9, 29)] == [400, 100, 100]
    assert results[9][2].source is Source.PROMPT
    # What it was is found again, under the next id.
    assert min(areas(results, 3)) == 10


def test_an_object_found_on_the_very_frame_of_its_correction_is_refined():
    results = list(session(only(A, B), click(1, 0, 44, 8)).propagate())
    assert areas(results, 1) == dict.fromkeys(range(30), 100)
    assert areas(results, 2) == dict.fromkeys(range(30), 400)


def test_any_other_id_adds_what_was_missed():
    results = list(session(only(A, B), click(7, 9, 44, 8)).propagate())
    assert ids(results) == {1, 2, 7}
    assert areas(results, 7) == dict.fromkeys(range(9, 30), 100)
    assert results[9][7].source is Source.PROMPT


def test_what_is_found_on_the_frame_on_which_it_is_added_is_there_once():
    made = session(lambda frame: [Seen(A)] if frame < 9 else [Seen(A), Seen(C)], click(7, 9, 44, 8))
    results = list(made.propagate())
    assert ids(results) == {1, 7}
    assert made.labels == {1: "thing", 7: "thing"}


def test_a_removed_object_never_shows_and_the_others_keep_their_ids():
    assert ids(list(session(only(A, B, C), removed=[2]).propagate())) == {1, 3}


def test_what_cannot_be_used_is_said_and_the_run_goes_on():
    made = session(only(A, B), click(2, 9, 44, 8), removed=[2])
    assert ids(list(made.propagate())) == {1}
    assert made.refused == [
        "What was said about object 2 on frame 9 was left out: Object 2 was removed; ids are never used again, take 3."
    ]


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("broken_off", [1, 7])
def test_broken_off_it_goes_on_as_if_it_had_not(broken_off, stride):
    said = [click(2, 9, 44, 8), click(9, 17, 40, 40)]
    rules = {"hotstart_frames": 4, "hotstart_unmatched": 3, "hotstart_duplicates": 3}
    whole = list(session(only(A, B), *said, **rules).propagate(stride=stride))
    assert {9, 17} <= {result.frame for result in whole}
    made = session(only(A, B), *said, **rules)
    steps = made.propagate(stride=stride)
    results = [next(steps) for _ in range(broken_off)]
    state = made.save_state()
    again = session(only(A, B), *said, **rules)
    again.load_state(state)
    results += list(again.propagate(stride=stride, resume=True))
    assert results == whole


@pytest.mark.parametrize("on_tracked", [True, False])
def test_a_mask_that_a_detection_made_says_so(on_tracked):
    made = session(only(A), recondition_every=4, recondition_on_tracked=on_tracked)
    sources = {result.frame: result[1].source for result in made.propagate()}
    assert [frame for frame, source in sources.items() if source is Source.DETECTED] == [0, 4, 8, 12, 16, 20, 24, 28]
    assert {sources[frame] for frame in (1, 3, 5, 29)} == {Source.TRACKED}
