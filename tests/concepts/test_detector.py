"""What concepts and detections accept, and how rubbish from a detector is dropped and counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from keepsight.concepts import Concept, Detections, Exemplar, checked
from keepsight.core import InputError, ModelError


def test_the_text_of_a_concept_is_checked():
    assert Concept(1, "  person in blue ").text == "person in blue"
    assert Concept(1, "x" * 200).text == "x" * 200
    for number, text, said in [(1, " \t", "empty"), (1, "x" * 500, "at most 200 characters"), (0, "cow", "1 or more")]:
        with pytest.raises(InputError, match=said):
            Concept(number, text)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (float("nan"), 0, 5, 5)])
def test_an_exemplar_is_a_box(box):
    with pytest.raises(InputError, match="X2 > X1"):
        Exemplar(0, box)


def test_rows_that_do_not_belong_together_are_refused():
    with pytest.raises(ModelError, match="do not belong together"):
        Detections.of([1], [0.5, 0.6], [[0, 0, 5, 5]])
    with pytest.raises(ModelError, match=r"masks \(2, 4, 4\)"):
        Detections.of([1], [0.5], [[0, 0, 5, 5]], torch.ones(2, 4, 4))


def test_rubbish_is_dropped_and_counted_by_reason():
    nan = float("nan")
    good = [10, 10, 20, 30]
    rows = [
        (1, 0.9, good),
        (1, nan, good),
        (1, 0.5, [nan, 0, 5, 5]),
        (1, 1.5, good),
        (1, -0.1, good),
        (2, 0.5, [20, 10, 10, 30]),
        (2, 0.5, [200, 10, 300, 30]),
        (2, 0.5, [-5, -5, 1000, 1000]),
        (2, 0.5, good),
        (2, 0.5, good),
        (7, 0.5, good),
    ]
    masks = torch.ones(len(rows), 4, 4)
    masks[8] = -1
    masks[9, 0, 0] = nan
    concepts = [Concept(1, "cow"), Concept(2, "dog")]
    given = Detections.of(*zip(*rows, strict=True), masks)
    kept, dropped = checked(given, height=50, width=100, concepts=concepts)
    assert dropped == {"not finite": 3, "score": 2, "box": 2, "empty mask": 1, "concept": 1}
    assert kept.concepts.tolist() == [1, 2]
    # A box that sticks out is cut, not dropped.
    assert kept.boxes.tolist() == [[10, 10, 20, 30], [0, 0, 100, 50]]
    assert kept.masks is not None
    assert kept.masks.shape == (2, 4, 4)
    # What was given is left alone.
    assert np.isnan(given.boxes).any()


def test_nothing_found_is_nothing_dropped():
    kept, dropped = checked(Detections.none(), 50, 100)
    assert len(kept) == 0
    assert not dropped
