"""Things of several unlike parts that move against each other: people, animals and vehicles, drawn from shapes.

What a small model must learn about them is not what they look like but that head, coat and legs are one object.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.training.scenery import Photo, Sprite, noise_field, texture

F32 = NDArray[np.float32]


class Part(NamedTuple):
    """A rigid piece of an object.

    sprite: premultiplied RGBA. pivot: (2,) px of the sprite that stays at `place`, (2,) px of the object's own frame.
    swing: radians it turns to and fro about the pivot; phase: radians.
    """

    sprite: Sprite
    pivot: tuple[float, float]
    place: tuple[float, float]
    swing: float = 0.0
    phase: float = 0.0


def cloth(photos: list[Photo], rng: np.random.Generator, h: int, w: int, plain: float = 0.7) -> F32:
    """(h, w, 3) float32 colours of a surface; `plain` is the share of one-coloured ones, modelled by light."""
    side = max(h, w)
    if rng.random() < plain:
        colour = rng.uniform(15, 235) * np.clip(rng.normal(1, 0.2, 3), 0.3, 1.7)
        light = 1 + 0.05 * noise_field(rng, side, min(side, 40)) + rng.uniform(0.05, 0.25) * noise_field(rng, side, 3)
        out = np.asarray(colour * light[..., None], np.float32)
    else:
        out = texture(photos, rng, side)
    return np.asarray(np.clip(out, 0, 255)[:h, :w], np.float32)


def stamp(shape: NDArray[np.uint8], colour: F32) -> Sprite:
    """Sprite of a mask (h, w) uint8 and colours (h, w, 3)."""
    return np.dstack((colour * (shape.astype(np.float32)[..., None] / 255), shape)).astype(np.uint8)


def _canvas(h: float, w: float) -> NDArray[np.uint8]:
    return np.zeros((max(4, round(h)), max(4, round(w))), np.uint8)


def _poly(mask: NDArray[np.uint8], points: list[tuple[float, float]], value: int = 255) -> None:
    h, w = mask.shape
    pixels = np.round(np.array(points) * (w, h) * 16).astype(np.int32)
    cv2.fillPoly(mask, [pixels], value, cv2.LINE_AA, 4)


def _ellipse(mask: NDArray[np.uint8], cx: float, cy: float, rx: float, ry: float) -> None:
    h, w = mask.shape
    centre = (round(cx * w * 16), round(cy * h * 16))
    axes = (max(8, round(rx * w * 16)), max(8, round(ry * h * 16)))
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA, 4)


def _limb(photos: list[Photo], rng: np.random.Generator, length: float, wide: float, colour: F32 | None) -> Sprite:
    """A capsule that hangs down, sometimes with another colour at its end (hand, shoe)."""
    mask = _canvas(length, wide)
    h, w = mask.shape
    _poly(mask, [(0.1, 0), (0.9, 0), (rng.uniform(0.7, 1), 0.92), (0.8, 1), (0.2, 1), (rng.uniform(0, 0.3), 0.92)])
    flat = None if colour is None else np.resize(colour.mean((0, 1)), (h, w, 3))
    skin = np.asarray(cloth(photos, rng, h, w) if flat is None else flat, np.float32)
    skin = skin * (1 + 0.06 * noise_field(rng, max(h, w), 8)[:h, :w, None])
    end = int(h * rng.uniform(0.75, 0.95))
    skin[end:] = rng.uniform(10, 220) * np.clip(rng.normal(1, 0.15, 3), 0.5, 1.5)
    return stamp(mask, np.clip(skin, 0, 255).astype(np.float32))


def person(photos: list[Photo], rng: np.random.Generator, tall: int = 180) -> list[Part]:
    """Head with hair, coat, arms and walking legs; some carry a bag or wear a skirt."""
    wide = tall * rng.uniform(0.2, 0.34)
    body_h, leg_h, head = tall * rng.uniform(0.32, 0.42), tall * rng.uniform(0.4, 0.5), tall * rng.uniform(0.12, 0.17)
    coat = _canvas(body_h, wide)
    flare = rng.uniform(0, 0.2)
    hem = [(1 - flare, 0.95), (0.95 - flare, 1), (0.05 + flare, 1), (flare, 0.95)]
    _poly(coat, [(0.2, 0), (0.8, 0), (1, 0.15), *hem, (0, 0.15)])
    surface = cloth(photos, rng, *coat.shape)
    if rng.random() < 0.3:  # an open coat: something else shows below
        x = int(coat.shape[1] * rng.uniform(0.35, 0.5))
        surface[:, x : x + max(2, coat.shape[1] // 5)] = rng.uniform(10, 240, 3)
    parts: list[Part] = []
    walk, phase = rng.choice([0.0, 0.25, 0.5]), rng.uniform(0, 6.3)
    trousers = cloth(photos, rng, 8, 8)
    sleeve = surface if rng.random() < 0.7 else None
    leg_w = wide * rng.uniform(0.3, 0.45)
    arm_w, arm_h = wide * rng.uniform(0.2, 0.3), body_h * rng.uniform(0.75, 1.05)
    hip, top = (wide / 2, body_h * 0.93), 0.1 * body_h

    def limb(
        length: float, width: float, colour: F32 | None, at: tuple[float, float], swing: float, turn: float
    ) -> Part:
        sprite = _limb(photos, rng, length, width, colour)
        return Part(sprite, (sprite.shape[1] / 2, 0.06 * sprite.shape[0]), at, swing, turn)

    gap = leg_w * rng.uniform(0.1, 0.5)
    if rng.random() < 0.8:
        parts.append(limb(arm_h, arm_w, sleeve, (wide * 0.9, top), walk * 0.8, phase))
    parts.append(limb(leg_h, leg_w, trousers, (hip[0] + gap, hip[1]), walk, phase + np.pi))
    parts.append(limb(leg_h, leg_w, trousers, (hip[0] - gap, hip[1]), walk, phase))
    parts.append(Part(stamp(coat, surface), (0, 0), (0, 0)))
    if rng.random() < 0.8:
        parts.append(limb(arm_h, arm_w, sleeve, (wide * 0.1, top), walk * 0.8, phase + np.pi))
    face = _canvas(head * 1.15, head)
    _ellipse(face, 0.5, 0.5, 0.42, 0.46)
    tone = np.array([1.0, rng.uniform(0.7, 0.85), rng.uniform(0.5, 0.75)]) * rng.uniform(50, 240)
    light = 1 + 0.08 * noise_field(rng, face.shape[0], 4)[:, : face.shape[1], None]
    look = np.clip(np.resize(tone, (*face.shape, 3)) * light, 0, 255).astype(np.float32)
    hair = rng.uniform(10, 200) * np.clip(rng.normal(1, 0.2, 3), 0.5, 1.5)
    if rng.random() < 0.15:
        look[:] = hair  # from behind
    look[: int(face.shape[0] * rng.uniform(0.2, 0.5))] = hair
    parts.append(Part(stamp(face, look), (head / 2, head), (wide / 2, head * 0.05), rng.uniform(0, 0.1), phase))
    if rng.random() < 0.3:
        bag = _canvas(wide * rng.uniform(0.5, 1.1), wide * rng.uniform(0.5, 0.9))
        _poly(bag, [(0.1, 0), (0.9, 0), (1, 1), (0, 1)])
        at = (wide * rng.uniform(-0.1, 1.1), body_h * rng.uniform(0.1, 0.8))
        sprite = stamp(bag, cloth(photos, rng, *bag.shape))
        parts.append(Part(sprite, (bag.shape[1] / 2, 0), at, walk * 0.2, phase))
    return parts


def animal(photos: list[Photo], rng: np.random.Generator, long: int = 170) -> list[Part]:
    """Body, head, four walking legs and a tail in one fur, often with patches or ears of another colour."""
    body = _canvas(long * rng.uniform(0.32, 0.55), long * rng.uniform(0.6, 0.75))
    h, w = body.shape
    _ellipse(body, 0.5, 0.5, 0.48, 0.46)
    if rng.random() < 0.5:
        _poly(body, [(0.1, 0.3), (0.9, 0.1), (0.95, 0.6), (0.1, 0.8)])
    fur = cloth(photos, rng, long, long, 0.75)
    skin = fur[:h, :w].copy()
    if rng.random() < 0.4:
        patch = noise_field(rng, max(h, w), 4)[:h, :w] > 0.4
        skin[patch] = rng.uniform(10, 240, 3)
    tone = fur[:8, :8] if rng.random() < 0.7 else cloth(photos, rng, 8, 8)
    walk, phase = rng.choice([0.0, 0.3, 0.6]), rng.uniform(0, 6.3)
    parts: list[Part] = []
    leg_h, leg_w = h * rng.uniform(0.5, 1.1), max(5.0, w * rng.uniform(0.08, 0.16))
    for i, x in enumerate((0.2, 0.32, 0.72, 0.84)):
        leg = _limb(photos, rng, leg_h, leg_w, tone)
        parts.append(Part(leg, (leg.shape[1] / 2, 2), (w * x, h * 0.72), walk, phase + i * np.pi * 0.75))
    tail = _limb(photos, rng, w * rng.uniform(0.3, 0.6), max(4.0, w * 0.07), tone)
    parts.append(Part(tail, (tail.shape[1] / 2, 2), (w * 0.95, h * 0.35), rng.uniform(0.1, 0.6), phase))
    parts.append(Part(stamp(body, skin), (0, 0), (0, 0)))
    side = h * rng.uniform(0.55, 0.85)
    head = _canvas(side, side * rng.uniform(1, 1.4))
    _ellipse(head, 0.5, 0.6, 0.48, 0.38)
    long_ear = rng.uniform(0, 0.3)
    _poly(head, [(0.55, 0.4), (0.65, long_ear - 0.2), (0.75, 0.4)])
    _poly(head, [(0.75, 0.45), (0.9, long_ear - 0.1), (0.95, 0.5)])
    face = np.ascontiguousarray(fur[: head.shape[0], : head.shape[1]])
    if rng.random() < 0.25:
        face = cloth(photos, rng, *head.shape)
    cv2.circle(face, (int(head.shape[1] * 0.35), int(head.shape[0] * 0.5)), max(1, int(side * 0.05)), (10, 10, 10), -1)
    neck = (head.shape[1] * 0.7, head.shape[0] * 0.6)
    parts.append(Part(stamp(head, face), neck, (w * 0.1, h * rng.uniform(-0.1, 0.4)), rng.uniform(0, 0.25), phase))
    return parts


def vehicle(photos: list[Photo], rng: np.random.Generator, long: int = 180) -> list[Part]:
    """A painted body with dark windows and wheels, from the side; a box of a van or the curve of a car."""
    tall = rng.uniform(0.3, 0.6)
    mask = _canvas(long * tall, long)
    h, w = mask.shape
    roof0, roof1 = rng.uniform(0.02, 0.3), rng.uniform(0.6, 0.97)
    waist = rng.uniform(0.3, 0.5)
    outline = [
        (0.02, waist + 0.1),
        (roof0, 0.03),
        (roof1, 0.03),
        (rng.uniform(roof1, 0.97), waist),
        (0.98, waist + 0.1),
    ]
    _poly(mask, [*outline, (0.99, 0.82), (0.01, 0.82)])
    colour = cloth(photos, rng, h, w, 0.9)
    colour *= np.linspace(1.15, 0.75, h, dtype=np.float32)[:, None, None]
    glass = np.zeros_like(mask)
    panes = int(rng.integers(1, 5))
    for i in range(panes):
        x0 = roof0 + 0.03 + (roof1 - roof0) * i / panes
        x1 = roof0 + (roof1 - roof0) * (i + 1) / panes - 0.02
        _poly(glass, [(x0, 0.1), (x1, 0.1), (x1 + 0.01, waist), (x0 - 0.01, waist)])
    pane = rng.uniform(10, 120) * np.array([0.9, 1.0, 1.1])
    blend = glass[..., None].astype(np.float32) / 255
    reflection = pane + np.linspace(0, 80, w)[None, :, None]
    colour = np.asarray(colour * (1 - blend) + blend * reflection, np.float32)
    if rng.random() < 0.5:
        y = int(h * rng.uniform(waist + 0.05, 0.75))
        colour[y : y + max(2, h // 12)] = rng.uniform(10, 245, 3)
    wheel = h * rng.uniform(0.16, 0.24)
    for x in (rng.uniform(0.15, 0.25), rng.uniform(0.72, 0.85)):
        at = (int(x * w), int(h - wheel - 1))
        cv2.circle(mask, at, int(wheel), 255, -1, cv2.LINE_AA)
        dark = colour.astype(np.float32)
        cv2.circle(dark, at, int(wheel), (20, 20, 20), -1, cv2.LINE_AA)
        cv2.circle(dark, at, int(wheel * 0.55), (rng.uniform(60, 200),) * 3, -1, cv2.LINE_AA)
        colour = dark
    parts = [Part(stamp(mask, np.clip(colour, 0, 255).astype(np.float32)), (0, 0), (0, 0))]
    if rng.random() < 0.2:  # a rider or driver who sticks out
        head = _canvas(h * 0.4, h * 0.3)
        _ellipse(head, 0.5, 0.5, 0.48, 0.48)
        at = (w * rng.uniform(0.3, 0.6), h * 0.1)
        parts.insert(0, Part(stamp(head, cloth(photos, rng, *head.shape)), (0, h * 0.3), at))
    return parts
