"""Synthetic clips: cut-outs and textured blobs move over photographs, hide each other, leave and come back.

Real annotated video is neither small nor free, and correspondence comes pretrained anyway; what a clip has to teach is
where an object ends, that it stays the same object, and that it can be gone. Every clip is a function of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.training import sources
from keepsight.training.scenery import Sprite, blob_sprite, occluder_layer, procedural_photo
from keepsight.training.sprites import NO_BEND, Bend, direction, paste, shrink, toned

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_SPRITE_SIDE = 192
_PHOTO_SIDE = 480
_LARGE_SIDE = 800


class Clip(NamedTuple):
    """frames (T, S, S, 3) uint8 RGB; labels (T, S, S) uint8, 0 background, 1.. objects (visible part only)."""

    frames: U8
    labels: U8


@dataclass
class Assets:
    """Pictures to build clips from.

    Sprites are premultiplied RGBA of at most 192 px, photos RGB of about 480 px; `large` are the photos at up to 800 px
    for views that show a part of the scene (empty: use `photos`).
    """

    stamps: list[U8] = field(default_factory=list)
    clipart: list[U8] = field(default_factory=list)
    photos: list[U8] = field(default_factory=list)
    large: list[U8] = field(default_factory=list)


def procedural_assets(seed: int = 0, photos: int = 6) -> Assets:
    """Assets that need no files: noise landscapes only; the sprites are blobs. For tests and a first try."""
    rng = np.random.default_rng(seed)
    return Assets(photos=[procedural_photo(rng, 320) for _ in range(photos)])


def load_assets(root: Path, held_out: bool) -> Assets:
    """Reads the fetched packages (see `sources.fetch_all`), either the training or the held-out part."""
    assets = Assets()
    for package, into, limit in (
        (sources.STAMP_PACKAGE, assets.stamps, 10_000),
        (sources.CLIPART_PACKAGE, assets.clipart, 1200),
    ):
        paths = [p for p in sources.list_cutouts(root, package) if sources.is_held_out(p) == held_out]
        step = max(1, len(paths) // limit)
        for path in paths[::step]:
            sprite = _read_cutout(path)
            if sprite is not None:
                into.append(sprite)
    for path in sources.list_photos(root):
        if sources.is_held_out(path) == held_out:
            image = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_2)
            if image is not None and min(image.shape[:2]) >= 200:
                assets.photos.append(np.ascontiguousarray(_fit(image, _PHOTO_SIDE, shorter=True)[..., ::-1]))
                assets.large.append(np.ascontiguousarray(_fit(image, _LARGE_SIDE, shorter=True)[..., ::-1]))
    if not assets.photos:
        raise sources.SourceError(f"no background photographs below {root}; fetch the packages first")
    return assets


def _read_cutout(path: Path) -> U8 | None:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        return None
    solid = image[..., 3] > 127
    if not solid.any():
        return None
    ys, xs = np.nonzero(solid.any(1))[0], np.nonzero(solid.any(0))[0]
    image = image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    h, w = image.shape[:2]
    if max(h, w) < 70 or min(h, w) < 24 or not 0.12 < (image[..., 3] > 127).mean() < 0.985:
        return None
    image = np.ascontiguousarray(image[..., [2, 1, 0, 3]])
    image[..., :3] = (image[..., :3].astype(np.uint16) * image[..., 3:] // 255).astype(np.uint8)
    return _fit(image, _SPRITE_SIDE, shorter=False)


def _fit(image: U8, side: int, shorter: bool) -> U8:
    h, w = image.shape[:2]
    scale = side / (min(h, w) if shorter else max(h, w))
    if scale >= 1:
        return image
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


@dataclass
class _Actor:
    """One object: rigid parts with their own matrices to the frame at every time; all parts carry one label."""

    parts: list[U8]
    matrices: list[F64]  # a part's (T, 2, 3) affine matrix from part pixels to frame pixels
    bend: Bend


def make_clip(
    assets: Assets, seed: int, length: int = 8, size: int = 256, max_objects: int = 5, *, plain: bool = False
) -> Clip:
    """Makes one clip.

    Args:
        assets: pictures to use.
        seed: the clip is a function of it (and of the assets).
        length: frames.
        size: side of the frames in px.
        max_objects: up the more crowded; labels are 1..max_objects at most.
        plain: three objects of one part each, and nothing that hides or resembles them.

    Returns:
        The clip; an object that is hidden or outside in a frame has no pixel there.
    """
    rng = np.random.default_rng(seed)
    background, background_matrices = _background(assets, rng, length, size)
    actors: list[_Actor] = []
    count = min(3, max_objects) if plain else int(rng.integers(2, max_objects + 1))
    tone = background.reshape(-1, 3).mean(0)
    while len(actors) < count:
        if plain:
            actors.append(_act([pick_sprite(assets, rng)], rng, length, size, enters=rng.random() < 0.1))
        elif actors and rng.random() < 0.3:  # a look-alike: the same picture elsewhere, often entering later
            twin = actors[int(rng.integers(len(actors)))]
            parts = [np.ascontiguousarray(p[:, ::-1]) if rng.random() < 0.5 else p for p in twin.parts]
            actors.append(_act(parts, rng, length, size, enters=rng.random() < 0.6))
        else:
            actors.append(_act(_pick_parts(assets, rng, tone), rng, length, size, enters=rng.random() < 0.1))
    in_front = 0 if plain else int(rng.choice([0, 1, 2], p=[0.62, 0.3, 0.08]))
    occluders = [occluder_layer(assets.photos, rng, size) for _ in range(in_front)]
    hideout: Sprite | None = None
    hideout_matrix: F64 = np.zeros((2, 3))
    if not plain:
        hideout, hideout_matrix = _hideout(assets, rng, actors[int(rng.integers(len(actors)))], size)
    drift = rng.normal(0, 2.5, (len(occluders), 2)) * (rng.random((len(occluders), 1)) < 0.7)
    finish = _Finish(rng, length)
    frames = np.empty((length, size, size, 3), np.uint8)
    labels = np.zeros((length, size, size), np.uint8)
    for t in range(length):
        canvas = cv2.warpAffine(
            background, background_matrices[t], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        ).astype(np.float32)
        for number, actor in enumerate(actors, 1):
            for part, matrices in zip(actor.parts, actor.matrices, strict=True):
                paste(canvas, labels[t], part, matrices[t], number, actor.bend, t)
        if hideout is not None:
            paste(canvas, labels[t], hideout, hideout_matrix, 0, NO_BEND, t)
        for layer, d in zip(occluders, drift, strict=True):
            shift = np.array([[1, 0, d[0] * t - size * 0.25], [0, 1, d[1] * t - size * 0.25]])
            paste(canvas, labels[t], layer, shift, 0, NO_BEND, t)
        frames[t] = finish(canvas, t)
    return Clip(frames, labels)


def _background(assets: Assets, rng: np.random.Generator, length: int, size: int) -> tuple[U8, F64]:
    photo = assets.photos[int(rng.integers(len(assets.photos)))]
    if rng.random() < 0.5:
        photo = np.ascontiguousarray(photo[:, ::-1])
    h, w = photo.shape[:2]
    zoom = size / min(h, w) * rng.uniform(1.0, 2.2)
    room = np.array([w * zoom - size, h * zoom - size])
    start = rng.uniform(0, 1, 2) * room
    velocity = rng.normal(0, 1, 2) * rng.choice([0.0, 1.0, 4.0], p=[0.3, 0.4, 0.3])
    grow = 1 + rng.normal(0, 0.012) * (rng.random() < 0.4)
    shake = rng.normal(0, rng.choice([0.0, 0.8]), (length, 2))
    matrices = np.zeros((length, 2, 3))
    for t in range(length):
        z = zoom * grow**t
        matrices[t, 0, 0] = matrices[t, 1, 1] = z
        centre = (start + size / 2) * (z / zoom) - size / 2
        matrices[t, :, 2] = -(centre + velocity * t + shake[t])
    return photo, matrices


def pick_sprite(assets: Assets, rng: np.random.Generator) -> Sprite:
    """A cut-out where there are any, or a blob; half of them mirrored."""
    kind = rng.random()
    if assets.stamps and kind < 0.5:
        sprite = assets.stamps[int(rng.integers(len(assets.stamps)))]
    elif assets.clipart and kind < 0.62:
        sprite = assets.clipart[int(rng.integers(len(assets.clipart)))]
    else:
        sprite = blob_sprite(assets.photos, rng, int(rng.integers(64, _SPRITE_SIDE)))
    return np.ascontiguousarray(sprite[:, ::-1]) if rng.random() < 0.5 else sprite


def _pick_parts(assets: Assets, rng: np.random.Generator, tone: F64) -> list[Sprite]:
    count = int(rng.choice([1, 2, 3], p=[0.72, 0.18, 0.10]))
    gain = rng.uniform(0.65, 1.25) * rng.normal(1, 0.08, 3)
    blend = rng.uniform(0.1, 0.6) if rng.random() < 0.35 else 0.0
    # Some objects take on the tone of the scene: low contrast is what real videos are full of.
    return [toned(pick_sprite(assets, rng), gain, tone, blend) for _ in range(count)]


def _smooth_path(rng: np.random.Generator, length: int, step: float) -> F64:
    """(length, 2) offsets: constant speed, a little acceleration and a wobble, all in px."""
    t = np.arange(length)[:, None]
    velocity = step * direction(rng)
    bend = rng.normal(0, 0.12 * step, 2)
    wobble = rng.normal(0, 0.8 * step, 2) * np.sin(t * rng.uniform(0.2, 1.2) + rng.uniform(0, 6.3))
    return np.asarray(velocity * t + 0.5 * bend * t**2 + wobble)


def _act(parts: list[U8], rng: np.random.Generator, length: int, size: int, enters: bool) -> _Actor:
    """Gives an object its size, its path and its parts' places."""
    extent = float(max(max(p.shape[:2]) for p in parts))
    side = size * float(np.exp(rng.uniform(np.log(0.09), np.log(0.85))))
    if len(parts) > 1:
        side = max(side, 0.15 * size)
    scale0 = side / (extent * (1 + 0.5 * (len(parts) - 1)))
    parts = [shrink(p, scale0) for p in parts]
    scale0 = min(1.0, scale0) if scale0 < 1 else scale0
    step = size * rng.choice([0.0, 0.008, 0.022, 0.045], p=[0.12, 0.33, 0.35, 0.2])
    path = _smooth_path(rng, length, step)
    start = rng.uniform(0.1, 0.9, 2) * size
    t = np.arange(length)
    kind = rng.random()
    if enters:
        late = rng.uniform(0.2, 0.7) * length
        away = direction(rng) * (size * 0.5 + side * 0.6)
        path = path + away[None] * np.clip((late - t) / 2.5, 0, 1)[:, None] * 1.6
    elif kind < 0.22:  # leaves and comes back
        middle, width = rng.uniform(0.35, 0.8) * length, rng.uniform(1.0, 2.2)
        away = direction(rng) * (size * 0.5 + side * 0.6) * 1.5
        path = path + away[None] * np.exp(-(((t - middle) / width) ** 4))[:, None]
    centre = start[None] + path
    if kind > 0.3 and not enters:  # stays about the frame instead of drifting out
        centre = np.clip(centre, -0.1 * size, 1.1 * size)
    angle = rng.normal(0, 0.5) + rng.normal(0, 0.06) * t + rng.normal(0, 0.12) * np.sin(0.9 * t + rng.uniform(0, 6))
    grow = np.exp(np.cumsum(np.full(length, rng.normal(0, rng.choice([0.01, 0.05])))))
    stretch = rng.uniform(0.8, 1.25) * (1 + rng.normal(0, 0.05) * np.sin(0.8 * t))
    matrices: list[F64] = []
    offset = np.zeros(2)
    for i, part in enumerate(parts):
        h, w = part.shape[:2]
        if i:  # glued to the part before, overlapping it by a third
            reach = 0.33 * (np.array([w, h]) + np.array(parts[i - 1].shape[1::-1]))
            offset = offset + reach * direction(rng)
        swing = rng.normal(0, rng.choice([0.1, 0.3])) * np.sin(rng.uniform(0.4, 1.2) * t + rng.uniform(0, 6)) * (i > 0)
        m = np.zeros((length, 2, 3))
        residual = side / (extent * (1 + 0.5 * (len(parts) - 1))) if scale0 >= 1 else 1.0
        for k in range(length):
            a = angle[k]
            s = grow[k] * residual
            world = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) @ np.diag([s * stretch[k], s])
            b = swing[k]
            local = np.array([[np.cos(b), -np.sin(b)], [np.sin(b), np.cos(b)]])
            linear = world @ local
            m[k, :, :2] = linear
            m[k, :, 2] = centre[k] + world @ offset - linear @ np.array([w / 2, h / 2])
        matrices.append(m)
    bend = NO_BEND
    if rng.random() < 0.4:
        bend = (rng.uniform(0.01, 0.05) * side, 2 * np.pi / (side * rng.uniform(0.7, 2)), rng.uniform(-0.9, 0.9))
    return _Actor(parts, matrices, bend)


