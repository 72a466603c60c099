"""Phrases of a video, followed in step: each as it would be alone, every frame encoded once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "concepts"))

from coloured import ColourBackbone, ScriptedDetector, Seen, film

from keepsight.concepts import ConceptRules
from keepsight.core import InputError
from keepsight.evaluation.concepts.following import PhraseFollower, load_follower
from keepsight.evaluation.concepts.media import Footage
from keepsight.pipeline.settings import Settings
from keepsight.tracking import Tracker

A, B, C = (4, 4, 20, 20), (36, 36, 56, 56), (40, 4, 50, 14)
FRAMES = [{0: A, 1: B}] * 8 + [{1: B, 2: C}] * 12
KINDS = {"square": (A, B), "late": (C,), "faint": (B,), "nothing": ()}
SCORES = {"square": 0.9, "late": 0.8, "faint": 0.6}


class Reader(ScriptedDetector):
    """Sees the things of a kind; a faint one with a score that starts an object only where there is none yet."""

    def __init__(self, frames_per_call: int = 1) -> None:
        super().__init__(lambda frame: (), frames_per_call=frames_per_call)

    def detect(self, sights, concepts):
        [concept] = concepts
        there = KINDS[concept.text]
        score = SCORES.get(concept.text, 0.9)
        self.script = lambda frame: [Seen(box, score) for box in FRAMES[frame].values() if box in there]
        return super().detect(sights, concepts)


class Counting(ColourBackbone):
    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def encode_image(self, pixels):
        self.encoded += len(pixels)
        return super().encode_image(pixels)


def footage(places=None):
    return Footage(film(FRAMES), places or {frame: frame for frame in range(len(FRAMES))})


def follow(phrases, *, policy="sam3", at_once=8, detector=None, where=None, **rules):
    backbone = Counting()
    follower = PhraseFollower(
        Tracker(backbone, policy), lambda: detector or Reader(), ConceptRules(hotstart_frames=0, **rules), at_once
    )
    return follower.follow(where or footage(), phrases), backbone.encoded


def plain(tubes):
    return [(tube.score, dict(tube.masks)) for tube in tubes]


# The memory policy of SAM 3 scores frames over all objects of a session, so phrases that shared one would change each other.
@pytest.mark.parametrize("policy", ["sam2", "sam3"])
@pytest.mark.parametrize("frames_per_call", [1, 4])
def test_together_is_as_alone_and_every_frame_is_encoded_once(policy, frames_per_call):
    phrases = list(KINDS)
    together, encoded = follow(phrases, policy=policy, detector=Reader(frames_per_call))
    alone = [follow([phrase], policy=policy)[0][0] for phrase in phrases]
    assert [plain(tubes) for tubes in together] == [plain(tubes) for tubes in alone]
    assert [len(tubes) for tubes in together] == [2, 1, 1, 0]
    assert encoded == len(FRAMES)


def test_more_phrases_than_go_at_once_take_more_passes_and_are_the_same():
    together, encoded = follow(list(KINDS), at_once=2)
    assert [plain(tubes) for tubes in together] == [plain(tubes) for tubes in follow(list(KINDS))[0]]
    assert encoded == 2 * len(FRAMES)


def test_a_tube_has_the_masks_of_the_scored_frames_and_the_score_with_which_it_was_found():
    # Every third frame is scored, the last one is not: nothing is followed after the last scored one.
    [[square, other]], encoded = follow(["square"], where=footage({0: 0, 3: 1, 6: 2, 9: 3, 12: 4}))
    assert encoded == 13
    assert sorted(square.masks) == [0, 1, 2]
    assert sorted(other.masks) == [0, 1, 2, 3, 4]
    assert square.masks[1].box == A
    assert (square.score, other.score) == (pytest.approx(0.9), pytest.approx(0.9))


def test_a_detector_that_reads_no_words_looks_once_for_all_phrases():
    class Blind(ScriptedDetector):
        understands_words = False

    detector = Blind(lambda frame: [Seen(box) for box in FRAMES[frame].values()])
    tubes, encoded = follow(["this", "that", "other"], detector=detector)
    assert encoded == len(FRAMES)
    assert len(tubes) == 3
    assert len(tubes[0]) == 3
    assert plain(tubes[0]) == plain(tubes[2])


def test_a_phrase_that_is_not_accepted_is_named():
    with pytest.raises(InputError, match="array: 'xxx"):
        follow(["square", "x" * 300])


def test_a_detector_that_wants_an_example_is_refused_before_anything_is_loaded():
    with pytest.raises(InputError, match="a set has phrases only"):
        load_follower(Settings(detector="like"), lambda event: None)
