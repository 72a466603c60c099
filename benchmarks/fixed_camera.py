"""Clips of a camera on a tripod, with exact truth: things that come, cross, stand a while and go, with shadows and noise.

Made of the same held-out pictures as the other clips. Writes a film to look at or to try `--detector motion` on:

    python benchmarks/fixed_camera.py --data data/builtin --seed 3 --out out/fixed.mp4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from keepsight.core import Frame, Mask
from keepsight.video import VideoWriter
from keepsight.video.source import IndexedSource
from sprites import F64, U8, Actor, Pictures, blob, paste, scaled, tinted

WIDTH, HEIGHT = 960, 540


class FixedClip(IndexedSource):
    """One clip as a video source; :meth:`truth` has the visible pixels of every thing that moves.

    Args:
        pictures: what to build it from.
        seed: the clip is a function of it (and of the pictures).
        length: frames.
        actors: things that pass.
        pan_px: how far the camera moves from frame to frame; 0 is what its name says.
    """

    def __init__(self, pictures: Pictures, seed: int, length: int = 120, actors: int = 5, pan_px: float = 0.0) -> None:
        rng = np.random.default_rng((seed, 4711))
        self.seed, self.name, self.warnings = seed, f"fixed{seed}", []
        self.width, self.height, self._fps, self._count = WIDTH, HEIGHT, 25.0, length
        self._pan_px = pan_px
        self._world = _scenery(pictures, rng)
        tone = self._world.reshape(-1, 3).mean(0)
        self._actors = [_passer(pictures, rng, tone, length) for _ in range(actors)]
        self._noise = float(rng.uniform(1.5, 5))
        self._light = 1 + np.cumsum(rng.normal(0, 0.002, length))
        self._shade = float(rng.uniform(0.55, 0.8))  # how dark shadows are
        self._swaying = rng.uniform(0.1, 0.7, 2) * (WIDTH, HEIGHT)
        self._made: dict[int, tuple[U8, U8]] = {}

    @property
    def frame_count(self) -> int:
        return self._count

    @property
    def numbers(self) -> range:
        """Ids of the things in :meth:`truth`."""
        return range(1, len(self._actors) + 1)

    def read(self, index: int) -> Frame:
        self._check_index(index)
        rgb = cv2.imdecode(self._render(index)[0], cv2.IMREAD_COLOR_RGB)
        return Frame(index, index / self._fps, np.asarray(rgb, np.uint8))

    def truth(self, index: int, number: int) -> Mask:
        """Visible pixels; empty while it is hidden or outside."""
        return Mask.from_array(self.labels(index) == number)

    def labels(self, index: int) -> U8:
        """``(H, W)``: the id of what is seen at each pixel, 0 for what stands still."""
        self._check_index(index)
        return self._render(index)[1]

    def fingerprint(self) -> str:
        return f"fixed-{self.seed}-{self._count}-{self._pan_px}"

    def _render(self, t: int) -> tuple[U8, U8]:
        if t not in self._made:
            canvas = self._world.copy()
            x, y = (int(value) for value in self._swaying)
            # A bush in the wind: a patch of the scenery that goes to and fro.
            sway = 1.5 * np.sin(0.7 * t)
            patch = canvas[y : y + 90, x : x + 120]
            moved = cv2.warpAffine(patch, np.float64([[1, 0, sway], [0, 1, 0]]), (patch.shape[1], patch.shape[0]))
            patch[4:-4, 4:-4] = moved[4:-4, 4:-4]
            if self._pan_px:
                canvas = np.roll(canvas, round(self._pan_px * t), 1)
            for actor in self._actors:
                self._cast(canvas, actor, t)
            labels = np.zeros((HEIGHT, WIDTH), np.uint8)
            for number, actor in enumerate(self._actors, 1):
                paste(canvas, labels, actor, t, number)
            noise = np.random.default_rng((self.seed, t)).standard_normal((HEIGHT, WIDTH, 3), np.float32)
            image = np.clip(canvas * np.float32(self._light[t]) + noise * self._noise, 0, 255).astype(np.uint8)
            jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
            self._made[t] = (np.asarray(jpeg, np.uint8), labels)
        return self._made[t]

    def _cast(self, canvas: U8, actor: Actor, t: int) -> None:
        """A soft shadow on the ground, at the feet and to the right of them."""
        x, y = actor.centres[t]
        height, width = (side * actor.scales[t] for side in actor.sprite.shape[:2])
        dark = np.zeros((HEIGHT, WIDTH), np.uint8)
        centre = (round(x + 0.35 * width), round(y + 0.47 * height))
        cv2.ellipse(dark, centre, (max(round(0.7 * width), 2), max(round(0.1 * height), 2)), 0, 0, 360, 255, -1)
        share = cv2.GaussianBlur(dark, (0, 0), 4).astype(np.float32)[..., None] / 255 * (1 - self._shade)
        canvas[:] = (canvas * (1 - share)).astype(np.uint8)


def _scenery(pictures: Pictures, rng: np.random.Generator) -> U8:
    photo = pictures.photo(int(rng.integers(len(pictures.photos))))
    h, w = photo.shape[:2]
    fit = max(WIDTH / w, HEIGHT / h) * rng.uniform(1.0, 1.3)
    photo = cv2.resize(photo, (round(w * fit) + 1, round(h * fit) + 1), interpolation=cv2.INTER_AREA)
    y, x = (int(rng.integers(a - b + 1)) for a, b in zip(photo.shape[:2], (HEIGHT, WIDTH), strict=True))
    world = np.ascontiguousarray(photo[y : y + HEIGHT, x : x + WIDTH]).astype(np.uint8)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    still = np.ones(1)
    for _ in range(int(rng.integers(4, 12))):  # what stands about, and is not to be found
        sprite = tinted(_sprite(pictures, rng, rng.uniform(20, 130)), rng, world.reshape(-1, 3).mean(0))
        paste(world, labels, Actor(sprite, rng.uniform(0, 1, (1, 2)) * (WIDTH, HEIGHT), still, still, still), 0, 1)
    return world


def _sprite(pictures: Pictures, rng: np.random.Generator, side: float) -> U8:
    if rng.random() < 0.75:
        for _ in range(20):
            cutout = pictures.cutout(int(rng.integers(len(pictures.cutouts))))
            if cutout is not None:
                return scaled(cutout, side / max(cutout.shape[:2]))
    return blob([pictures.photo(int(rng.integers(len(pictures.photos))))], rng, max(round(side), 8))


def _passer(pictures: Pictures, rng: np.random.Generator, tone: F64, length: int) -> Actor:
    """Something that walks through the picture, and may stand still for a second on its way."""
    side = float(np.exp(rng.uniform(np.log(24), np.log(200))))
    sprite = tinted(_sprite(pictures, rng, side), rng, tone)
    speed = rng.uniform(3, 12) * rng.choice([-1, 1])
    going = np.ones(length)
    if rng.random() < 0.5:
        pause = int(rng.integers(0, length))
        going[pause : pause + 25] = 0
    way = np.cumsum(speed * going)
    meet = int(rng.integers(0, length))
    x = rng.uniform(0.15, 0.85) * WIDTH + way - way[meet]
    y = rng.uniform(0.25, 0.9) * HEIGHT + 2 * np.sin(np.arange(length) * 0.5) * going
    ones = np.ones(length)
    angles = 0.04 * np.sin(np.arange(length) * 0.6) * going
    return Actor(sprite, np.stack((x, y), 1), ones, angles, ones)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--out", type=Path, required=True, help="film to write")
    arguments = parser.parse_args()
    clip = FixedClip(Pictures.held_out(arguments.data), arguments.seed, arguments.frames)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(arguments.out, height=HEIGHT, width=WIDTH, fps=clip.fps) as writer:
        for frame in clip.frames():
            writer.write(frame.rgb)
    print(f"{arguments.out}: {clip.frame_count} frames of {WIDTH}x{HEIGHT} px, {len(clip.numbers)} things that move")


if __name__ == "__main__":
    main()
