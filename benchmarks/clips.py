"""Held-out clips at full-HD frame size, with exact truth: photographs, cut-outs that move over them, and what hides them.

Only pictures that training never sees are used (`keepsight.training.sources.is_held_out`), and a compositor of its own,
so that the model cannot have learned the habits of the one that made its training clips. A clip is a function of its
seed and of the pictures; frames are made when they are asked for and kept as JPEG, which is also their compression.

    python benchmarks/clips.py --data data/builtin --seed 1 --sheet clip.jpg      # look at one
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import Frame, Mask
from keepsight.training import sources
from keepsight.video.source import IndexedSource

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

WIDTH, HEIGHT = 1920, 1080
SIZE_CLASSES = ((15, 30), (30, 60), (60, 120), (120, 240), (240, 400))
"""Larger side of the object's box on the first frame in px."""

_WORLD = (2688, 1512)  # width, height of the scenery; the camera sees 1920 x 1080 of it
_MARGIN = ((_WORLD[0] - WIDTH) / 2, (_WORLD[1] - HEIGHT) / 2)
# Letters, signs and buttons are flat one-colour shapes that no camera sees.
_FLAT = ("symbol", "sign", "icon", "action", "star", "shape", "pattern", "arrow", "button", "gradient", "theme", "mime")
_FLAT += ("alphabet", "apps", "applications", "filesystem", "geography", "led", "ornament", "white", "map")


def size_class(side_px: float) -> int:
    """Index into `SIZE_CLASSES` of a larger box side in px; outside the range the nearest class."""
    return int(np.searchsorted([high for _, high in SIZE_CLASSES[:-1]], side_px, side="right"))


