"""What the held-out clips are made of: cut-outs and photographs that training never sees, textured shapes, and drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.training import sources

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

# Letters, signs and buttons are flat one-colour shapes that no camera sees.
_FLAT = (
    *("symbol", "sign", "icon", "action", "star", "shape", "pattern", "arrow", "button", "gradient", "theme", "mime"),
    *("alphabet", "apps", "applications", "filesystem", "geography", "led", "ornament", "white", "map"),
)


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
        return cls._fetched(root, held_out=True)

    @classmethod
    def for_training(cls, root: Path) -> Pictures:
        """The other part, which the model knows: only to fit something on. Raises as :meth:`held_out`."""
        return cls._fetched(root, held_out=False)

    @classmethod
    def _fetched(cls, root: Path, held_out: bool) -> Pictures:
        def part(paths: Sequence[Path]) -> list[Path]:
            return [path for path in paths if sources.is_held_out(path) == held_out]

        photos = part(sources.list_photos(root))
        stamps = part(sources.list_cutouts(root, sources.STAMP_PACKAGE))
        clipart = part(sources.list_cutouts(root, sources.CLIPART_PACKAGE))
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
        return cls([blob(photos_of(photos), rng, 160) for _ in range(8)], photos)

    def cutout(self, index: int) -> U8 | None:
        item = self.cutouts[index]
        return item if isinstance(item, np.ndarray) else _read_cutout(item)

    def photo(self, index: int) -> U8:
        return photos_of([self.photos[index]])[0]


def photos_of(items: Sequence[Path | U8]) -> list[U8]:
    """The pictures themselves."""
    return [item if isinstance(item, np.ndarray) else _read_photo(item) for item in items]


@dataclass
class Actor:
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
    return scaled(image, min(1.0, 480 / max(h, w)))


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


def blob(photos: Sequence[U8], rng: np.random.Generator, side: int) -> U8:
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


def scaled(image: U8, scale: float) -> U8:
    if scale == 1:
        return image
    size = (max(3, round(image.shape[1] * scale)), max(3, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC).astype(np.uint8)


def tinted(sprite: U8, rng: np.random.Generator, tone: F64, blend: float | None = None) -> U8:
    """The sprite in the light of the scene: some things stand out from it, many do not."""
    if blend is None:
        blend = rng.uniform(0.1, 0.55) if rng.random() < 0.45 else 0.0
    alpha = sprite[..., 3:].astype(np.float64) / 255
    colour = sprite[..., :3] * (rng.uniform(0.7, 1.15) * rng.normal(1, 0.05, 3))
    mean = colour.sum((0, 1)) / max(float(alpha.sum()), 1.0)
    colour = colour + alpha * blend * (tone - mean)
    return np.dstack((np.clip(colour, 0, alpha * 255), sprite[..., 3:])).astype(np.uint8)


def smear(image: U8, motion: F64) -> U8:
    """Blurs along `motion`, in px, the way covered while the shutter was open."""
    reach = float(np.hypot(*motion))
    if reach < 1.5:
        return image
    n = min(int(np.ceil(reach)) | 1, 61)
    kernel = np.zeros((n, n), np.float32)
    half = motion / reach * (n - 1) / 2
    middle = (n - 1) / 2
    ends = [tuple(int(v) for v in np.round((middle + sign * half) * 16)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 4)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _draw(actor: Actor, t: int, size: tuple[int, int]) -> tuple[int, int, U8] | None:
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
    return int(x0), int(y0), smear(np.asarray(drawn, np.uint8), motion)


def paste(canvas: U8, labels: U8, actor: Actor, t: int, number: int) -> None:
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


def drawn_area(actor: Actor, height: int, width: int) -> int:
    """Pixels of the actor on the first frame if nothing hid it."""
    found = _draw(actor, 0, (height, width))
    return 0 if found is None else int((found[2][..., 3] > 127).sum())
