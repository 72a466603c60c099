"""Find the others: those of a kind are found from one of them, other things are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import tiny_models
from keepsight.concepts import Concept, ConceptRules, ConceptSession, Exemplar, TakesExemplars
from keepsight.concepts.likeness import LikenessDetector, LikenessRules
from keepsight.core import InputError, ModelError
from keepsight.models.builtin.backbone import load_builtin
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.tracking import Sight, Tracker
from keepsight.tracking.masks import masks_at_size
from keepsight.video import ArrayVideo

HEIGHT, WIDTH = 240, 400
STARS = [(50, 60), (180, 50), (330, 70), (110, 180)]
DISCS = [(260, 170), (350, 190), (40, 200)]


@pytest.fixture(scope="module")
def backbone():
    return load_builtin()


def star(canvas, centre, turn):
    """A red star with a white heart."""
    angles = np.arange(10) * np.pi / 5 + turn
    radii = np.where(np.arange(10) % 2, 13, 26)
    corners = np.stack((centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)), 1)
    cv2.fillPoly(canvas, [corners.round().astype(np.int32)], (220, 30, 40), cv2.LINE_AA)
    cv2.circle(canvas, centre, 6, (245, 245, 245), -1)


def picture(shift=0):
    rng = np.random.default_rng(0)
    rgb = cv2.resize(rng.integers(70, 150, (12, 20, 3), dtype=np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for k, (x, y) in enumerate(STARS):
        star(rgb, (x + shift, y), 0.3 * k)
    for x, y in DISCS:
        cv2.circle(rgb, (x + shift, y), 24, (40, 60, 220), -1)
        cv2.line(rgb, (x + shift - 20, y), (x + shift + 20, y), (250, 230, 60), 5)
    return np.clip(rgb + rng.normal(0, 2, rgb.shape), 0, 255).astype(np.uint8)


def around(centre, positive=True, frame=0):
    x, y = centre
    return Exemplar(frame, (x - 27, y - 27, x + 27, y + 27), positive)


def shown(backbone, *exemplars, **rules):
    detector = LikenessDetector(backbone, LikenessRules(**rules))
    concept = Concept(5, "star", exemplars)
    for exemplar in exemplars:
        detector.learn(Sight(backbone, picture()), concept, exemplar)
    return detector, concept


def hit(detections, centres):
    """How many of the places lie in a find, and how many finds lie on none of them."""
    middles = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2
    away = np.linalg.norm(middles[:, None] - np.array(centres)[None], axis=2)
    return int((away.min(0) < 10).sum()), int((away.min(1) >= 10).sum())


def test_the_others_are_found_and_other_things_are_not(backbone):
    assert isinstance(LikenessDetector(backbone), TakesExemplars)
    detector, concept = shown(backbone, around(STARS[0]))
    [found] = detector.detect([Sight(backbone, picture())], [concept])
    found = found.only(found.scores >= 0.5)
    assert hit(found, STARS) == (4, 0)
    assert set(found.concepts) == {5}
    for mask in masks_at_size(list(found.masks), HEIGHT, WIDTH):
        assert 400 < mask.area < 2200
    # And on another frame, from the same example.
    [later] = detector.detect([Sight(backbone, picture(12))], [concept])
    assert hit(later.only(later.scores >= 0.5), [(x + 12, y) for x, y in STARS])[0] >= 3


def test_it_is_the_example_that_decides(backbone):
    detector, concept = shown(backbone, around(DISCS[0]))
    [found] = detector.detect([Sight(backbone, picture())], [concept])
    found = found.only(found.scores >= 0.5)
    assert hit(found, DISCS)[0] == 3
    assert hit(found, STARS)[0] == 0


def test_two_kinds_in_one_run(backbone):
    detector = LikenessDetector(backbone)
    concepts = [Concept(1, "star", (around(STARS[0]),)), Concept(2, "disc", (around(DISCS[0]),))]
    for concept in concepts:
        detector.learn(Sight(backbone, picture()), concept, concept.exemplars[0])
    [found] = detector.detect([Sight(backbone, picture())], concepts)
    found = found.only(found.scores >= 0.5)
    assert hit(found.only(found.concepts == 1), STARS)[0] == 4
    assert hit(found.only(found.concepts == 2), DISCS)[0] == 3


def test_it_finds_for_a_tracker_of_another_model_too(backbone):
    other = HFVideoBackbone(tiny_models.sam2())
    detector, concept = shown(backbone, around(STARS[0]))
    ours, theirs = (detector.detect([Sight(b, picture())], [concept])[0] for b in (backbone, other))
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)


def test_in_a_session_they_get_ids_and_are_followed(backbone):
    video = ArrayVideo(np.stack([picture(2 * t) for t in range(4)]))
    concept = Concept(1, "star", (around(STARS[0]),))
    session = ConceptSession(
        Tracker(backbone), video, concept, LikenessDetector(backbone), ConceptRules(detect_every=4, hotstart_frames=0)
    )
    results = list(session.propagate())
    assert [sum(item.present for item in result.objects) for result in results] == [4] * 4


def test_what_cannot_be_is_one_line(backbone):
    with pytest.raises(ModelError, match="cannot find look-alikes; use --model builtin or sam3"):
        LikenessDetector(HFVideoBackbone(tiny_models.sam2()))
    with pytest.raises(InputError, match="shown no example of 'star'"):
        LikenessDetector(backbone).detect([Sight(backbone, picture())], [Concept(1, "star")])
    with pytest.raises(InputError, match=r"like: context must be"):
        LikenessRules(context=0.5)


def test_where_nothing_is_alike_nothing_is_found(backbone):
    detector, concept = shown(backbone, around(STARS[0]))
    empty = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    [found] = detector.detect([Sight(backbone, empty)], [concept])
    assert not (found.scores >= 0.5).any()
