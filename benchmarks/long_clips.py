"""Held-out long clips with exact truth: things that wander, leave and return, get hidden, and meet their look-alikes.

Pictures that training never sees, as in `clips.py`; small frames, for what is measured is memory and not detail. A clip is a
function of its seed, its settings and the pictures; frames are made when they are asked for and never stored.

    python benchmarks/long_clips.py --data data/builtin --seed 1 --sheet long.jpg      # look at one
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from keepsight.core import Frame, Mask
from keepsight.video.source import IndexedSource
from sprites import F64, U8, Actor, Pictures, blob, drawn_area, paste, scaled, smear, tinted

EVENTS = ("exit", "hidden", "meets")


@dataclass(frozen=True)
class Event:
    """Something that happens to a target: kind, first frame without or beside it, last one."""

    kind: str
    first: int
    last: int


@dataclass(frozen=True)
class _Size:
    height: int
    width: int


class LongClip(IndexedSource):
    """One clip as a video source; :meth:`truth` has the visible pixels of every object.

    Args:
        pictures: what to build it from.
        seed: the clip is a function of it.
        length: frames.
        objects: things to be followed; each has a look-alike that is not.
        height, width: of the frames in px.

    Attributes:
        targets: ids of what is to be followed, from 1.
        distractors: ids in the truth of the look-alikes.
        events: what happens to each target.
    """

    def __init__(
        self, pictures: Pictures, seed: int, length: int = 200, objects: int = 2, height: int = 360, width: int = 640
    ) -> None:
        self.seed, self.name = seed, f"long{seed}"
        self.width, self.height, self._fps, self.warnings = width, height, 25.0, []
        self._count = length
        self.targets = list(range(1, objects + 1))
        self.distractors = list(range(objects + 1, 2 * objects + 1))
        self._frames: dict[int, tuple[U8, U8]] = {}
        for attempt in range(60):
            self._build(pictures, np.random.default_rng((seed, attempt, 77)))
            self._frames.clear()
            if self._begins_well():
                return
        raise ValueError(f"seed {seed} gives no clip whose objects can be seen on the first frame")

    @property
    def frame_count(self) -> int:
        return self._count

    def read(self, index: int) -> Frame:
        self._check_index(index)
        return Frame(index, index / self._fps, self._render(index)[0])

    def truth(self, index: int, number: int) -> Mask:
        """Visible pixels of an object (a target or a look-alike); empty while it is hidden or outside."""
        self._check_index(index)
        return Mask.from_array(self._render(index)[1] == number)

    def fingerprint(self) -> str:
        return f"longclip-{self.seed}-{self._count}-{len(self.targets)}-{self.height}x{self.width}"

    # -- making it ---------------------------------------------------------------------------------------------------
    def _build(self, pictures: Pictures, rng: np.random.Generator) -> None:
        size = _Size(self.height, self.width)
        photo = pictures.photo(int(rng.integers(len(pictures.photos))))
        self._world, self._cameras = _world(pictures, photo, rng, self._count, size)
        tone = cv2.resize(self._world, (1, 1), interpolation=cv2.INTER_AREA)[0, 0].astype(np.float64)
        self.events: list[list[Event]] = []
        targets, twins, occluders = [], [], []
        for _ in self.targets:
            side = float(rng.uniform(0.13, 0.3)) * size.height
            sprite = tinted(_pick(pictures, photo, rng, side), rng, tone)
            events = _schedule(rng, self._count)
            centres = _wander(rng, self._count, size, 0.6 * side)
            twin = _wander(rng, self._count, size, 0.6 * side)
            for event in events:
                if event.kind == "exit":
                    _send_away(centres, event, rng, size, side)
                elif event.kind == "meets":
                    _bring_near(twin, centres, event, rng, side)
            targets.append(_actor(sprite, centres, rng))
            looks = tinted(sprite, rng, tone, blend=rng.uniform(0.0, 0.12))
            twins.append(_actor(np.ascontiguousarray(looks[:, ::-1]) if rng.random() < 0.4 else looks, twin, rng))
            for event in events:
                if event.kind == "hidden":
                    occluders.append(_occluder(pictures, rng, centres, event, side))
            self.events.append(events)
        order = [*zip(targets, self.targets, strict=True), *zip(twins, self.distractors, strict=True)]
        order = [order[int(i)] for i in rng.permutation(len(order))]  # who is in front is drawn, too
        self._cast = [*order, *((actor, 0) for actor in occluders)]
        self._noise = float(rng.choice([0.0, 2.0, 4.0]))
        self._gains = np.exp(np.cumsum(rng.normal(0, 0.006, self._count)) * (rng.random() < 0.4))

    def _begins_well(self) -> bool:
        """Whether every target can be pointed at on the first frame."""
        for actor, number in self._cast:
            if number in self.targets:
                alone = drawn_area(actor, self.height, self.width)
                if alone < 150 or self.truth(0, number).area < 0.9 * alone:
                    return False
        return True

    def _render(self, t: int) -> tuple[U8, U8]:
        """The picture and the number of what is seen at each pixel."""
        if t not in self._frames:
            if len(self._frames) > 40:
                self._frames.clear()
            x, y = self._cameras[t]
            view = np.array([[1, 0, -x], [0, 1, -y]])
            canvas = cv2.warpAffine(self._world, view, (self.width, self.height), flags=cv2.INTER_LINEAR)
            canvas = smear(np.asarray(canvas, np.uint8), 0.4 * (self._cameras[t] - self._cameras[max(t - 1, 0)]))
            labels = np.zeros((self.height, self.width), np.uint8)
            for actor, number in self._cast:
                paste(canvas, labels, actor, t, number)
            image = canvas.astype(np.float32) * np.float32(self._gains[t])
            if self._noise:
                rng = np.random.default_rng((self.seed, 5, t))
                image += rng.standard_normal(image.shape[:2], np.float32)[..., None] * np.float32(self._noise)
            self._frames[t] = np.clip(image, 0, 255).astype(np.uint8), labels
        return self._frames[t]


def _world(pictures: Pictures, photo: U8, rng: np.random.Generator, length: int, size: _Size) -> tuple[U8, F64]:
    """Scenery larger than the frame with things standing about, and the top left corner of the view (T, 2) over time."""
    wide, high = round(1.25 * size.width), round(1.25 * size.height)
    fit = max(wide / photo.shape[1], high / photo.shape[0]) * rng.uniform(1.0, 1.3)
    photo = scaled(photo, fit)
    y, x = int(rng.integers(photo.shape[0] - high + 1)), int(rng.integers(photo.shape[1] - wide + 1))
    world = np.ascontiguousarray(photo[y : y + high, x : x + wide])
    labels, still, tone = np.zeros(world.shape[:2], np.uint8), np.ones(1), world.reshape(-1, 3).mean(0)
    for _ in range(int(rng.integers(6, 20))):
        sprite = tinted(_pick(pictures, photo, rng, rng.uniform(15, 110)), rng, tone, blend=rng.uniform(0.2, 0.7))
        paste(world, labels, Actor(sprite, rng.uniform(0, 1, (1, 2)) * (wide, high), still, still * 0, still), 0, 1)
    room = np.array([wide - size.width, high - size.height], np.float64)
    t = np.arange(length)
    swing = 0.5 + 0.5 * np.sin(np.outer(t, rng.uniform(0.005, 0.03, 2)) + rng.uniform(0, 6.3, 2))
    return world, room * (0.5 + (swing - 0.5) * rng.choice([0.0, 0.9], p=[0.35, 0.65]))


def _pick(pictures: Pictures, photo: U8, rng: np.random.Generator, side: float) -> U8:
    """A sprite whose larger side is `side` px."""
    for _ in range(60):
        found = pictures.cutout(int(rng.integers(len(pictures.cutouts))))
        if found is None or side > 1.7 * max(found.shape[:2]):
            continue
        sprite = scaled(found, side / max(found.shape[:2]))
        if (sprite[..., 3] > 127).sum() >= max(60, 0.25 * side * side):
            return sprite
    return blob([photo], rng, max(24, round(side)))


def _schedule(rng: np.random.Generator, length: int) -> list[Event]:
    """Something every 35 to 80 frames, exits and occlusions first: each clip has both when it is long enough."""
    kinds = [*rng.permutation(EVENTS)]
    events, t = [], int(rng.integers(25, 45))
    while t < length - 30:
        kind = str(kinds[len(events) % len(kinds)])
        span = int(rng.integers(12, 41)) if kind == "exit" else int(rng.integers(8, 26))
        events.append(Event(kind, t, min(t + span, length - 15)))
        t += span + int(rng.integers(30, 60))
    return events


def _wander(rng: np.random.Generator, length: int, size: _Size, margin: float) -> F64:
    """(T, 2) a smooth path that stays in the frame."""
    t = np.arange(length)
    path = np.zeros((length, 2))
    for share, low, high in ((0.6, 0.008, 0.03), (0.3, 0.03, 0.07), (0.1, 0.07, 0.2)):
        path += share * np.sin(np.outer(t, rng.uniform(low, high, 2)) + rng.uniform(0, 6.3, 2))
    half = np.array([size.width / 2 - margin, size.height / 2 - margin])
    return np.array([size.width / 2, size.height / 2]) + path * half


def _smooth(x: F64) -> F64:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _send_away(centres: F64, event: Event, rng: np.random.Generator, size: _Size, side: float) -> None:
    """Out of the frame from `first` to `last`, often back in somewhere else; in place."""
    t = np.arange(len(centres), dtype=np.float64)
    gates = [_outside(rng, centres[event.first], size, side)]
    gates.append(gates[0] if rng.random() < 0.4 else _outside(rng, centres[event.last], size, side))
    ramp, middle = float(rng.uniform(7, 14)), (event.first + event.last) / 2
    leave, come = _smooth((t - event.first + ramp) / ramp), _smooth((event.last + ramp - t) / ramp)
    for gate, share, part in ((gates[0], leave, t <= middle), (gates[1], come, t > middle)):
        centres[part] = (1 - share[part, None]) * centres[part] + share[part, None] * gate


def _outside(rng: np.random.Generator, near: F64, size: _Size, side: float) -> F64:
    reach = 0.8 * side + 4
    left, above = near[0] < size.width / 2, near[1] < size.height / 2
    if rng.random() < 0.65:
        return np.array([-reach if left else size.width + reach, near[1]])
    return np.array([near[0], -reach if above else size.height + reach])


def _bring_near(twin: F64, centres: F64, event: Event, rng: np.random.Generator, side: float) -> None:
    """The look-alike passes by, or crosses in front or behind; in place."""
    t = np.arange(len(twin), dtype=np.float64)
    share = _smooth((t - event.first + 20) / 20) * _smooth((event.last + 20 - t) / 20)
    turn, gap = rng.uniform(0, 6.3), rng.uniform(0.2, 1.2) * side
    middle = (event.first + event.last) / 2
    swing = turn + (t - middle) * rng.normal(0, 0.08)
    beside = centres + gap * np.column_stack((np.cos(swing), np.sin(swing)))
    twin[:] = (1 - share[:, None]) * twin + share[:, None] * beside


def _actor(sprite: U8, centres: F64, rng: np.random.Generator) -> Actor:
    t = np.arange(len(centres), dtype=np.float64)
    scales = 1 + rng.uniform(0, 0.3) * np.sin(t * rng.uniform(0.01, 0.05) + rng.uniform(0, 6.3))
    angles = rng.normal(0, 0.25) * np.sin(t * rng.uniform(0.02, 0.15))
    stretches = 1 - rng.uniform(0, 0.4) * (rng.random() < 0.5) * np.sin(t * rng.uniform(0.02, 0.12)) ** 2
    return Actor(sprite, centres, scales, angles, stretches)


def _occluder(pictures: Pictures, rng: np.random.Generator, centres: F64, event: Event, side: float) -> Actor:
    """Slides over the target, stays on it from `first` to `last`, and slides on."""
    t = np.arange(len(centres), dtype=np.float64)
    photo = pictures.photo(int(rng.integers(len(pictures.photos))))
    sprite = blob([photo], rng, round(side * rng.uniform(1.5, 2.4)))
    turn, speed = rng.uniform(0, 6.3), side * rng.uniform(0.12, 0.35)
    away = np.minimum(t - event.first, 0) + np.maximum(t - event.last, 0)
    centres = centres + speed * away[:, None] * np.array([np.cos(turn), np.sin(turn)])
    ones = np.ones(len(t))
    return Actor(sprite, centres, ones, ones * 0, ones)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--sheet", type=Path, required=True, help="picture to write")
    arguments = parser.parse_args()
    clip = LongClip(Pictures.held_out(arguments.data), arguments.seed, arguments.frames, arguments.objects)
    tiles = []
    for index in np.linspace(0, clip.frame_count - 1, 20).astype(int):
        image = clip.read(int(index)).rgb.copy()
        for numbers, colour in ((clip.targets, (0, 255, 0)), (clip.distractors, (255, 0, 0))):
            for number in numbers:
                mask = clip.truth(int(index), number).to_array().astype(np.uint8)
                cv2.drawContours(image, cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0], -1, colour, 2)
        cv2.putText(image, f"{index}", (6, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 0), 2)
        tiles.append(cv2.resize(image, (400, 400 * clip.height // clip.width), interpolation=cv2.INTER_AREA))
    sheet = np.vstack([np.hstack(tiles[i : i + 4]) for i in range(0, 20, 4)])
    cv2.imwrite(str(arguments.sheet), sheet[..., ::-1])
    print(*clip.events, sep="\n")


if __name__ == "__main__":
    main()
