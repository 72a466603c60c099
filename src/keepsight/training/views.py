"""Clips as the network sees them in use: a square view follows one object and shows it large.

The engine looks at an object through a search region of two to three times its size that mostly stands still and at
times jumps after it. So the object fills a fifth to a half of the side, its neighbours are cut by the border, sources
are often smaller than the view (upsampled, with compression artefacts), and remembered frames were seen through other
views. A share of the clips shows whole frames with small objects, and others objects that hardly fit.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.training.clips import Assets
from keepsight.training.sprites import direction, line_kernel
from keepsight.training.view_scene import Scene

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class ViewClip(NamedTuple):
    """A clip through a moving view.

    frames (T, S, S, 3) uint8 RGB; labels (T, S, S) uint8, 0 background, 1.. objects (visible part only); views (T, 3)
    float32: left, top and side of the view in units of the scene, or (T, 4): left, top, width and height; principal: label of
    the object that it follows.
    """

    frames: U8
    labels: U8
    views: F32
    principal: int


def placement(views: F32, of: int, to: int) -> tuple[float, float, float, float]:
    """(scale_x, scale_y, shift_x, shift_y) from places in [0, 1] of view `of` to places in [0, 1] of view `to`."""
    (x0, y0, w0, *more0), (x1, y1, w1, *more1) = views[of].tolist(), views[to].tolist()
    h0, h1 = (more0 or [w0])[0], (more1 or [w1])[0]
    return w0 / w1, h0 / h1, (x0 - x1) / w1, (y0 - y1) / h1


def make_view_clip(assets: Assets, seed: int, length: int = 10, size: int = 256) -> ViewClip:
    """Makes one clip; a function of its seed (and of the assets).

    Args:
        assets: pictures to use.
        seed: of everything drawn.
        length: frames.
        size: side of the frames in px; the first view is one scene unit a px.
    """
    rng = np.random.default_rng(seed)
    kind = rng.choice(["zoom", "whole", "large"], p=[0.78, 0.13, 0.09])
    if kind == "zoom":
        share = float(np.clip(np.exp(rng.normal(np.log(0.36), 0.32)), 0.14, 0.75))
    elif kind == "whole":
        share = float(rng.uniform(0.06, 0.2))
    else:
        share = float(rng.uniform(0.55, 1.05))
    scene = Scene(assets, rng, length, size)
    scene.add_clutter()
    principal = scene.add_principal(share * size)
    scene.add_others(principal)
    view = _View(rng, size, kind, share)
    finish = _Camera(rng, length, size, kind == "zoom")
    frames = np.empty((length, size, size, 3), np.uint8)
    labels = np.zeros((length, size, size), np.uint8)
    views = np.empty((length, 3), np.float32)
    number = scene.order.index(principal) + 1
    for t in range(length):
        if t:
            view.follow(labels[t - 1] == number, scene.centres[principal][t])
        else:
            view.start(scene.centres[principal][0])
        views[t] = view.left, view.top, view.side
        canvas = scene.draw(labels[t], t, view.matrix())
        frames[t] = finish(canvas, t)
    return ViewClip(frames, labels, views, number)


class _View:
    """The square that is shown; moves as a tracker with hysteresis would move it."""

    def __init__(self, rng: np.random.Generator, size: int, kind: str, share: float) -> None:
        self.rng, self.size, self.side = rng, size, float(size)
        self.left = self.top = 0.0
        self.share = share
        style = rng.random()
        self.still = kind == "whole" or style < 0.2
        self.eager = style > 0.88
        self.slack = rng.uniform(0.05, 0.2)
        self.size_slack = rng.uniform(1.15, 1.45)
        self.rest = rng.choice([0.0, 0.06, 0.15])
        self.loose = kind == "whole" or rng.random() < 0.2

    def start(self, centre: F64) -> None:
        jitter = self.rng.uniform(-0.28, 0.28, 2) if self.loose else self.rng.normal(0, 0.04, 2)
        self._look_at(centre + jitter * self.side)

    def follow(self, seen: NDArray[np.bool_], truth: F64) -> None:
        """Moves after the object as it was `seen` (S, S) last; `truth` is where it is now, in the scene."""
        if self.still:
            return
        if not seen.any():
            if self.rng.random() < 0.2:  # found again by a look at the whole frame
                self._look_at(truth + self.rng.normal(0, 0.06, 2) * self.side)
            return
        xs, ys = np.nonzero(seen.any(0))[0], np.nonzero(seen.any(1))[0]
        x0, x1, y0, y1 = xs[0], xs[-1] + 1, ys[0], ys[-1] + 1
        unit = self.side / self.size
        centre = np.array([self.left + (x0 + x1) / 2 * unit, self.top + (y0 + y1) / 2 * unit])
        extent = max(x1 - x0, y1 - y0) / self.size
        off = max(abs(x0 + x1 - self.size), abs(y0 + y1 - self.size)) / 2 / self.size
        change = extent / self.share
        jump = off > self.slack or not 1 / self.size_slack < change < self.size_slack
        if not (jump or self.eager or self.rng.random() < self.rest):
            return
        ratio = float(np.clip(change, 1 / 1.5, 1.5)) if not 1 / self.size_slack < change < self.size_slack else 1.0
        if self.rng.random() < 0.3:
            ratio *= float(np.exp(self.rng.normal(0, 0.15)))
        self.side = float(np.clip(self.side * ratio, 0.4 * self.size, 2.2 * self.size))
        self._look_at(centre + self.rng.normal(0, 0.025, 2) * self.side)

    def _look_at(self, centre: F64) -> None:
        self.left, self.top = float(centre[0] - self.side / 2), float(centre[1] - self.side / 2)

    def matrix(self) -> F64:
        """(3, 3) from the scene to px of the view."""
        z = self.size / self.side
        return np.array([[z, 0, -z * self.left], [0, z, -z * self.top], [0, 0, 1.0]])


class _Camera:
    """What camera, scaler and codec do to a rendered frame."""

    def __init__(self, rng: np.random.Generator, length: int, size: int, zoomed: bool) -> None:
        self.rng, self.size = rng, size
        walk = np.cumsum(rng.normal(0, 0.03, length)) if rng.random() < 0.4 else np.zeros(length)
        self.gain = rng.uniform(0.75, 1.2) * np.exp(walk)
        self.tint = rng.normal(1, 0.04, 3).astype(np.float32)
        self.gamma = float(np.exp(rng.normal(0, 0.2))) if rng.random() < 0.3 else 1.0
        # A zoomed view of a small object has far fewer pixels of its own than it shows.
        shrink = (
            float(np.exp(rng.uniform(np.log(1.3), np.log(5.5)))) if rng.random() < (0.62 if zoomed else 0.3) else 1.0
        )
        self.native = max(40, round(size / shrink))
        self.kernel: F32 | None = None
        kind = rng.random()
        if kind < 0.12:  # motion blur of the whole frame
            self.kernel = line_kernel(rng.uniform(3, 9), direction(rng))
        elif kind < 0.35:
            row = cv2.getGaussianKernel(7, float(rng.uniform(0.4, 1.8))).astype(np.float32)
            self.kernel = row @ row.T
        self.noise = float(rng.choice([0.0, 2.0, 6.0], p=[0.45, 0.4, 0.15]))
        self.quality = int(rng.integers(25, 90)) if rng.random() < 0.5 else 0
        self.up = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC], p=[0.75, 0.25]))

    def __call__(self, canvas: F32, t: int) -> U8:
        image = canvas
        if self.kernel is not None:
            image = cv2.filter2D(image, -1, self.kernel)
        if self.native < self.size:
            image = cv2.resize(image, (self.native, self.native), interpolation=cv2.INTER_AREA)
        image = image * (np.float32(self.gain[t]) * self.tint)
        if self.gamma != 1.0:
            image = np.power(np.clip(image, 0, 255) * np.float32(1 / 255), np.float32(self.gamma)) * np.float32(255)
        if self.noise:
            image = image + self.rng.standard_normal(image.shape, dtype=np.float32) * np.float32(self.noise)
        out = np.clip(image, 0, 255).astype(np.uint8)
        if self.quality:
            _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        if self.native < self.size:
            out = cv2.resize(out, (self.size, self.size), interpolation=self.up).astype(np.uint8)
        return out
