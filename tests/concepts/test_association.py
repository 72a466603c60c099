"""Matching of detections and objects on small hand-made masks."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.concepts.association import ANY_CONCEPT, associate, doubled, mask_ious, shrunk
from keepsight.concepts.settings import ConceptRules

RULES = ConceptRules()


def bars(*spans: tuple[int, int]) -> torch.Tensor:
    """Masks of 4 rows that cover columns ``[a, b)`` of 20."""
    masks = torch.zeros(len(spans), 4, 20, dtype=torch.bool)
    for row, (a, b) in enumerate(spans):
        masks[row, :, a:b] = True
    return masks


def matched(detected, scores, followed, concepts=None, followed_concepts=None, rules=RULES):
    ones = np.ones(len(scores), np.int64)
    return associate(
        bars(*detected),
        np.array(scores, np.float32),
        ones if concepts is None else np.array(concepts),
        bars(*followed),
        np.ones(len(followed), np.int64) if followed_concepts is None else np.array(followed_concepts),
        rules,
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ious_are_those_of_the_pairs(seed):
    generator = np.random.default_rng(seed)
    a, b = generator.random((3, 5, 7)) < 0.4, generator.random((2, 5, 7)) < 0.4
    a[0] = b[0] = False
    ious = mask_ious(torch.from_numpy(a), torch.from_numpy(b))
    pairs = [[(x & y).sum() / max((x | y).sum(), 1) for y in b] for x in a]
    assert np.allclose(ious, pairs)


def test_without_objects_every_detection_is_new():
    assert matched([(0, 5), (8, 12)], [0.55, 0.9], []).new.tolist() == [0, 1]


def test_a_new_object_needs_a_better_score_than_a_match():
    found = matched([(0, 5), (8, 12), (14, 19)], [0.9, 0.6, 0.7001], [(0, 5)])
    assert found.new.tolist() == [2]
    assert found.pairs.tolist() == [[True], [False], [False]]


def test_a_weak_overlap_matches_but_does_not_count_as_seen():
    found = matched([(0, 10)], [0.9], [(8, 12)])
    assert found.pairs.all()
    assert found.unmatched.tolist() == [True]
    assert found.new.size == 0


def test_empty_objects_are_not_unmatched():
    found = matched([], [], [(0, 5), (3, 3)])
    assert found.unmatched.tolist() == [True, False]
    assert found.empty.tolist() == [False, True]


def test_concepts_do_not_match_each_other_but_a_nameless_object_matches_all():
    found = matched([(0, 5), (0, 5)], [0.9, 0.9], [(0, 5)], [1, 2], [1])
    assert found.new.tolist() == [1]
    assert matched([(0, 5)], [0.9], [(0, 5)], [2], [ANY_CONCEPT]).new.size == 0


def test_one_detection_of_two_objects():
    found = matched([(0, 10)], [0.9], [(0, 9), (1, 10)])
    assert found.pairs.tolist() == [[True, True]]
    alone = matched([(0, 10)], [0.9], [(0, 8), (1, 10)], rules=ConceptRules(one_to_one=True))
    assert alone.pairs.tolist() == [[False, True]]
    assert alone.new.size == 0


def test_the_assignment_is_the_best_one_over_all_pairs():
    # Each detection overlaps object 0 most; taken one by one object 1 would stay without.
    found = matched([(0, 10), (2, 14)], [0.9, 0.9], [(0, 12), (8, 14)], rules=ConceptRules(one_to_one=True))
    assert found.pairs.tolist() == [[True, False], [False, True]]


def test_only_sure_detections_recondition():
    found = matched([(0, 10), (12, 16), (17, 20)], [0.9, 0.9, 0.7], [(0, 10), (12, 19), (17, 20)])
    assert found.confident.tolist() == [0, -1, -1]


def test_an_object_below_a_stronger_one_is_shrunk_within_its_concept_only():
    logits = torch.where(bars((0, 10), (1, 10), (0, 10)), 1.0, -1.0)
    logits[0] *= 3
    assert shrunk(logits, np.array([1, 1, 2]), 0.3).tolist() == [False, True, False]
    assert not shrunk(logits, np.array([1, 1, 2]), 0).any()


def test_of_two_on_one_thing_the_one_lost_last_is_emptied():
    masks, same = bars((0, 10), (0, 10), (12, 19)), np.ones(3, int)
    assert doubled(masks, same, np.array([3, 7, 9]), 0.7).tolist() == [False, True, False]
    # Who was never lost empties nobody.
    assert not doubled(masks, same, np.array([-1, 7, 9]), 0.7).any()
    assert not doubled(masks, np.array([1, 2, 2]), np.array([3, 7, 9]), 0.7).any()
