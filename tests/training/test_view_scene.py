"""The scene behind a view clip."""

import numpy as np

from keepsight.training.clips import procedural_assets
from keepsight.training.view_scene import Scene

SIZE = 128


def scene_of(seed: int) -> tuple[Scene, int]:
    scene = Scene(procedural_assets(1), np.random.default_rng(seed), 4, SIZE)
    principal = scene.add_principal(0.4 * SIZE)
    scene.add_others(principal)
    return scene, scene.order.index(principal) + 1


def drawn(scene: Scene, t: int, left: float = 0.0, top: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((SIZE, SIZE), np.uint8)
    canvas = scene.draw(labels, t, np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]]))
    return canvas, labels


def test_a_view_elsewhere_shows_the_same_scene() -> None:
    for seed in range(8):
        scene, _ = scene_of(seed)
        _, whole = drawn(scene, 2)
        _, moved = drawn(scene, 2, 24, -16)
        # Warps round in fixed point, so single pixels at an edge may differ.
        same = whole[: SIZE - 16, 24:] == moved[16:, : SIZE - 24]
        assert same.mean() > 0.999
        assert np.unique(whole).size > 1


def test_what_is_in_front_hides_the_object_and_has_no_label() -> None:
    hidden = 0
    for seed in range(16):
        scene, number = scene_of(seed)
        in_front = bool(scene.covers or scene.layers)
        _, before = drawn(scene, 1)
        scene.covers, scene.layers = [], []
        _, after = drawn(scene, 1)
        assert set(np.unique(after)) <= set(range(len(scene.order) + 1))
        assert ((before == after) | (before == 0)).all()
        assert in_front or np.array_equal(before, after)
        hidden += ((before == 0) & (after == number)).any()
    assert hidden >= 3
