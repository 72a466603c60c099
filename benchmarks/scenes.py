"""Scenes of the held-out clips: scenery, a camera, things that move, cross, leave, return, and what hides or resembles them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from sprites import F64, U8, Actor, Pictures, blob, paste, scaled, tinted

WIDTH, HEIGHT = 1920, 1080
SIZE_CLASSES = ((15, 30), (30, 60), (60, 120), (120, 240), (240, 400))
"""Larger side of the object's box on the first frame in px."""

_WORLD = (2688, 1512)  # width, height of the scenery; the camera sees 1920 x 1080 of it
_MARGIN = ((_WORLD[0] - WIDTH) / 2, (_WORLD[1] - HEIGHT) / 2)


@dataclass
class Scene:
    world: U8
    cameras: F64  # (T, 3): x, y of the view's centre in the world, zoom
    actors: list[Actor]
    numbers: list[int]  # label of each actor; 0 for what only hides
    events: list[str]
    twins: dict[int, int]
    gains: F64
    noise: float
    quality: int
    blur: float
    tile: NDArray[np.int16] = field(repr=False)


def make_scene(pictures: Pictures, rng: np.random.Generator, length: int, classes: Sequence[int]) -> Scene:
    photo = pictures.photo(int(rng.integers(len(pictures.photos))))
    world = _make_world(pictures, photo, rng)
    cameras = _camera(rng, length)
    tone = cv2.resize(world, (1, 1), interpolation=cv2.INTER_AREA)[0, 0].astype(np.float64)
    targets: list[Actor] = []
    events: list[str] = []
    for wanted in classes:
        event = str(rng.choice(["stays", "returns", "leaves", "hidden", "crosses"], p=[0.32, 0.22, 0.1, 0.18, 0.18]))
        if event == "crosses" and not targets:
            event = "stays"
        low, high = SIZE_CLASSES[wanted]
        side = float(np.exp(rng.uniform(np.log(low * 1.1), np.log(high * 0.93))))
        sprite = tinted(_pick(pictures, photo, rng, side), rng, tone)
        targets.append(_target(sprite, side, event, rng, length, cameras, targets))
        events.append(event)
    numbers = [*rng.permutation(len(targets)) + 1]
    actors = [targets[number - 1] for number in numbers]  # who is in front is drawn, too
    twins: dict[int, int] = {}
    extras: list[Actor] = []
    for number, (target, event) in enumerate(zip(targets, events, strict=True), 1):
        if rng.random() < 0.34:
            twins[number] = len(targets) + len(twins) + 1
            twin = _look_alike(target, rng, length)
            at = int(rng.integers(len(actors) + 1))
            actors.insert(at, twin)
            numbers.insert(at, twins[number])
        if event == "hidden":
            extras.append(_hideout(pictures, photo, target, rng, length, cameras))
    if rng.random() < 0.3:
        extras += _bars(photo, targets[int(rng.integers(len(targets)))], rng, length, cameras)
    return Scene(
        world=world,
        cameras=cameras,
        actors=[*actors, *extras],
        numbers=[int(n) for n in numbers] + [0] * len(extras),
        events=events,
        twins=twins,
        gains=rng.uniform(0.8, 1.1) * np.exp(np.cumsum(rng.normal(0, 0.012, length)) * (rng.random() < 0.4)),
        noise=float(rng.choice([0.0, 2.0, 4.5], p=[0.3, 0.5, 0.2])),
        quality=int(rng.integers(60, 93)),
        blur=float(rng.choice([0.0, 0.7, 1.3], p=[0.6, 0.3, 0.1])),
        tile=np.round(rng.standard_normal((WIDTH, WIDTH), np.float32) * 64).astype(np.int16),
    )


