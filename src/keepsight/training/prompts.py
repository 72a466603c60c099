"""Simulated users: clicks, boxes and corrective clicks drawn from a true mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Points: TypeAlias = list[tuple[float, float, int]]
"""x px, y px, label (1 on the object, 0 not, 2 / 3 corners of a box)."""

Bool = NDArray[np.bool_]

KINDS = ("click", "box", "clicks", "box+click", "loose")


def simulate(mask: Bool, kind: str, rng: np.random.Generator) -> Points:
    """Prompt of one kind for a non-empty mask (S, S).

    "click": one point on the object, mostly well inside. "box": corners off by up to a tenth of its size. "clicks": two
    to five, about a third of them negative and close by. "box+click": both. "loose": a careless box, up to a quarter
    too large on each side.
    """
    if kind == "click":
        return [_inside(mask, rng)]
    if kind == "box":
        return _box(mask, rng)
    if kind == "loose":
        return _box(mask, rng, loose=True)
    if kind == "box+click":
        return [*_box(mask, rng), _inside(mask, rng)]
    if kind == "clicks":
        points = [_inside(mask, rng)]
        for _ in range(int(rng.integers(1, 5))):
            points.append(_outside(mask, rng) if rng.random() < 0.35 else _inside(mask, rng))
        return points
    raise ValueError(f"unknown kind of prompt {kind!r}; one of {', '.join(KINDS)}")


def correct(truth: Bool, predicted: Bool, rng: np.random.Generator | None = None) -> Points:
    """The click a person would add: in the middle of the largest wrong patch; none where there is no error."""
    best: tuple[float, float, int] | None = None
    depth = 0.0
    for wrong, label in ((truth & ~predicted, 1), (predicted & ~truth, 0)):
        if not wrong.any():
            continue
        inner = cv2.distanceTransform(np.pad(wrong.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        if inner.max() > depth:
            depth = float(inner.max())
            if rng is None:
                y, x = np.unravel_index(int(inner.argmax()), inner.shape)
            else:
                ys, xs = np.nonzero(inner >= 0.6 * depth)
                i = int(rng.integers(len(ys)))
                y, x = ys[i], xs[i]
            best = (float(x), float(y), label)
    return [best] if best else []


def collate(prompts: Sequence[Points]) -> tuple[Tensor, Tensor]:
    """Prompts of B units as points (B, P, 2) and labels (B, P), padded with label -1; P is at least 1."""
    size = max(1, *(len(p) for p in prompts)) if prompts else 1
    points = torch.zeros(len(prompts), size, 2)
    labels = torch.full((len(prompts), size), -1, dtype=torch.int64)
    for i, prompt in enumerate(prompts):
        for j, (x, y, label) in enumerate(prompt):
            points[i, j, 0], points[i, j, 1], labels[i, j] = x, y, label
    return points, labels


def _inside(mask: Bool, rng: np.random.Generator) -> tuple[float, float, int]:
    if rng.random() < 0.75:
        depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        ys, xs = np.nonzero(depth >= rng.uniform(0.25, 0.95) * depth.max())
    else:
        ys, xs = np.nonzero(mask)
    i = int(rng.integers(len(ys)))
    return float(xs[i]), float(ys[i]), 1


def _outside(mask: Bool, rng: np.random.Generator) -> tuple[float, float, int]:
    x0, y0, x1, y1 = _extent(mask)
    reach = 0.35 * max(x1 - x0, y1 - y0) + 6
    size_y, size_x = mask.shape
    for _ in range(20):
        x = int(np.clip(rng.uniform(x0 - reach, x1 + reach), 0, size_x - 1))
        y = int(np.clip(rng.uniform(y0 - reach, y1 + reach), 0, size_y - 1))
        if not mask[y, x]:
            return float(x), float(y), 0
    return _inside(mask, rng)


def _extent(mask: Bool) -> tuple[float, float, float, float]:
    ys, xs = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)


def _box(mask: Bool, rng: np.random.Generator, loose: bool = False) -> Points:
    x0, y0, x1, y1 = _extent(mask)
    w, h = x1 - x0, y1 - y0
    dx, dy = np.clip(rng.normal(0, 0.04, (2, 2)), -0.1, 0.1)
    if loose:
        dx, dy = rng.uniform(-0.03, 0.25, (2, 2)) * (-1, 1)
    side_y, side_x = mask.shape
    xs = np.clip([x0 + dx[0] * w, x1 + dx[1] * w], 0, side_x)
    ys = np.clip([y0 + dy[0] * h, y1 + dy[1] * h], 0, side_y)
    return [(float(xs[0]), float(ys[0]), 2), (float(xs[1]), float(ys[1]), 3)]
