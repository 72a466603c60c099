"""Tubes for tests: as arrays, so that naive code can count on them, and as the evaluation wants them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st

from keepsight.core import Mask
from keepsight.evaluation.concepts import Tube

SIZE = (24, 32)


def tube(frames: Mapping[int, np.ndarray], score: float = 1.0, crowd: bool = False) -> Tube:
    """A tube of bool arrays by frame; empty ones are left out, as the readers do."""
    return Tube({frame: Mask.from_array(array) for frame, array in frames.items() if array.any()}, score, crowd)


def box(left: int, top: int, right: int, bottom: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    made = np.zeros(size, bool)
    made[top:bottom, left:right] = True
    return made


def bar(width: int, score: float = 1.0, frames: int = 1, row: int = 0) -> Tube:
    """A strip of one row, ``width`` px long, the same on all frames."""
    return tube({frame: box(0, row, width, row + 1, (8, 100)) for frame in range(frames)}, score)


def drawn(seed: int, tubes: int, frames: int, *, near: list[dict[int, np.ndarray]] | None = None, size=SIZE):
    """Tubes as arrays by frame: blobs that wander, are away now and then, or follow those of ``near`` badly."""
    rng = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    made = []
    for _ in range(tubes):
        arrays: dict[int, np.ndarray] = {}
        at = rng.uniform((0, 0), size)
        radius = rng.uniform(0.1, 0.55, 2) * size
        leader = near[int(rng.integers(len(near)))] if near and rng.random() < 0.8 else None
        shift = rng.integers(-2, 3, 2) * (rng.random() < 0.6)
        for frame in range(frames):
            at = at + rng.normal(0, 1, 2)
            if rng.random() < 0.2:
                continue
            if leader is not None and frame in leader:
                arrays[frame] = np.roll(leader[frame], shift, (0, 1)) & (rng.random(size) < rng.choice([1.0, 0.9]))
            else:
                arrays[frame] = ((rows - at[0]) / radius[0]) ** 2 + ((columns - at[1]) / radius[1]) ** 2 < 1
        # A frame without a pixel is a frame without a mask.
        made.append({frame: array for frame, array in arrays.items() if array.any()})
    return made


@st.composite
def scenes(draw, least_pairs: int = 1, most_pairs: int = 5):
    """Pairs of video and phrase: true and found tubes as arrays, and the scores of the found ones."""
    pairs = []
    for _ in range(draw(st.integers(least_pairs, most_pairs))):
        seed = draw(st.integers(0, 10_000))
        frames = draw(st.integers(1, 5))
        truth = drawn(seed, draw(st.integers(0, 3)), frames)
        found = drawn(seed + 1, draw(st.integers(0, 4)), frames, near=truth)
        scores = draw(
            st.lists(st.sampled_from([0.1, 0.4, 0.5, 0.51, 0.7, 0.9, 1.0]), min_size=len(found), max_size=len(found))
        )
        pairs.append((truth, found, scores))
    return pairs