def _make_world(pictures: Pictures, photo: U8, rng: np.random.Generator) -> U8:
    """A photograph cut and scaled to the scenery's size, with things standing about: clean wallpapers are too easy."""
    if rng.random() < 0.5:
        photo = photo[:, ::-1]
    h, w = photo.shape[:2]
    fit = max(_WORLD[0] / w, _WORLD[1] / h) * rng.uniform(1.0, 1.25)
    photo = cv2.resize(
        photo, (round(w * fit) + 1, round(h * fit) + 1), interpolation=cv2.INTER_AREA if fit < 1 else cv2.INTER_CUBIC
    )
    y, x = (int(rng.integers(a - b + 1)) for a, b in zip(photo.shape[:2], _WORLD[::-1], strict=True))
    world = np.ascontiguousarray(photo[y : y + _WORLD[1], x : x + _WORLD[0]]).astype(np.uint8)
    labels = np.zeros(world.shape[:2], np.uint8)
    tone = world.reshape(-1, 3).mean(0)
    still = np.ones(1)
    for _ in range(int(rng.integers(2, 6))):  # hills and walls: pieces of other photographs
        other = pictures.photo(int(rng.integers(len(pictures.photos))))
        hill = tinted(blob([other], rng, int(rng.integers(350, 1100))), rng, tone, blend=rng.uniform(0.1, 0.7))
        where = rng.uniform(0, 1, 2) * _WORLD
        paste(world, labels, Actor(hill, where[None], still, still * rng.uniform(0, 6.3), still), 0, 1)
    for _ in range(int(rng.integers(20, 80))):
        side = float(np.exp(rng.uniform(np.log(20), np.log(420))))
        sprite = tinted(_pick(pictures, photo, rng, side), rng, tone, blend=rng.uniform(0.2, 0.75))
        where = rng.uniform(0, 1, 2) * _WORLD
        actor = Actor(sprite, where[None], still, still * rng.normal(0, 0.3), still)
        paste(world, labels, actor, 0, 1)
    return world


def _camera(rng: np.random.Generator, length: int) -> F64:
    """(T, 3) centre of the view in the scenery and zoom: on a tripod, panning, or in a hand."""
    t = np.arange(length)
    kind = rng.choice(["fixed", "pan", "hand"], p=[0.35, 0.35, 0.3])
    centre = np.array(_WORLD) / 2 + rng.uniform(-0.5, 0.5, 2) * _MARGIN
    path = np.zeros((length, 2))
    if kind == "pan":
        turn = rng.uniform(0, 2 * np.pi)
        speed = rng.uniform(1.5, 10)
        path = speed * np.outer(t, [np.cos(turn), 0.5 * np.sin(turn)])
        # Back again rather than out of the scenery.
        reach = np.array(_MARGIN) * 0.8
        path = reach * (2 / np.pi) * np.arcsin(np.sin(path / reach * np.pi / 2))
    elif kind == "hand":
        steps = cv2.GaussianBlur(rng.normal(0, 1, (length + 40, 2)), (1, 41), 4)[20:-20]
        path = np.cumsum(steps, 0) * rng.uniform(4, 14) + rng.normal(0, 0.7, (length, 2))
    elif rng.random() < 0.5:
        path = rng.normal(0, 0.3, (length, 2))
    zoom = np.exp(rng.normal(0, 0.003) * t * (rng.random() < 0.35))
    zoom = np.clip(zoom, 0.85, 1.3)
    room = np.array(_WORLD) / 2 - np.array([WIDTH, HEIGHT]) / 2 / zoom[:, None]
    middle = np.array(_WORLD) / 2
    return np.column_stack((np.clip(centre + path, middle - room, middle + room), zoom))


def _pick(pictures: Pictures, photo: U8, rng: np.random.Generator, side: float) -> U8:
    """A sprite whose larger side is `side` px."""
    if rng.random() < 0.2:
        return blob(
            [photo if rng.random() < 0.3 else pictures.photo(int(rng.integers(len(pictures.photos))))],
            rng,
            max(24, round(side)),
        )
    for _ in range(60):
        found = pictures.cutout(int(rng.integers(len(pictures.cutouts))))
        if found is None or side > 1.7 * max(found.shape[:2]):
            continue
        sprite = scaled(found, side / max(found.shape[:2]))
        if (sprite[..., 3] > 127).sum() < max(90, 0.2 * side * side):
            continue
        return np.ascontiguousarray(sprite[:, ::-1]) if rng.random() < 0.5 else sprite
    return blob([photo], rng, max(24, round(side)))