def _hideout(assets: Assets, rng: np.random.Generator, actor: _Actor, size: int) -> tuple[Sprite | None, F64]:
    """Sometimes a large thing that stands in front of where an object starts: most of it shows only later."""
    matrix = np.zeros((2, 3))
    if rng.random() > 0.3:
        return None, matrix
    h, w = actor.parts[0].shape[:2]
    start = actor.matrices[0][0] @ np.array([w / 2, h / 2, 1])
    extent = max(h, w) * float(np.sqrt(abs(np.linalg.det(actor.matrices[0][0][:, :2]))))
    side = int(np.clip(extent * rng.uniform(0.8, 1.8), 0.2 * size, 0.7 * size))
    centre = start + direction(rng) * (side * 0.5 + extent * rng.uniform(-0.35, 0.25))
    matrix[:, :2] = np.eye(2)
    matrix[:, 2] = centre - side / 2
    return blob_sprite(assets.photos, rng, side), matrix


class _Finish:
    """What the camera does to a rendered frame: exposure, blur, noise, compression."""

    def __init__(self, rng: np.random.Generator, length: int) -> None:
        self.rng = rng
        walk = np.cumsum(rng.normal(0, 0.03, length)) if rng.random() < 0.4 else np.zeros(length)
        self.gain = rng.uniform(0.75, 1.2) * np.exp(walk)
        self.tint = rng.normal(1, 0.04, 3).astype(np.float32)
        self.kernel: F32 | None = None
        kind = rng.random()
        if kind < 0.15:  # motion blur of the whole frame
            n = int(rng.integers(3, 8))
            line = np.zeros((n, n), np.float32)
            line[n // 2] = 1
            turn = cv2.getRotationMatrix2D((n / 2 - 0.5, n / 2 - 0.5), float(rng.uniform(0, 180)), 1)
            line = cv2.warpAffine(line, turn, (n, n)).astype(np.float32)
            self.kernel = line / max(float(line.sum()), 1e-3)
        elif kind < 0.35:
            row = cv2.getGaussianKernel(5, float(rng.uniform(0.4, 1.3))).astype(np.float32)
            self.kernel = row @ row.T
        self.noise = float(rng.choice([0.0, 2.0, 6.0], p=[0.4, 0.4, 0.2]))
        self.quality = int(rng.integers(30, 90)) if rng.random() < 0.35 else 0

    def __call__(self, canvas: F32, t: int) -> U8:
        image = canvas * (np.float32(self.gain[t]) * self.tint)
        if self.kernel is not None:
            image = cv2.filter2D(image, -1, self.kernel)
        if self.noise:
            image += self.rng.standard_normal(image.shape, dtype=np.float32) * np.float32(self.noise)
        out = np.clip(image, 0, 255).astype(np.uint8)
        if self.quality:
            _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return out
