"""Pictures made of numbers: textured blobs, occluders and noise landscapes for the synthetic clips."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Sprite: TypeAlias = NDArray[np.uint8]
"""(H, W, 4) uint8, colour premultiplied by alpha."""

Photo: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


def noise_field(rng: np.random.Generator, side: int, cells: int) -> NDArray[np.float32]:
    """Smooth noise of mean 0 and deviation about 1, (side, side); more cells make it busier."""
    coarse = rng.standard_normal((cells + 1, cells + 1)).astype(np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def procedural_photo(rng: np.random.Generator, side: int) -> Photo:
    """A landscape of coloured noise at several scales."""
    image = np.zeros((side, side, 3), np.float32)
    for cells in (3, 8, 24, 80):
        for channel in range(3):
            image[..., channel] += noise_field(rng, side, cells) * rng.uniform(4, 34)
        image += noise_field(rng, side, cells)[..., None] * rng.uniform(4, 24)
    return np.clip(image + rng.uniform(60, 180, 3), 0, 255).astype(np.uint8)


def texture(photos: list[Photo], rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """(side, side, 3) float32: a piece of a photograph, stripes, checks, noise or a gradient."""
    kind = rng.random()
    if kind < 0.55 and photos:
        photo = photos[int(rng.integers(len(photos)))]
        h, w = photo.shape[:2]
        cut = int(min(h, w, side * rng.uniform(0.5, 2.2)))
        y, x = int(rng.integers(h - cut + 1)), int(rng.integers(w - cut + 1))
        piece = cv2.resize(photo[y : y + cut, x : x + cut], (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(piece * rng.uniform(0.6, 1.4) * rng.normal(1, 0.15, 3), np.float32)
    a, b = rng.uniform(10, 245, 3), rng.uniform(10, 245, 3)
    yy, xx = np.mgrid[0:side, 0:side].astype(np.float32) / side
    turn = rng.uniform(0, np.pi)
    along = xx * np.cos(turn) + yy * np.sin(turn)
    if kind < 0.70:
        mix = (np.sin(along * rng.uniform(12, 70)) > rng.uniform(-0.5, 0.5)).astype(np.float32)
    elif kind < 0.85:
        mix = 1 / (1 + np.exp(-2.5 * noise_field(rng, side, int(rng.integers(3, 22)))))
    else:
        mix = np.clip(along, 0, 1)
        b = np.clip(a + rng.normal(0, 40, 3), 0, 255)
    out = a * (1 - mix[..., None]) + b * mix[..., None]
    return np.asarray(out + noise_field(rng, side, 40)[..., None] * rng.uniform(0, 12), np.float32)


def blob_sprite(photos: list[Photo], rng: np.random.Generator, side: int) -> Sprite:
    """A textured shape: a wavy outline (Fourier series of the radius), sometimes with limbs or a sharp polygon."""
    shape = np.zeros((side, side), np.uint8)
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = np.ones_like(angles)
    for k in range(2, 7):
        radius += rng.normal(0, 0.35 / k) * np.cos(k * angles + rng.uniform(0, 6.3))
    radius = np.clip(radius, 0.25, None)
    kind = rng.random()
    if kind < 0.2:
        pick = np.sort(rng.choice(96, int(rng.integers(3, 8)), replace=False))
        angles, radius = angles[pick], radius[pick]
    squash = rng.uniform(0.35, 1)
    points = np.stack((radius * np.cos(angles), radius * np.sin(angles) * squash), 1)
    points *= 0.46 * side / max(1e-3, float(np.abs(points).max()))
    cv2.fillPoly(shape, [np.round((points + side / 2) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    if kind > 0.7:  # limbs
        for _ in range(int(rng.integers(2, 6))):
            tip = tuple(int(v) for v in rng.uniform(0.06, 0.94, 2) * side)
            cv2.line(shape, (side // 2, side // 2), tip, 255, int(rng.integers(3, max(4, side // 7))), cv2.LINE_AA)
    shade = 1 + 0.25 * noise_field(rng, side, 2)[..., None] * (rng.random() < 0.6)
    if rng.random() < 0.25:  # a plain body, modelled by light alone
        plain = rng.uniform(30, 230) * np.clip(rng.normal(1, 0.15, 3), 0.4, 1.6)
        fur = 1 + 0.06 * noise_field(rng, side, 60) + 0.22 * noise_field(rng, side, 3)
        colour = np.clip(plain * fur[..., None], 0, 255)
    else:
        colour = np.clip(texture(photos, rng, side) * shade, 0, 255)
    alpha = shape.astype(np.float32)[..., None] / 255
    return np.dstack((colour * alpha, shape)).astype(np.uint8)


def occluder_layer(photos: list[Photo], rng: np.random.Generator, size: int) -> Sprite:
    """Something in front of everything, 1.5 x the frame: a fence, a pole, or leaves."""
    side = size * 3 // 2
    mask = np.zeros((side, side), np.uint8)
    kind = rng.random()
    if kind < 0.4:
        gap, thick = int(rng.integers(14, 46)), int(rng.integers(2, 8))
        for x in range(int(rng.integers(gap)), side, gap):
            mask[:, x : x + thick] = 255
        for y in range(int(rng.integers(gap * 3)), side, gap * int(rng.integers(2, 5))):
            mask[y : y + thick] = 255
    elif kind < 0.75:
        x, thick = int(rng.uniform(0.3, 0.7) * side), int(rng.integers(8, 52))
        mask[:, x : x + thick] = 255
    else:
        field = noise_field(rng, side, int(rng.integers(8, 26)))
        mask = np.where(field > rng.uniform(1.1, 1.7), 255, 0).astype(np.uint8)
    turn = rng.normal(0, 25) if rng.random() < 0.7 else rng.uniform(0, 180)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), float(turn), 1.25)
    mask = cv2.warpAffine(mask, matrix, (side, side)).astype(np.uint8)
    colour = np.clip(texture(photos, rng, side), 0, 255)
    return np.dstack((colour * (mask[..., None] / np.float32(255)), mask)).astype(np.uint8)