def _fold(centres: F64, margin: float) -> F64:
    """Paths that would leave the frame are turned back at `margin` px from its border."""
    out = centres.copy()
    for axis, size in enumerate((WIDTH, HEIGHT)):
        span = max(size - 2 * margin, 1.0)
        phase = np.mod(out[:, axis] - margin, 2 * span)
        out[:, axis] = margin + np.where(phase > span, 2 * span - phase, phase)
    return out


def _target(
    sprite: U8, side: float, event: str, rng: np.random.Generator, length: int, cameras: F64, others: list[Actor]
) -> Actor:
    t = np.arange(length, dtype=np.float64)
    margin = 0.55 * side + 8
    start = np.array([rng.uniform(margin, WIDTH - margin), rng.uniform(margin, HEIGHT - margin)])
    edge = int(rng.integers(4))  # left, right, top, bottom
    if event in ("leaves", "returns"):
        axis, high = edge // 2, edge % 2
        near = margin + rng.uniform(0, 260)
        start[axis] = (WIDTH, HEIGHT)[axis] - near if high else near
    step = float(np.exp(rng.uniform(np.log(0.4), np.log(0.07 * side + 7)))) * (rng.random() > 0.1)
    turn = rng.uniform(0, 2 * np.pi)
    path = step * np.outer(t, [np.cos(turn), np.sin(turn)])
    wave = rng.normal(0, 2.5 * step, 2)
    path += wave * np.sin(np.outer(t, rng.uniform(0.08, 0.5, 2)) + (phase := rng.uniform(0, 6.3, 2))) - wave * np.sin(
        phase
    )
    if event == "crosses":
        other, when = others[int(rng.integers(len(others)))], int(rng.uniform(0.3, 0.65) * length)
        path = np.outer(t / when, other.centres[when] - start)
    # Half of the things are at rest or move in the world, so the camera moves them too.
    if rng.random() < 0.5 and event != "crosses":
        drift = -(cameras[:, :2] - cameras[0, :2]) * cameras[:, 2:]
        path = path + drift
    centres = _fold(start + path, margin)
    if event in ("leaves", "returns"):
        axis, high = edge // 2, edge % 2
        ramp = rng.integers(5, 13)
        out_at = int(rng.uniform(0.2, 0.45) * length)
        away = np.clip((t - out_at) / ramp, 0, 1)
        if event == "returns":
            hold = int(rng.integers(4, 13))
            away = away - np.clip((t - out_at - ramp - hold) / ramp, 0, 1)
        limit = (WIDTH, HEIGHT)[axis]
        outside = limit + 0.75 * side + 6 if high else -0.75 * side - 6
        smooth = away * away * (3 - 2 * away)
        centres[:, axis] = (1 - smooth) * centres[:, axis] + smooth * outside
    grow = np.exp(np.cumsum(rng.normal(0, 0.008) + rng.normal(0, 0.004, length)))
    scales = np.clip(grow / grow[0], 0.6, 1.7)
    swing = rng.normal(0, 0.15) * np.sin(t * rng.uniform(0.1, 0.5))
    angles = swing + rng.normal(0, 0.012) * t
    # Turning about its upright axis narrows a thing, and its width comes back.
    stretches = 1 - rng.uniform(0, 0.45) * (rng.random() < 0.5) * np.sin(t * rng.uniform(0.05, 0.25)) ** 2
    bend = (0.0, 0.0, 0.0)
    if rng.random() < 0.5:
        bend = (rng.uniform(0.01, 0.05) * side, 2 * np.pi / (side * rng.uniform(0.7, 2)), rng.uniform(-0.7, 0.7))
    return Actor(sprite, centres, scales, angles, stretches, bend)


