"""The crowd of the selection benchmark: what leaves is away, what stays is there."""

from __future__ import annotations

import numpy as np

from selection import Crowd
from sprites import Pictures


def test_two_thirds_of_a_crowd_are_away_in_the_middle():
    crowd = Crowd(Pictures.made_up(), 3, objects=9, length=30)
    seen = [set(np.unique(crowd.labels(frame))) - {0} for frame in (0, 15, 29)]
    assert seen[0] == seen[2] == set(range(1, 10))
    assert seen[1] == {7, 8, 9}
    assert crowd.read(15).rgb.shape == (540, 960, 3)
