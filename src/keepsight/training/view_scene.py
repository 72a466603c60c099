"""The scene that a view looks into: a background, objects with shadows, and what stands or passes in front of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.training import figures
from keepsight.training.clips import Assets, pick_sprite
from keepsight.training.figures import Part
from keepsight.training.scenery import Sprite, blob_sprite, occluder_layer, texture
from keepsight.training.sprites import NO_BEND, Bend, direction, line_kernel, paste, shrink, toned

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass
class _Body:
    """An object in its own frame: parts about its centre, larger side `extent` px."""

    parts: list[Part]
    extent: float
    centre: tuple[float, float]


class Scene:
    """Background, objects, shadows and occluders in scene coordinates (those of the camera).

    Args:
        assets: pictures to use.
        rng: of everything drawn.
        length: frames.
        size: side of the scene that the camera shows, in px of a view that shows all of it.

    Attributes:
        centres: where each object is, (T, 2) in the scene.
        order: the objects, back to front; an object's label is its place here, from 1.
    """

    def __init__(self, assets: Assets, rng: np.random.Generator, length: int, size: int) -> None:
        self.assets, self.rng, self.length, self.size = assets, rng, length, size
        self.photos = assets.large or assets.photos
        photo = self.photos[int(rng.integers(len(self.photos)))]
        self.photo = np.ascontiguousarray(photo[:, ::-1]) if rng.random() < 0.5 else photo
        self.camera = self._camera()
        self.clutter: list[tuple[Sprite, F64]] = []  # stands in the scene and is no object, in px of the photograph
        self.bodies: list[list[tuple[Sprite, F64]]] = []
        self.bends: list[Bend] = []
        self.shadows: list[tuple[Sprite, F64] | None] = []
        self.centres: list[F64] = []
        self.order: list[int] = []  # back to front
        self.covers: list[tuple[Sprite, F64]] = []
        self.layers: list[tuple[Sprite, F64]] = []
        self.tone = self.photo[::8, ::8].reshape(-1, 3).mean(0)

    def _camera(self) -> F64:
        """(T, 3, 3) from the photograph to the scene."""
        rng, length = self.rng, self.length
        h, w = self.photo.shape[:2]
        zoom = float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))
        zoom = max(zoom, 1.1 * self.size / min(h, w))
        room = np.array([w * zoom - self.size, h * zoom - self.size])
        start = rng.uniform(0.1, 0.9, 2) * room
        velocity = rng.normal(0, 1, 2) * rng.choice([0.0, 1.5, 6.0, 14.0], p=[0.4, 0.3, 0.2, 0.1])
        grow = 1 + rng.normal(0, 0.012) * (rng.random() < 0.3)
        shake = np.cumsum(rng.normal(0, rng.choice([0.0, 0.8, 3.0], p=[0.5, 0.35, 0.15]), (length, 2)), 0)
        out = np.zeros((length, 3, 3))
        out[:, 2, 2] = 1
        for t in range(length):
            z = zoom * grow**t
            out[t, 0, 0] = out[t, 1, 1] = z
            centre = (start + self.size / 2) * (z / zoom) - self.size / 2
            out[t, :2, 2] = -(centre + velocity * t + shake[t])
        return out

    def add_clutter(self) -> None:
        """Edges and textures behind the objects: many of the photographs are calm."""
        rng = self.rng
        for _ in range(int(rng.choice([0, 2, 5, 9], p=[0.35, 0.25, 0.25, 0.15]))):
            side = self.size * float(np.exp(rng.uniform(np.log(0.08), np.log(0.9))))
            kind = rng.random()
            if kind < 0.4:
                sprite = pick_sprite(self.assets, rng)
            elif kind < 0.6:
                sprite = blob_sprite(self.assets.photos, rng, 96)
            else:
                sprite = self._slab(side * rng.uniform(0.15, 1.0), side * rng.uniform(0.4, 1.5))
            zoom = float(self.camera[0][0, 0])
            scale = side / max(sprite.shape[:2])
            sprite = shrink(sprite, min(1.0, scale * 1.2))
            scale = side / max(sprite.shape[:2]) / zoom
            turn = rng.normal(0, 0.25)
            at = (rng.uniform(-0.4, 1.4, 2) * self.size - self.camera[0][:2, 2]) / zoom
            matrix = np.eye(3)
            matrix[:2, :2] = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            matrix[:2, 2] = at
            self.clutter.append((sprite, matrix))

    def add_principal(self, side: float) -> int:
        """The object to follow, about `side` px large; its place in `centres`."""
        body = self._body()
        self.principal_body, self.principal_side = body, side
        start = self.rng.uniform(0.3, 0.7, 2) * self.size
        path = self._path(side, start, self.rng.choice([0.0, 0.02, 0.06, 0.14, 0.28], p=[0.12, 0.26, 0.32, 0.2, 0.1]))
        if self.rng.random() < 0.16:  # leaves, mostly to come back
            middle, width = self.rng.uniform(0.4, 0.9) * self.length, self.rng.uniform(0.8, 2.2)
            away = direction(self.rng) * (self.size + side)
            path = path + away * np.exp(-(((np.arange(self.length) - middle) / width) ** 4))[:, None]
        self._add(body, side, path)
        self.order = [0]
        return 0

    def add_others(self, principal: int) -> None:
        """Neighbours, look-alikes, passers-by, hiding places and thin things in front."""
        rng, size = self.rng, self.size
        side, centre = self.principal_side, self.centres[principal]
        steps = np.arange(self.length)[:, None]
        for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.22, 0.36, 0.28, 0.14]))):
            body = self._body()
            other = float(np.clip(side * np.exp(rng.normal(0, 0.45)), 0.05 * size, 1.1 * size))
            at = centre[0] + direction(rng) * rng.uniform(0.6, 1.6) * (side + other) / 2
            self._insert(body, other, self._path(other, at, rng.choice([0.0, 0.05, 0.15])))
        if rng.random() < 0.45:  # a look-alike, most of them entering later or passing close by
            twin = _recolour(self.principal_body, rng)
            other = side * float(np.exp(rng.normal(0, 0.15)))
            style = rng.random()
            if style < 0.45:  # comes in from outside to the object's neighbourhood
                goal = centre[-1] + direction(rng) * rng.uniform(0.35, 1.0) * (side + other) / 2
                late = rng.uniform(0.3, 0.9) * self.length
                path = goal + direction(rng) * size * 0.9 * np.clip((late - steps) / rng.uniform(2, 6), 0, 1.5)
            elif style < 0.75:  # crosses the object's way
                middle = rng.uniform(0.25, 0.8) * self.length
                path = centre + direction(rng) * side * rng.uniform(0.1, 0.6) * (steps - middle)
            else:  # is there from the start
                path = self._path(other, centre[0] + direction(rng) * rng.uniform(0.5, 1.4) * (side + other) / 2, 0.05)
            self._insert(twin, other, path)
        if rng.random() < 0.22:  # something passes in front and may hide everything for a while
            self._passer_by(centre, side)
        if rng.random() < 0.15:  # a thing that stands where the object starts or will go
            when = int(rng.integers(self.length))
            extent = float(side * rng.uniform(0.5, 1.4))
            sprite = self._slab(extent, extent)
            at = centre[when] + direction(rng) * (extent / 2 + side * rng.uniform(-0.3, 0.3))
            self.covers.append((sprite, self._placed(at - np.array(sprite.shape[1::-1]) / 2)))
        for _ in range(int(rng.choice([0, 1, 2], p=[0.72, 0.23, 0.05]))):
            layer = occluder_layer(self.assets.photos, rng, size) if rng.random() < 0.6 else self._branches()
            big = rng.uniform(0.7, 1.6)
            drift = rng.normal(0, 2.5, 2) * (rng.random() < 0.5)
            at = centre[0] - big * layer.shape[0] / 2 + rng.normal(0, 0.1, 2) * size
            self.layers.append((layer, self._placed(at + drift * steps, big, big)))

    def draw(self, labels: U8, t: int, view: F64) -> F32:
        """Float32 canvas (S, S, 3) of frame t through a view; writes the visible labels."""
        size = self.size
        canvas = cv2.warpAffine(
            self.photo,
            (view @ self.camera[t])[:2],
            (size, size),
            flags=cv2.INTER_LINEAR if (view @ self.camera[t])[0, 0] > 0.7 else cv2.INTER_AREA,
            borderMode=cv2.BORDER_REFLECT,
        ).astype(np.float32)
        for sprite, matrix in self.clutter:
            paste(canvas, labels, sprite, (view @ self.camera[t] @ matrix)[:2], 0, NO_BEND, t)
        for number, i in enumerate(self.order, 1):
            shadow = self.shadows[i]
            if shadow is not None:
                paste(canvas, labels, shadow[0], (view @ shadow[1][t])[:2], 0, NO_BEND, t)
            zoom = view[0, 0]
            amplitude, wave, phase = self.bends[i]
            for sprite, matrices in self.bodies[i]:
                paste(
                    canvas, labels, sprite, (view @ matrices[t])[:2], number, (amplitude * zoom, wave / zoom, phase), t
                )
        for sprite, matrices in (*self.covers, *self.layers):
            paste(canvas, labels, sprite, (view @ matrices[t])[:2], 0, NO_BEND, t)
        return canvas

    def _body(self) -> _Body:
        """An object: a cut-out, a blob, some of them glued, or a drawn figure."""
        rng, photos = self.rng, self.assets.photos
        kind = rng.random()
        if kind < 0.16:
            parts = figures.person(photos, rng)
        elif kind < 0.23:
            parts = figures.animal(photos, rng)
        elif kind < 0.30:
            parts = figures.vehicle(photos, rng)
        else:
            parts = []
            place = np.zeros(2)
            before: F64 | None = None
            for i in range(int(rng.choice([1, 2, 3], p=[0.72, 0.18, 0.10]))):
                sprite = pick_sprite(self.assets, rng)
                half = np.array(sprite.shape[1::-1]) / 2
                if before is not None:  # glued to the part before, overlapping it by a third
                    place = place + 0.66 * (half + before) * direction(rng)
                before = half
                swing = rng.normal(0, rng.choice([0.1, 0.3])) * (i > 0)
                parts.append(Part(sprite, (half[0], half[1]), (place[0], place[1]), swing, rng.uniform(0, 6)))
        if rng.random() < 0.4:
            parts = self._tone(parts)
        corners = []
        for part in parts:
            h, w = part.sprite.shape[:2]
            low = np.array(part.place) - part.pivot
            corners += [low, low + (w, h)]
        low, high = np.min(corners, 0), np.max(corners, 0)
        return _Body(parts, float((high - low).max()), (float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2))

    def _tone(self, parts: list[Part]) -> list[Part]:
        """Exposure of its own, or the tone of the scene: low contrast is what real videos are full of."""
        gain = self.rng.uniform(0.6, 1.25) * self.rng.normal(1, 0.08, 3)
        blend = self.rng.uniform(0.1, 0.6) if self.rng.random() < 0.6 else 0.0
        return [part._replace(sprite=toned(part.sprite, gain, self.tone, blend)) for part in parts]

    def _path(self, side: float, start: F64, speed: float) -> F64:
        """(T, 2) centres: constant speed in units of the object's size, a little acceleration, a wobble."""
        rng = self.rng
        t = np.arange(self.length)[:, None]
        step = speed * side
        wobble = rng.normal(0, 0.6 * step, 2) * np.sin(t * rng.uniform(0.2, 1.2) + rng.uniform(0, 6.3))
        return np.asarray(start + step * direction(rng) * t + 0.06 * step * rng.normal(0, 1, 2) * t**2 + wobble)

    def _insert(self, body: _Body, side: float, path: F64) -> None:
        i = self._add(body, side, path)
        self.order.insert(int(self.rng.integers(len(self.order) + 1)), i)

    def _add(self, body: _Body, side: float, path: F64) -> int:
        rng, t = self.rng, np.arange(self.length)
        angle = rng.normal(0, 0.3) + rng.normal(0, 0.04) * t + rng.normal(0, 0.08) * np.sin(0.9 * t + rng.uniform(0, 6))
        grow = np.exp(np.cumsum(np.full(self.length, rng.normal(0, rng.choice([0.006, 0.04])))))
        stretch = rng.uniform(0.8, 1.25) * (1 + rng.normal(0, 0.04) * np.sin(0.8 * t))
        scale = side / body.extent
        pre = min(1.0, scale * 1.25)  # area-filtered near its size, so that the bilinear warp does not alias
        tempo = rng.uniform(0.4, 1.4)
        blur = None
        speed = np.diff(path, axis=0).mean(0) if self.length > 1 else np.zeros(2)
        if rng.random() < 0.25 and np.linalg.norm(speed) > 4:
            blur = line_kernel(min(15.0, float(np.linalg.norm(speed)) * rng.uniform(0.3, 0.8)), speed)
        drawn: list[tuple[Sprite, F64]] = []
        centre = np.array(body.centre)
        for part in body.parts:
            sprite = shrink(part.sprite, pre)
            real = np.array(sprite.shape[1::-1]) / np.array(part.sprite.shape[1::-1])
            margin = 0
            if blur is not None:
                margin = blur.shape[0] // 2 + 1
                sprite = cv2.copyMakeBorder(sprite, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
                sprite = cv2.filter2D(sprite, -1, blur).astype(np.uint8)
            matrices = np.zeros((self.length, 3, 3))
            matrices[:, 2, 2] = 1
            for k in range(self.length):
                a = angle[k]
                world = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
                world = world @ np.diag([scale * grow[k] * stretch[k], scale * grow[k]])
                b = part.swing * np.sin(tempo * k + part.phase)
                local = world @ np.array([[np.cos(b), -np.sin(b)], [np.sin(b), np.cos(b)]])
                linear = local @ np.diag(1 / real)
                matrices[k, :2, :2] = linear
                pivot = np.array(part.pivot) * real + margin
                matrices[k, :2, 2] = path[k] + world @ (np.array(part.place) - centre) - linear @ pivot
            drawn.append((sprite, matrices))
        bend = NO_BEND
        if rng.random() < 0.3:
            bend = (rng.uniform(0.01, 0.05) * side, 2 * np.pi / (side * rng.uniform(0.7, 2)), rng.uniform(-0.9, 0.9))
        self.bodies.append(drawn)
        self.bends.append(bend)
        self.centres.append(path)
        self.shadows.append(self._shadow(side, path) if rng.random() < 0.25 else None)
        return len(self.bodies) - 1

    def _shadow(self, side: float, path: F64) -> tuple[Sprite, F64]:
        """A dark, soft ellipse below the object; it is not part of it."""
        alpha = np.zeros((24, 48), np.float32)
        cv2.ellipse(alpha, (24, 12), (19, 7), 0, 0, 360, 1.0, -1)
        alpha = cv2.GaussianBlur(alpha, (0, 0), 2.0) * self.rng.uniform(40, 115)
        sprite = np.dstack((np.zeros((24, 48, 3)), alpha)).astype(np.uint8)
        wide, flat = side * self.rng.uniform(0.6, 1.3) / 48, side * self.rng.uniform(0.15, 0.5) / 24
        shift = np.array([self.rng.normal(0, 0.2), self.rng.uniform(0.25, 0.55)]) * side
        return sprite, self._placed(path + shift - (24 * wide, 12 * flat), wide, flat)

    def _passer_by(self, centre: F64, side: float) -> None:
        rng = self.rng
        wide, tall = side * rng.uniform(0.4, 1.5), side * rng.uniform(0.9, 2.2)
        sprite = self._slab(wide, tall)
        middle = rng.uniform(0.3, 0.95) * self.length
        speed = direction(rng) * side * rng.uniform(0.15, 0.6)
        offset = np.array(sprite.shape[1::-1]) / 2
        crossing = centre[int(min(middle, self.length - 1))] + rng.normal(0, 0.15, 2) * side
        steps = np.arange(self.length)[:, None]
        self.covers.append((sprite, self._placed(crossing + speed * (steps - middle) - offset)))

    def _slab(self, wide: float, tall: float) -> Sprite:
        """Something solid: a blob, a pillar or a wall with the texture of a photograph."""
        rng = self.rng
        h, w = int(np.clip(tall, 12, 300)), int(np.clip(wide, 12, 300))
        if rng.random() < 0.5:
            sprite = blob_sprite(self.assets.photos, rng, max(h, w))
            return np.ascontiguousarray(cv2.resize(sprite, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
        colour = np.clip(texture(self.assets.photos, rng, max(h, w))[:h, :w], 0, 255)
        return np.dstack((colour, np.full((h, w), 255))).astype(np.uint8)

    def _branches(self) -> Sprite:
        """Thin, crooked, dark lines with a few leaves."""
        rng, side = self.rng, self.size * 3 // 2
        mask = np.zeros((side, side), np.uint8)
        for _ in range(int(rng.integers(1, 5))):
            at, angle = rng.uniform(0.2, 0.8, 2) * side, rng.uniform(0, 6.3)
            at = at - 0.5 * side * np.array([np.cos(angle), np.sin(angle)])
            thick = int(rng.integers(2, 8))
            for _ in range(14):
                angle += rng.normal(0, 0.22)
                to = at + side / 12 * np.array([np.cos(angle), np.sin(angle)])
                cv2.line(mask, _pixel(at), _pixel(to), 255, thick, cv2.LINE_AA)
                if rng.random() < 0.3:
                    leaf = to + rng.normal(0, 10, 2)
                    cv2.ellipse(mask, _pixel(leaf), (8, 4), float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
                at = to
        colour = np.clip(figures.cloth(self.assets.photos, rng, side, side, 0.8) * rng.uniform(0.3, 1), 0, 255)
        return figures.stamp(mask, colour.astype(np.float32))

    def _placed(self, at: F64, wide: float = 1.0, tall: float = 1.0) -> F64:
        """(T, 3, 3) from px of a sprite to the scene: its corner is `at` (2,) or (T, 2), each px is `wide` by `tall`."""
        matrices = np.zeros((self.length, 3, 3))
        matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, 2, 2] = wide, tall, 1
        matrices[:, :2, 2] = at
        return matrices


def _recolour(body: _Body, rng: np.random.Generator) -> _Body:
    """A copy: as it is, mirrored, or with other light on it."""
    parts = body.parts
    if rng.random() < 0.5:
        gain = np.append(rng.uniform(0.75, 1.25) * rng.normal(1, 0.06, 3), 1.0).astype(np.float32)
        faded = []
        for p in parts:
            colour = np.minimum(p.sprite * gain, p.sprite[..., 3:])
            faded.append(p._replace(sprite=np.clip(colour, 0, 255).astype(np.uint8)))
        parts = faded
    if rng.random() < 0.4:
        axis = 2 * body.centre[0]
        parts = [
            p._replace(
                sprite=np.ascontiguousarray(p.sprite[:, ::-1]),
                pivot=(p.sprite.shape[1] - p.pivot[0], p.pivot[1]),
                place=(axis - p.place[0], p.place[1]),
            )
            for p in parts
        ]
    return _Body(parts, body.extent, body.centre)


def _pixel(at: F64) -> tuple[int, int]:
    return round(float(at[0])), round(float(at[1]))