def _look_alike(target: Actor, rng: np.random.Generator, length: int) -> Actor:
    """The same picture once more: it comes in later, passes near the target and goes on."""
    t = np.arange(length, dtype=np.float64)
    side = float(max(target.sprite.shape[:2]))
    meets = int(rng.uniform(0.45, 0.8) * length)
    enters = int(rng.uniform(0.15, 0.35) * length)
    turn = rng.uniform(0, 2 * np.pi)
    beside = np.clip(target.centres[meets], (0, 0), (WIDTH, HEIGHT)) + rng.uniform(0.7, 1.8) * side * np.array(
        [np.cos(turn), np.sin(turn)]
    )
    left = beside[0] < WIDTH / 2
    gate = np.array([-0.7 * side if left else WIDTH + 0.7 * side, np.clip(beside[1] + rng.normal(0, 150), 0, HEIGHT)])
    share = (t - enters) / max(meets - enters, 1)
    centres = gate + np.maximum(share, 0)[:, None] * (beside - gate)
    sprite = np.ascontiguousarray(target.sprite[:, ::-1]) if rng.random() < 0.3 else target.sprite
    scales = np.full(length, rng.uniform(0.85, 1.15))
    return Actor(sprite, centres, scales, rng.normal(0, 0.1) * np.sin(0.2 * t), np.ones(length), target.bend)


def _anchor(at: F64, when: int, cameras: F64) -> tuple[F64, F64]:
    """Centres and scales over time of something that stands in the world and is at `at` (frame px) at time `when`."""
    middle = np.array([WIDTH, HEIGHT]) / 2
    place = cameras[when, :2] + (at - middle) / cameras[when, 2]
    return middle + (place - cameras[:, :2]) * cameras[:, 2:], cameras[:, 2] / cameras[0, 2]


def _hideout(
    pictures: Pictures, photo: U8, target: Actor, rng: np.random.Generator, length: int, cameras: F64
) -> Actor:
    """Something larger than the target that it passes behind, or is hidden by, in the middle of the clip."""
    when = int(rng.uniform(0.35, 0.6) * length)
    side = float(max(target.sprite.shape[:2])) * target.scales[when]
    extent = int(np.clip(side * rng.uniform(1.0, 2.2), 40, 620))
    sprite = blob(
        [photo if rng.random() < 0.5 else pictures.photo(int(rng.integers(len(pictures.photos))))], rng, extent
    )
    travelled = np.linalg.norm(target.centres - target.centres[when], axis=1).max()
    if travelled > extent:
        centres, scales = _anchor(target.centres[when], when, cameras)
        return Actor(sprite, centres, scales, np.full(length, rng.normal(0, 0.5)), np.ones(length))
    # The target hardly moves, so what hides it does.
    turn = rng.uniform(0, 2 * np.pi)
    speed = (extent + side) / rng.uniform(7, 16)
    shift = speed * np.outer(np.arange(length) - when, [np.cos(turn), np.sin(turn)])
    return Actor(sprite, target.centres[when] + shift, np.ones(length), np.full(length, 0.0), np.ones(length))


def _bars(photo: U8, target: Actor, rng: np.random.Generator, length: int, cameras: F64) -> list[Actor]:
    """A pole, or the bars of a fence, in the way of the target."""
    when = int(rng.uniform(0.2, 0.7) * length)
    fence = rng.random() < 0.5
    thick = int(rng.integers(4, 11)) if fence else int(rng.integers(12, 46))
    gap = int(rng.integers(36, 110))
    tall = int(rng.uniform(0.6, 1.6) * HEIGHT)
    cut = min(photo.shape[0], 400)
    y, x = int(rng.integers(photo.shape[0] - cut + 1)), int(rng.integers(max(photo.shape[1] - thick, 1)))
    strip = cv2.resize(photo[y : y + cut, x : x + thick], (thick, tall), interpolation=cv2.INTER_LINEAR)
    strip = np.clip(strip * rng.uniform(0.3, 1.3) + rng.normal(0, 25, 3), 0, 255)
    sprite = np.dstack((strip, np.full((tall, thick), 255))).astype(np.uint8)
    lean = rng.normal(0, 0.12)
    bars = []
    for k in range(-3, 4) if fence else (0,):
        at = target.centres[when] + np.array([k * gap, rng.normal(0, 30)])
        centres, scales = _anchor(at, when, cameras)
        bars.append(Actor(sprite, centres, scales, np.full(length, lean), np.ones(length)))
    return bars
