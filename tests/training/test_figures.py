"""People, animals and vehicles drawn from shapes."""

import numpy as np

from keepsight.training import figures
from keepsight.training.clips import procedural_assets


def test_figures_are_several_parts_about_one_place() -> None:
    photos = procedural_assets(3).photos
    for make in (figures.person, figures.animal, figures.vehicle):
        for seed in range(10):
            parts = make(photos, np.random.default_rng(seed))
            assert all(p.sprite.shape[2] == 4 and p.sprite[..., 3].any() for p in parts)
            assert make is figures.vehicle or len(parts) >= 4
            assert all((p.sprite[..., :3] <= p.sprite[..., 3:].astype(int) + 1).all() for p in parts)
