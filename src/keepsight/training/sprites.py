"""Sprites on a canvas: brought to their size, put into other light, drawn, and blurred by their motion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.training.scenery import Sprite

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

Bend = tuple[float, float, float]
"""A wave through a sprite: amplitude in px, wave number per px, phase per frame."""

NO_BEND: Bend = (0.0, 0.0, 0.0)


def shrink(sprite: Sprite, scale: float) -> Sprite:
    """Area-filtered to its size in the frame, so that the bilinear warp does not alias."""
    if scale >= 1:
        return sprite
    size = (max(3, round(sprite.shape[1] * scale)), max(3, round(sprite.shape[0] * scale)))
    return cv2.resize(sprite, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def toned(sprite: Sprite, gain: F64, tone: F64, blend: float) -> Sprite:
    """A sprite in other light.

    Args:
        sprite: premultiplied RGBA.
        gain: (3,) exposure and colour of the light.
        tone: (3,) mean colour of the scene.
        blend: how far its mean colour goes to the tone, in [0, 1].
    """
    alpha = sprite[..., 3:].astype(np.float32) / 255
    colour = sprite[..., :3] * gain.astype(np.float32)
    mean = colour.sum((0, 1)) / max(float(alpha.sum()), 1.0)
    colour += alpha * (blend * (tone - mean)).astype(np.float32)
    return np.dstack((np.clip(colour, 0, alpha * 255), sprite[..., 3:])).astype(np.uint8)


def paste(canvas: F32, labels: U8, sprite: Sprite, matrix: F64, number: int, bend: Bend, t: int) -> None:
    """Draws a sprite over the canvas and its label over the labels, inside its bounding box only.

    Args:
        canvas: (S, S, 3) float32, drawn on.
        labels: (S, S), written where the sprite covers more than half of a pixel.
        sprite: premultiplied RGBA.
        matrix: (2, 3) from px of the sprite to px of the canvas.
        number: its label.
        bend, t: the wave through it, and the frame, which moves the wave.
    """
    size = canvas.shape[0]
    h, w = sprite.shape[:2]
    corners = matrix @ np.array([[0, w, w, 0], [0, 0, h, h], [1, 1, 1, 1.0]])
    pad = abs(bend[0]) + 1
    x0, y0 = np.maximum(np.floor(corners.min(1) - pad), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(corners.max(1) + pad), size).astype(int)
    if x1 - x0 < 1 or y1 - y0 < 1:
        return
    local = matrix.copy()
    local[:, 2] -= (x0, y0)
    if bend[0]:
        inverse = cv2.invertAffineTransform(local).astype(np.float32)
        xs = np.arange(x1 - x0, dtype=np.float32)[None]
        ys = np.arange(y1 - y0, dtype=np.float32)[:, None]
        xs_b = xs + np.float32(bend[0]) * np.sin(ys * np.float32(bend[1]) + np.float32(bend[2] * t))
        map_x = inverse[0, 0] * xs_b + inverse[0, 1] * ys + inverse[0, 2]
        map_y = inverse[1, 0] * xs_b + inverse[1, 1] * ys + inverse[1, 2]
        drawn = cv2.remap(sprite, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    else:
        drawn = cv2.warpAffine(sprite, local, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    alpha = drawn[..., 3:].astype(np.float32) * np.float32(1 / 255)
    view = canvas[y0:y1, x0:x1]
    view *= 1 - alpha
    view += drawn[..., :3]
    labels[y0:y1, x0:x1][alpha[..., 0] > 0.5] = number


def direction(rng: np.random.Generator) -> F64:
    """A unit vector (2,), any way."""
    a = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(a), np.sin(a)])


def line_kernel(reach: float, along: F64) -> F32:
    """Motion blur over `reach` px along a direction."""
    n = max(3, int(reach) | 1)
    line = np.zeros((n, n), np.float32)
    line[n // 2] = 1
    angle = float(np.degrees(np.arctan2(-along[1], along[0])))
    line = cv2.warpAffine(line, cv2.getRotationMatrix2D((n / 2 - 0.5, n / 2 - 0.5), angle, 1), (n, n))
    return np.asarray(line / max(float(line.sum()), 1e-3), np.float32)
