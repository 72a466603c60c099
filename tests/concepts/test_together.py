"""Words and clicks together, results that come late, checkpoints."""

from __future__ import annotations

import pytest
from coloured import SIDE, ScriptedDetector, Seen, areas, ids, session

from keepsight.concepts import Concept
from keepsight.core import InputError, Source, StoreError

A, B, C = (4, 4, 20, 20), (36, 36, 56, 56), (40, 4, 50, 14)


def only(*boxes):
    return lambda frame: [Seen(box) for box in boxes]


# -- clicks --------------------------------------------------------------------------------------------------------
def test_what_was_missed_is_added_and_what_was_found_keeps_its_id():
    made = session([{0: A, 1: B}] * 30, only(A))
    steps = made.propagate()
    results = [next(steps) for _ in range(3)]
    added = made.next_id
    assert made.add(object_id=added, frame=2, points=[(40, 40)]).mask.area == 400
    results += list(steps)
    assert ids(results) == {1, added}
    assert made.labels == {1: "thing", added: "thing"}
    # The frames up to the one last followed were followed without it, the results of which were still held back.
    assert sorted(areas(results, added)) == list(range(17, 30))


def test_a_found_object_is_refined_by_a_click_on_any_frame():
    made = session([{0: A, 1: B}] * 20, only(A))
    list(made.propagate())
    # The click says that the object is the other thing.
    assert made.add(object_id=1, frame=10, points=[(40, 40)], clear=True).mask.area == 400
    results = list(made.propagate(start=10))
    assert areas(results, 1)[19] == 400
    assert results[0][1].source is Source.PROMPT
    # What was object 1 is found again, as another one.
    assert areas(results, 2)[19] == 256


def test_an_object_that_a_person_pointed_at_is_never_on_trial():
    made = session([{0: A, 1: B}] * 30, only(A))
    made.add(object_id=7, frame=0, points=[(40, 40)])
    results = list(made.propagate())
    assert ids(results) == {7, 8}
    assert len(areas(results, 7)) == 30


def test_what_a_person_pointed_at_is_not_found_a_second_time():
    made = session([{0: A, 1: B}] * 20, words=["cow", "dog"])
    # No label says which of the two it is.
    made.add(object_id=1, frame=0, points=[(40, 40)])
    results = list(made.propagate())
    assert ids(results) == {1, 2}
    assert made.concept_of(1) is None
    assert made.concept_of(2).text == "cow"


def test_a_false_find_is_removed_for_good():
    made = session([{0: A, 1: B}] * 10 + [{0: A}] * 5 + [{0: A, 1: C}] * 20)
    steps = made.propagate()
    next(steps)
    made.remove(2)
    results = list(steps)
    assert ids(results) == {1}
    assert made.object_ids == [1]
    with pytest.raises(InputError, match="removed"):
        made.add(object_id=2, frame=20, points=[(42, 6)])
    with pytest.raises(InputError, match="no object 2"):
        made.remove(2)


def test_a_removal_that_is_not_for_good_lets_it_be_found_anew():
    made = session([{0: A, 1: B}] * 30)
    steps = made.propagate()
    next(steps)
    made.remove(2, for_good=False)
    assert ids(list(steps)) == {1, 3}


def test_ids_are_never_given_out_twice():
    # The second thing is found, undetected, given up, and found again.
    made = session([{0: A, 1: B}] * 60, lambda frame: [Seen(A), Seen(B)] if frame % 20 == 0 else [Seen(A)])
    list(made.propagate())
    assert made.next_id == 5
    with pytest.raises(InputError, match="given up"):
        made.add(object_id=2, frame=0, points=[(40, 40)])


def test_a_concept_may_be_added_on_the_way():
    seen = []

    class Asked(ScriptedDetector):
        def detect(self, sights, concepts):
            seen.append([concept.text for concept in concepts])
            return super().detect(sights, concepts)

    made = session([{0: A, 1: B}] * 20, detector=Asked(lambda frame: [Seen(A), Seen(B, concept=2)]))
    steps = made.propagate()
    next(steps)
    assert made.add_concept(" Dog ") == Concept(2, "Dog")
    assert made.add_concept("dog").number == 2
    results = list(steps)
    assert seen[0] == ["thing"]
    assert seen[-1] == ["thing", "Dog"]
    assert made.dropped == {"concept": 15}
    assert made.labels == {1: "thing", 2: "Dog"}
    assert min(areas(results, 2)) == 15


def test_examples_are_refused_by_a_detector_that_takes_none():
    with pytest.raises(InputError, match="'scripted' cannot be shown examples"):
        session([{0: A}] * 3).add_exemplar("thing", 0, (1, 1, 5, 5))


# -- late results --------------------------------------------------------------------------------------------------
def test_results_come_late_by_the_trial():
    detector = ScriptedDetector(only(A))
    made = session([{0: A}] * 20, detector=detector, hotstart_frames=5, hotstart_unmatched=4, hotstart_duplicates=4)
    steps = made.propagate()
    assert made.delay_frames == 4
    assert next(steps).frame == 0
    assert len(detector.calls) == 5
    assert made.visited == 1
    at_once = session([{0: A}] * 20, detector=ScriptedDetector(only(A)), hotstart_frames=0)
    next(at_once.propagate())
    assert len(at_once.detector.calls) == 1


def test_cancelled_it_gives_what_it_has():
    made = session([{0: A}] * 30)
    steps = made.propagate()
    results = [next(steps)]
    made.cancel()
    results += list(steps)
    assert [result.frame for result in results] == list(range(15))
    assert made.visited == 15


@pytest.mark.parametrize("broken_off", [1, 9, 26])
def test_broken_off_anywhere_it_goes_on_as_if_it_had_not(broken_off):
    frames = [{0: A, 1: B}] * 8 + [{0: A}] * 4 + [{0: A, 1: B, 2: C}] * 18
    script = lambda frame: [Seen(box) for box in frames[frame].values() if box != B or frame < 12]  # noqa: E731
    whole = list(session(frames, script).propagate())
    made = session(frames, script)
    steps = made.propagate()
    results = [next(steps) for _ in range(broken_off)]
    state = made.save_state()
    steps.close()
    again = session(frames, script)
    again.load_state(state)
    assert again.visited == broken_off
    assert again.concepts == made.concepts
    results += list(again.propagate(resume=True))
    assert results == whole
    assert again.next_id == 4


def test_a_state_of_clicks_is_no_state_of_concepts():
    made = session([{0: A}] * 5)
    from keepsight.tracking import Session, Tracker

    clicked = Session(made.backbone, Tracker(made.backbone).policy, made.options, made.video)
    clicked.add(object_id=1, frame=0, points=[(6, 6)])
    with pytest.raises((InputError, StoreError), match="not of concepts"):
        made.load_state(clicked.save_state())


def test_backward():
    made = session([{0: A}] * 10 + [{0: A, 1: B}] * 10)
    results = list(made.propagate(direction="backward"))
    assert [result.frame for result in results] == list(range(19, -1, -1))
    assert all(area == (400 if frame >= 10 else 0) for frame, area in areas(results, 2).items())
    assert made.video.width == SIDE