@dataclass
class Pictures:
    """Cut-outs (RGBA, premultiplied) and background photographs (RGB), read when they are needed.

    Attributes:
        cutouts: files, or arrays `(h, w, 4)` uint8.
        photos: files, or arrays `(h, w, 3)` uint8.
    """

    cutouts: Sequence[Path | U8]
    photos: Sequence[Path | U8]

    @classmethod
    def held_out(cls, root: Path) -> Pictures:
        """The held-out part of the fetched packages below `root`.

        Raises:
            SourceError: there are none; fetch them first (`keepsight train builtin`, or `sources.fetch_all`).
        """
        photos = [path for path in sources.list_photos(root) if sources.is_held_out(path)]
        stamps = [path for path in sources.list_cutouts(root, sources.STAMP_PACKAGE) if sources.is_held_out(path)]
        clipart = [path for path in sources.list_cutouts(root, sources.CLIPART_PACKAGE) if sources.is_held_out(path)]
        stamps = [path for path in stamps if not _is_flat(path)]
        clipart = [path for path in clipart if not _is_flat(path)]
        # Photographs of animals and things are nearer to what is filmed than drawings are.
        cutouts = stamps * max(1, 2 * len(clipart) // max(len(stamps), 1)) + clipart
        # White but for a corner; coloured noise.
        photos = [path for path in photos if path.stem.lower() not in ("float-into-mate", "spring")]
        if not photos or not cutouts:
            raise sources.SourceError(f"no held-out pictures below {root}; fetch the packages first")
        return cls(cutouts, photos)

    @classmethod
    def made_up(cls, seed: int = 0) -> Pictures:
        """Pictures that need no files, for tests: noise landscapes and textured shapes."""
        rng = np.random.default_rng(seed)
        photos: list[Path | U8] = [_noise_picture(rng, 480, 270) for _ in range(3)]
        return cls([_blob(photos_of(photos), rng, 160) for _ in range(8)], photos)

    def cutout(self, index: int) -> U8 | None:
        item = self.cutouts[index]
        return item if isinstance(item, np.ndarray) else _read_cutout(item)

    def photo(self, index: int) -> U8:
        return photos_of([self.photos[index]])[0]


def photos_of(items: Sequence[Path | U8]) -> list[U8]:
    """The pictures themselves."""
    return [item if isinstance(item, np.ndarray) else _read_photo(item) for item in items]


@dataclass
class _Actor:
    """One thing in the picture.

    Attributes:
        sprite: premultiplied RGBA, already about as large as it gets in the frame.
        centres: (T, 2) in px of the frame.
        scales, angles, stretches: (T,); scale 1 is the sprite's own size, stretch acts on its width before the turn.
        bend: amplitude in px, waves per px, phase a frame: rows of the sprite swing.
    """

    sprite: U8
    centres: F64
    scales: F64
    angles: F64
    stretches: F64
    bend: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def matrix(self, t: int) -> F64:
        """(2, 3) from sprite px to frame px."""
        cos, sin = np.cos(self.angles[t]), np.sin(self.angles[t])
        linear = self.scales[t] * np.array([[cos, -sin], [sin, cos]]) @ np.diag([self.stretches[t], 1.0])
        h, w = self.sprite.shape[:2]
        return np.column_stack((linear, self.centres[t] - linear @ np.array([w / 2, h / 2])))

    def velocity(self, t: int) -> F64:
        other = t - 1 if t else min(1, len(self.centres) - 1)
        return (self.centres[t] - self.centres[other]) * (1 if t else -1)


@dataclass(frozen=True)
class Target:
    """What is known about an object that is to be followed.

    Attributes:
        number: its id, from 1.
        side_px: larger side of its box on the first frame.
        event: "stays", "leaves", "returns", "hidden" or "crosses".
        twin: number of the look-alike in the truth, 0 for none.
    """

    number: int
    side_px: float
    event: str
    twin: int


@dataclass
class _Scene:
    world: U8
    cameras: F64  # (T, 3): x, y of the view's centre in the world, zoom
    actors: list[_Actor]
    numbers: list[int]  # label of each actor; 0 for what only hides
    events: list[str]
    twins: dict[int, int]
    gains: F64
    noise: float
    quality: int
    blur: float
    tile: NDArray[np.int16] = field(repr=False)


class HdClip(IndexedSource):
    """One clip as a video source; :meth:`truth` has the visible pixels of every object.

    Args:
        pictures: what to build it from.
        seed: the clip is a function of it (and of the pictures).
        classes: indices into `SIZE_CLASSES`, one a target.
        length: frames; None draws 30 to 60.

    Attributes:
        targets: what is to be followed.
        first: the frame to point at it.

    Raises:
        ValueError: no scene with these pictures and this seed has all targets in view on the first frame.
    """

    def __init__(
        self,
        pictures: Pictures,
        seed: int,
        classes: Sequence[int] = (0, 2, 4),
        length: int | None = None,
    ) -> None:
        self.seed, self.name = seed, f"clip{seed}"
        self.width, self.height, self._fps, self.warnings = WIDTH, HEIGHT, 25.0, []
        self.first = 0  # where prompts are given
        self.targets: list[Target] = []
        self._jpegs: dict[int, U8] = {}
        self._masks: dict[int, dict[int, Mask]] = {}
        for attempt in range(40):
            rng = np.random.default_rng((seed, attempt))
            self._count = length or int(rng.integers(30, 61))
            self._scene = _make_scene(pictures, rng, self._count, classes)
            self._jpegs.clear()
            self._masks.clear()
            if self._prompts_make_sense(classes):
                return
        raise ValueError(f"seed {seed} gives no clip whose objects can be seen on the first frame")

    @property
    def frame_count(self) -> int:
        return self._count

    def read(self, index: int) -> Frame:
        self._check_index(index)
        self._render(index)
        rgb = cv2.cvtColor(cv2.imdecode(self._jpegs[index], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return Frame(index, index / self._fps, np.asarray(rgb, np.uint8))

    def has_truth(self, index: int) -> bool:
        return 0 <= index < self._count

    def truth(self, index: int, number: int) -> Mask:
        """Visible pixels of object `number` (a target or a twin); empty while it is hidden or outside."""
        self._check_index(index)
        self._render(index)
        return self._masks[index][number]

    def fingerprint(self) -> str:
        return f"hdclip-{self.seed}-{self._count}"

    def _prompts_make_sense(self, classes: Sequence[int]) -> bool:
        """Whether every target can be pointed at on the first frame; fills `targets`."""
        self.targets = []
        for number, wanted in enumerate(classes, 1):
            mask = self.truth(0, number)
            alone = _drawn_area(self._scene.actors[self._scene.numbers.index(number)])
            if mask.box is None or mask.area < 60 or mask.area < 0.6 * alone:
                return False
            side = max(mask.box[2] - mask.box[0], mask.box[3] - mask.box[1])
            low, high = SIZE_CLASSES[wanted]
            if not low <= side <= high:
                return False
            event, twin = self._scene.events[number - 1], self._scene.twins.get(number, 0)
            self.targets.append(Target(number, float(side), event, twin))
        return True

    def _render(self, t: int) -> None:
        if t in self._jpegs:
            return
        scene = self._scene
        x, y, zoom = scene.cameras[t]
        view = np.array([[zoom, 0, WIDTH / 2 - zoom * x], [0, zoom, HEIGHT / 2 - zoom * y]])
        canvas = cv2.warpAffine(
            scene.world, view, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        speed = (scene.cameras[t] - scene.cameras[max(t - 1, 0)])[:2]
        canvas = _smear(canvas, 0.4 * speed)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for actor, number in zip(scene.actors, scene.numbers, strict=True):
            _paste(canvas, labels, actor, t, number)
        image = canvas.astype(np.float32) * np.float32(scene.gains[t])
        if scene.blur:
            image = cv2.GaussianBlur(image, (0, 0), scene.blur)
        if scene.noise:
            shift = np.random.default_rng((self.seed, 7, t)).integers(0, scene.tile.shape[0], 2)
            rolled = np.roll(scene.tile, tuple(shift), (0, 1))[:HEIGHT, :WIDTH]
            image += rolled[..., None].astype(np.float32) * np.float32(scene.noise / 64)
        bgr = np.clip(image, 0, 255).astype(np.uint8)[..., ::-1]
        self._jpegs[t] = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, scene.quality])[1]
        self._masks[t] = {number: Mask.from_array(labels == number) for number in scene.numbers if number}


# -- pictures ------------------------------------------------------------------------------------------------------------
def _is_flat(path: Path) -> bool:
    folders = "/".join(path.parts[-5:-1]).lower()
    return any(word in folders for word in _FLAT)


@lru_cache(maxsize=64)
def _read_cutout(path: Path) -> U8 | None:
    """Premultiplied RGBA cut to its content, at most 480 px; None when it is no picture of one thing."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        return None
    solid = image[..., 3] > 127
    if solid.sum() < 400:
        return None
    ys, xs = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    image, solid = image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], solid[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    h, w = solid.shape
    parts = cv2.connectedComponentsWithStats(solid.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    if min(h, w) < 30 or not 0.25 < solid.mean() < 0.97 or parts.max() < 0.95 * parts.sum():
        return None
    if image[solid][:, :3].std(0).max() < 18:  # one flat colour
        return None
    image = np.ascontiguousarray(image[..., [2, 1, 0, 3]])
    image[..., :3] = (image[..., :3].astype(np.uint16) * image[..., 3:] // 255).astype(np.uint8)
    return _scaled(image, min(1.0, 480 / max(h, w)))


@lru_cache(maxsize=4)
def _read_photo(path: Path) -> U8:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise sources.SourceError(f"{path} cannot be read")
    return np.ascontiguousarray(image[..., ::-1])


def _noise_picture(rng: np.random.Generator, width: int, height: int) -> U8:
    image = np.full((height, width, 3), rng.uniform(70, 170, 3), np.float32)
    for cells in (3, 9, 30, 90):
        coarse = rng.standard_normal((cells, cells, 3)).astype(np.float32) * np.float32(rng.uniform(8, 26))
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


def _blob(photos: Sequence[U8], rng: np.random.Generator, side: int) -> U8:
    """A shape with a wavy outline and the texture of a piece of a photograph, shaded like a body."""
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = 1 + sum(rng.normal(0, 0.3 / k) * np.cos(k * angles + rng.uniform(0, 6.3)) for k in range(2, 7))
    radius = np.clip(radius, 0.3, None)
    points = np.stack((radius * np.cos(angles), radius * np.sin(angles) * rng.uniform(0.45, 1)), 1)
    points *= 0.48 * side / np.abs(points).max()
    alpha = np.zeros((side, side), np.uint8)
    cv2.fillPoly(alpha, [np.round((points + side / 2) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    photo = photos[int(rng.integers(len(photos)))]
    cut = min(*photo.shape[:2], max(side, 80))
    y, x = (int(rng.integers(n - cut + 1)) for n in photo.shape[:2])
    colour = cv2.resize(photo[y : y + cut, x : x + cut], (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    colour = colour * rng.normal(1, 0.25, 3) + rng.normal(0, 45, 3)
    yy, xx = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    light = 1 + 0.35 * (xx * np.cos(a := rng.uniform(0, 6.3)) + yy * np.sin(a))
    grain = cv2.resize(rng.standard_normal((side // 6 + 2,) * 2).astype(np.float32), (side, side)) * rng.uniform(4, 22)
    colour = np.clip((colour + grain[..., None]) * light[..., None], 4, 251) * (alpha[..., None] / 255)
    return np.dstack((colour, alpha)).astype(np.uint8)


def _scaled(image: U8, scale: float) -> U8:
    if scale == 1:
        return image
    size = (max(3, round(image.shape[1] * scale)), max(3, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC).astype(np.uint8)


# -- scene ---------------------------------------------------------------------------------------------------------------
def _make_scene(pictures: Pictures, rng: np.random.Generator, length: int, classes: Sequence[int]) -> _Scene:
    photo = pictures.photo(int(rng.integers(len(pictures.photos))))
    world = _make_world(pictures, photo, rng)
    cameras = _camera(rng, length)
    tone = cv2.resize(world, (1, 1), interpolation=cv2.INTER_AREA)[0, 0].astype(np.float64)
    targets: list[_Actor] = []
    events: list[str] = []
    for wanted in classes:
        event = str(rng.choice(["stays", "returns", "leaves", "hidden", "crosses"], p=[0.32, 0.22, 0.1, 0.18, 0.18]))
        if event == "crosses" and not targets:
            event = "stays"
        low, high = SIZE_CLASSES[wanted]
        side = float(np.exp(rng.uniform(np.log(low * 1.1), np.log(high * 0.93))))
        sprite = _tinted(_pick(pictures, photo, rng, side), rng, tone)
        targets.append(_target(sprite, side, event, rng, length, cameras, targets))
        events.append(event)
    numbers = [*rng.permutation(len(targets)) + 1]
    actors = [targets[number - 1] for number in numbers]  # who is in front is drawn, too
    twins: dict[int, int] = {}
    extras: list[_Actor] = []
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
    return _Scene(
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
        hill = _tinted(_blob([other], rng, int(rng.integers(350, 1100))), rng, tone, blend=rng.uniform(0.1, 0.7))
        where = rng.uniform(0, 1, 2) * _WORLD
        _paste(world, labels, _Actor(hill, where[None], still, still * rng.uniform(0, 6.3), still), 0, 1)
    for _ in range(int(rng.integers(20, 80))):
        side = float(np.exp(rng.uniform(np.log(20), np.log(420))))
        sprite = _tinted(_pick(pictures, photo, rng, side), rng, tone, blend=rng.uniform(0.2, 0.75))
        where = rng.uniform(0, 1, 2) * _WORLD
        actor = _Actor(sprite, where[None], still, still * rng.normal(0, 0.3), still)
        _paste(world, labels, actor, 0, 1)
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
        return _blob(
            [photo if rng.random() < 0.3 else pictures.photo(int(rng.integers(len(pictures.photos))))],
            rng,
            max(24, round(side)),
        )
    for _ in range(60):
        found = pictures.cutout(int(rng.integers(len(pictures.cutouts))))
        if found is None or side > 1.7 * max(found.shape[:2]):
            continue
        sprite = _scaled(found, side / max(found.shape[:2]))
        if (sprite[..., 3] > 127).sum() < max(90, 0.2 * side * side):
            continue
        return np.ascontiguousarray(sprite[:, ::-1]) if rng.random() < 0.5 else sprite
    return _blob([photo], rng, max(24, round(side)))


def _tinted(sprite: U8, rng: np.random.Generator, tone: F64, blend: float | None = None) -> U8:
    """The sprite in the light of the scene: some things stand out from it, many do not."""
    if blend is None:
        blend = rng.uniform(0.1, 0.55) if rng.random() < 0.45 else 0.0
    alpha = sprite[..., 3:].astype(np.float64) / 255
    colour = sprite[..., :3] * (rng.uniform(0.7, 1.15) * rng.normal(1, 0.05, 3))
    mean = colour.sum((0, 1)) / max(float(alpha.sum()), 1.0)
    colour = colour + alpha * blend * (tone - mean)
    return np.dstack((np.clip(colour, 0, alpha * 255), sprite[..., 3:])).astype(np.uint8)


def _fold(centres: F64, margin: float) -> F64:
    """Paths that would leave the frame are turned back at `margin` px from its border."""
    out = centres.copy()
    for axis, size in enumerate((WIDTH, HEIGHT)):
        span = max(size - 2 * margin, 1.0)
        phase = np.mod(out[:, axis] - margin, 2 * span)
        out[:, axis] = margin + np.where(phase > span, 2 * span - phase, phase)
    return out


def _target(
    sprite: U8, side: float, event: str, rng: np.random.Generator, length: int, cameras: F64, others: list[_Actor]
) -> _Actor:
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
    return _Actor(sprite, centres, scales, angles, stretches, bend)


def _look_alike(target: _Actor, rng: np.random.Generator, length: int) -> _Actor:
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
    return _Actor(sprite, centres, scales, rng.normal(0, 0.1) * np.sin(0.2 * t), np.ones(length), target.bend)


def _anchor(at: F64, when: int, cameras: F64) -> tuple[F64, F64]:
    """Centres and scales over time of something that stands in the world and is at `at` (frame px) at time `when`."""
    middle = np.array([WIDTH, HEIGHT]) / 2
    place = cameras[when, :2] + (at - middle) / cameras[when, 2]
    return middle + (place - cameras[:, :2]) * cameras[:, 2:], cameras[:, 2] / cameras[0, 2]


def _hideout(
    pictures: Pictures, photo: U8, target: _Actor, rng: np.random.Generator, length: int, cameras: F64
) -> _Actor:
    """Something larger than the target that it passes behind, or is hidden by, in the middle of the clip."""
    when = int(rng.uniform(0.35, 0.6) * length)
    side = float(max(target.sprite.shape[:2])) * target.scales[when]
    extent = int(np.clip(side * rng.uniform(1.0, 2.2), 40, 620))
    sprite = _blob(
        [photo if rng.random() < 0.5 else pictures.photo(int(rng.integers(len(pictures.photos))))], rng, extent
    )
    travelled = np.linalg.norm(target.centres - target.centres[when], axis=1).max()
    if travelled > extent:
        centres, scales = _anchor(target.centres[when], when, cameras)
        return _Actor(sprite, centres, scales, np.full(length, rng.normal(0, 0.5)), np.ones(length))
    # The target hardly moves, so what hides it does.
    turn = rng.uniform(0, 2 * np.pi)
    speed = (extent + side) / rng.uniform(7, 16)
    shift = speed * np.outer(np.arange(length) - when, [np.cos(turn), np.sin(turn)])
    return _Actor(sprite, target.centres[when] + shift, np.ones(length), np.full(length, 0.0), np.ones(length))


def _bars(photo: U8, target: _Actor, rng: np.random.Generator, length: int, cameras: F64) -> list[_Actor]:
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
        bars.append(_Actor(sprite, centres, scales, np.full(length, lean), np.ones(length)))
    return bars


# -- drawing -------------------------------------------------------------------------------------------------------------
def _smear(image: U8, motion: F64) -> U8:
    """Blurs along `motion`, in px, the way covered while the shutter was open."""
    reach = float(np.hypot(*motion))
    if reach < 1.5:
        return image
    n = min(int(np.ceil(reach)) | 1, 61)
    kernel = np.zeros((n, n), np.float32)
    half = motion / reach * (n - 1) / 2
    middle = (n - 1) / 2
    ends = [tuple(int(v) for v in np.round((middle + sign * half) * 16)) for sign in (-1, 1)]
    cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_8, 4)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _draw(actor: _Actor, t: int, size: tuple[int, int]) -> tuple[int, int, U8] | None:
    """x, y of the corner and the drawn premultiplied RGBA; None outside the frame of `size` (height, width)."""
    matrix = actor.matrix(t)
    h, w = actor.sprite.shape[:2]
    motion = 0.4 * actor.velocity(t) if len(actor.centres) > 1 else np.zeros(2)
    corners = matrix @ np.array([[0, w, w, 0], [0, 0, h, h], [1, 1, 1, 1.0]])
    pad = abs(actor.bend[0]) + 2 + min(float(np.hypot(*motion)), 60) / 2
    x0, y0 = np.maximum(np.floor(corners.min(1) - pad), (-64, -64)).astype(int)
    x1, y1 = np.minimum(np.ceil(corners.max(1) + pad), (size[1] + 64, size[0] + 64)).astype(int)
    if x1 - x0 < 2 or y1 - y0 < 2 or x0 >= size[1] or y0 >= size[0] or x1 <= 0 or y1 <= 0:
        return None
    inverse = cv2.invertAffineTransform(matrix)
    xs = np.arange(x0, x1, dtype=np.float32)[None] + 0.5
    ys = np.arange(y0, y1, dtype=np.float32)[:, None] + 0.5
    if actor.bend[0]:
        xs = xs + np.float32(actor.bend[0]) * np.sin((ys - actor.centres[t, 1]) * actor.bend[1] + actor.bend[2] * t)
    map_x = (inverse[0, 0] * xs + inverse[0, 1] * ys + inverse[0, 2] - 0.5).astype(np.float32)
    map_y = (inverse[1, 0] * xs + inverse[1, 1] * ys + inverse[1, 2] - 0.5).astype(np.float32)
    sprite = actor.sprite
    drawn = cv2.remap(sprite, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return int(x0), int(y0), _smear(np.asarray(drawn, np.uint8), motion)


def _paste(canvas: U8, labels: U8, actor: _Actor, t: int, number: int) -> None:
    """Draws an actor onto the canvas (in place) and its label where it covers more than half of a pixel."""
    height, width = labels.shape
    found = _draw(actor, t, (height, width))
    if found is None:
        return
    x, y, drawn = found
    top, left = max(0, -y), max(0, -x)
    drawn = drawn[top : height - y, left : width - x]
    if drawn.size == 0:
        return
    y, x = y + top, x + left
    rows, columns = slice(y, y + drawn.shape[0]), slice(x, x + drawn.shape[1])
    alpha = drawn[..., 3:].astype(np.float32) / 255
    canvas[rows, columns] = np.clip(canvas[rows, columns] * (1 - alpha) + drawn[..., :3] + 0.5, 0, 255).astype(np.uint8)
    labels[rows, columns][alpha[..., 0] > 0.5] = number


def _drawn_area(actor: _Actor) -> int:
    """Pixels of the actor on the first frame if nothing hid it."""
    found = _draw(actor, 0, (HEIGHT, WIDTH))
    return 0 if found is None else int((found[2][..., 3] > 127).sum())


def clip_classes(index: int, objects: int = 3) -> tuple[int, ...]:
    """Size classes of the targets of clip number `index`: all classes come equally often."""
    return tuple((objects * index + k * 2) % len(SIZE_CLASSES) for k in range(objects))


def contact_sheet(clip: HdClip, count: int = 9, columns: int = 3, width: int = 640) -> U8:
    """`count` frames spread over the clip with the truth outlined: targets green, look-alikes red."""
    tiles = []
    for index in np.unique(np.linspace(0, clip.frame_count - 1, count).astype(int)):
        image = clip.read(int(index)).rgb.copy()
        for target in clip.targets:
            for number, colour in ((target.number, (0, 255, 0)), (target.twin, (255, 0, 0))):
                if number:
                    mask = clip.truth(int(index), number).to_array().astype(np.uint8)
                    outline = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
                    cv2.drawContours(image, outline, -1, colour, 2)
        small = cv2.resize(image, (width, width * HEIGHT // WIDTH), interpolation=cv2.INTER_AREA)
        cv2.putText(small, f"{index}", (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 0), 2)
        tiles.append(small)
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--classes", type=int, nargs="+", default=[0, 2, 4], help="size class of each object, 0 to 4")
    parser.add_argument("--sheet", type=Path, required=True, help="picture to write")
    arguments = parser.parse_args()
    clip = HdClip(Pictures.held_out(arguments.data), arguments.seed, arguments.classes)
    cv2.imwrite(str(arguments.sheet), contact_sheet(clip)[..., ::-1])
    print(clip.frame_count, "frames", *clip.targets, sep="\n")


if __name__ == "__main__":
    main()
