"""Clips through a view that follows an object."""

import numpy as np

from keepsight.training.clips import procedural_assets
from keepsight.training.views import make_view_clip, placement


def test_a_view_clip_is_a_function_of_its_seed() -> None:
    assets = procedural_assets(1)
    first, again, other = (make_view_clip(assets, seed, 4, 128) for seed in (7, 7, 8))
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.frames, other.frames)


def test_views_keep_the_object_in_sight_and_jump_after_it() -> None:
    assets = procedural_assets(2)
    sizes, off, jumps, gone = [], [], 0, 0
    for seed in range(24):
        clip = make_view_clip(assets, seed, 8, 128)
        seen = clip.labels == clip.principal
        jumps += len(np.unique(clip.views, axis=0)) > 1
        gone += bool((~seen.any((1, 2))).any())
        for mask in seen[1:]:
            if mask.any():
                ys, xs = np.nonzero(mask)
                sizes.append(max(np.ptp(xs), np.ptp(ys)) / 128)
                off.append(max(abs(xs.mean() - 64), abs(ys.mean() - 64)) / 128)
    assert 0.2 < np.median(sizes) < 0.6
    assert np.median(off) < 0.2
    assert jumps >= 8
    assert gone >= 2


def test_what_does_not_move_stays_at_its_place_when_the_view_jumps() -> None:
    views = np.array([[0, 0, 100], [20, 10, 50]], np.float32)
    sx, sy, dx, dy = placement(views, 0, 1)
    # The point (40, 30) of the scene.
    assert np.isclose(sx * 0.4 + dx, (40 - 20) / 50)
    assert np.isclose(sy * 0.3 + dy, (30 - 10) / 50)
    assert placement(views, 1, 1) == (1.0, 1.0, 0.0, 0.0)
