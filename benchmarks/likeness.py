"""How well the others are found when one of a crowd is pointed at: precision and recall on generated crowds of look-alikes.

A crowd is one held-out cut-out many times over, turned, scaled, mirrored and lit in slightly different ways, among as many other
things, before a photograph. One of them is given by its box.

    python benchmarks/likeness.py --data data/builtin --crowds 24 --first 600 --sheet out/crowds.png
    python benchmarks/likeness.py --data data/builtin --crowds 20 --first 0 --fit     # where the detector's weights come from
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from keepsight.concepts import Concept, Exemplar
from keepsight.concepts.likeness import LikenessDetector
from keepsight.core import Region
from keepsight.models.builtin.backbone import load_builtin
from keepsight.tracking import Sight
from keepsight.tracking.masks import masks_at_size, move_logits
from sprites import U8, Actor, Pictures, blob, paste, scaled, tinted

WIDTH, HEIGHT = 1280, 720
SCORES = (0.3, 0.5, 0.7)


@dataclass
class Crowd:
    """A picture uint8 ``(H, W, 3)`` and what is where in it: ``labels`` ``(H, W)``, 1 to ``alike`` for those of the crowd."""

    rgb: U8
    labels: U8
    alike: int
    side: float


def make_crowd(pictures: Pictures, seed: int) -> Crowd:
    """A function of the seed and of the pictures."""
    rng = np.random.default_rng((seed, 99))
    photo = pictures.photo(int(rng.integers(len(pictures.photos))))
    fit = max(WIDTH / photo.shape[1], HEIGHT / photo.shape[0])
    size = (round(photo.shape[1] * fit) + 1, round(photo.shape[0] * fit) + 1)
    rgb = np.ascontiguousarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA)[:HEIGHT, :WIDTH]).astype(np.uint8)
    tone = rgb.reshape(-1, 3).mean(0)
    side = float(np.exp(rng.uniform(np.log(40), np.log(150))))
    alike, others = int(rng.integers(4, 13)), int(rng.integers(4, 13))
    model = tinted(_sprite(pictures, rng, side), rng, tone, blend=rng.uniform(0, 0.3))
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    places = _places(rng, alike + others, side)
    still = np.ones(1)
    count = 0
    for index, place in enumerate(places):
        if index < alike:
            count += 1
            sprite = _varied(model, rng)
            number, turn = count, rng.normal(0, 0.2)
        else:
            sprite = tinted(_sprite(pictures, rng, side * rng.uniform(0.7, 1.4)), rng, tone, blend=rng.uniform(0, 0.3))
            number, turn = 200, rng.normal(0, 0.2)
        paste(rgb, labels, Actor(sprite, place[None], still, still * turn, still), 0, number)
    noisy = rgb + rng.normal(0, 2, rgb.shape)
    jpeg = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    return Crowd(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB), np.uint8), labels, count, side)


def _sprite(pictures: Pictures, rng: np.random.Generator, side: float) -> U8:
    for _ in range(20):
        cutout = pictures.cutout(int(rng.integers(len(pictures.cutouts))))
        if cutout is not None:
            return scaled(cutout, side / max(cutout.shape[:2]))
    return blob([pictures.photo(0)], rng, round(side))


def _varied(sprite: U8, rng: np.random.Generator) -> U8:
    scale, stretch = np.exp(rng.normal(0, 0.12)), np.exp(rng.normal(0, 0.05))
    size = (max(4, round(sprite.shape[1] * scale * stretch)), max(4, round(sprite.shape[0] * scale)))
    varied = cv2.resize(sprite, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    if rng.random() < 0.4:
        varied = varied[:, ::-1]
    varied[..., :3] *= rng.normal(1, 0.08) * rng.normal(1, 0.02, 3)
    varied[..., :3] = np.minimum(varied[..., :3], varied[..., 3:])
    return np.ascontiguousarray(np.clip(varied, 0, 255).astype(np.uint8))


def _places(rng: np.random.Generator, count: int, side: float) -> NDArray[np.float64]:
    """Centres that keep apart, so that things overlap little."""
    places: list[NDArray[np.float64]] = []
    for _ in range(2000):
        place = rng.uniform((side / 2, side / 2), (WIDTH - side / 2, HEIGHT - side / 2))
        if all(np.hypot(*(place - other)) > 0.85 * side for other in places):
            places.append(place)
        if len(places) == count:
            break
    return np.array(places)


def box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)


class _Watched(LikenessDetector):
    """Keeps what was measured of every candidate, and how well it fits the nearest one of the crowd."""

    def __init__(self, crowd: Crowd, into: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__(load_builtin())
        self.into = into
        truth = np.stack([crowd.labels == number for number in range(1, crowd.alike + 1)])[:, ::2, ::2]
        self.truth = torch.from_numpy(truth.copy()).flatten(1).float()

    def _scores(self, measured: torch.Tensor, logits: torch.Tensor, region: Region) -> torch.Tensor:
        whole = Region.whole(HEIGHT, WIDTH)
        best = []
        for mask in logits:
            fine = F.interpolate(mask[None, None], (256, 256), mode="bilinear")[0, 0]
            moved = F.interpolate(
                move_logits(fine, region, whole)[None, None], (HEIGHT // 2, WIDTH // 2), mode="bilinear"
            )
            flat = (moved > 0).flatten().float()
            shared = self.truth @ flat
            best.append((shared / (self.truth.sum(1) + flat.sum() - shared)).max())
        self.into.append((measured.clone(), torch.stack(best)))
        return super()._scores(measured, logits, region)


def fit(root: Path, first: int, crowds: int) -> None:
    """Prints the logistic regression of right masks (IoU from 0.6) against wrong ones (up to 0.4)."""
    pictures, seen = Pictures.for_training(root), []
    for seed in range(first, first + crowds):
        crowd = make_crowd(pictures, seed)
        if all((crowd.labels == number).any() for number in range(1, crowd.alike + 1)):
            concept = Concept(1, "these", (Exemplar(0, box_of(crowd.labels == 1)),))
            detector, sight = _Watched(crowd, seen), Sight(load_builtin(), crowd.rgb)
            detector.learn(sight, concept, concept.exemplars[0])
            detector.detect([sight], [concept])
    measured, ious = (torch.cat(parts).clone() for parts in zip(*seen, strict=True))
    plain = (ious >= 0.6) | (ious <= 0.4)
    measured, right = measured[plain], (ious[plain] >= 0.6).float()
    mean, spread = measured.mean(0), measured.std(0)
    weights = torch.zeros(measured.shape[1] + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        guess = (measured - mean) / spread @ weights[:-1] + weights[-1]
        value = F.binary_cross_entropy_with_logits(guess, right) + 1e-3 * weights[:-1].square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    slopes = (weights[:-1] / spread).detach()
    bias = (weights[-1] - (slopes * mean).sum()).item()
    print(f"{len(right)} candidates, {int(right.sum())} right; weights {slopes.numpy().round(1)}, bias {bias:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--crowds", type=int, default=20)
    parser.add_argument("--first", type=int, default=500, help="seed of the first crowd")
    parser.add_argument("--sheet", type=Path, help="picture of the first crowds to write")
    parser.add_argument("--fit", action="store_true", help="fit the weights on training's pictures instead")
    arguments = parser.parse_args()
    if arguments.fit:
        fit(arguments.data, arguments.first, arguments.crowds)
        return
    pictures, backbone = Pictures.held_out(arguments.data), load_builtin()
    detector = LikenessDetector(backbone)
    hits, given, wanted = np.zeros(len(SCORES)), np.zeros(len(SCORES)), 0
    seconds, tiles = 0.0, []
    for seed in range(arguments.first, arguments.first + arguments.crowds):
        crowd = make_crowd(pictures, seed)
        truth = [crowd.labels == number for number in range(1, crowd.alike + 1)]
        concept = Concept(1, "these", (Exemplar(0, box_of(truth[0])),))
        sight = Sight(backbone, crowd.rgb)
        begin = time.perf_counter()
        detector.learn(sight, concept, concept.exemplars[0])
        [found] = detector.detect([sight], [concept])
        seconds += time.perf_counter() - begin
        masks = [
            mask.to_array()
            for mask in masks_at_size(list(found.masks if found.masks is not None else []), HEIGHT, WIDTH)
        ]
        ious = np.array([[(a & b).sum() / max((a | b).sum(), 1) for b in truth] for a in masks]).reshape(
            len(masks), len(truth)
        )
        others = [ious[i, 0] < 0.5 for i in range(len(masks))]  # the one that was shown is no find
        wanted += len(truth) - 1
        for k, least in enumerate(SCORES):
            rows = [i for i in range(len(masks)) if others[i] and found.scores[i] >= least]
            given[k] += len(rows)
            hits[k] += int((ious[rows, 1:] >= 0.5).any(0).sum()) if rows else 0
        if arguments.sheet and len(tiles) < 6:
            tiles.append(_drawn(crowd, masks, found.scores, concept.exemplars[0].box))
    print("| least score | precision | recall |\n|---|---|---|")
    for least, hit, all_given in zip(SCORES, hits, given, strict=True):
        print(f"| {least} | {hit / max(all_given, 1):.2f} | {hit / max(wanted, 1):.2f} |")
    print(f"{arguments.crowds} crowds, {wanted} look-alikes to find, {seconds / arguments.crowds:.1f} s a frame")
    if arguments.sheet:
        tiles += [np.zeros_like(tiles[0])] * (len(tiles) % 2)
        sheet = np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)])
        cv2.imwrite(str(arguments.sheet), sheet[..., ::-1])


def _drawn(crowd: Crowd, masks: list[NDArray[np.bool_]], scores: NDArray[np.float32], box: tuple[float, ...]) -> U8:
    """Finds in red with their scores, the one that was shown in a white frame."""
    image = crowd.rgb.copy()
    for mask, score in zip(masks, scores, strict=True):
        if score >= SCORES[0]:
            image[mask] = (0.5 * image[mask] + (127, 0, 0)).astype(np.uint8)
            x, y = (int(v) for v in box_of(mask)[:2])
            cv2.putText(image, f"{score:.2f}", (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 0), 2)
    corners = [round(v) for v in box]
    cv2.rectangle(image, corners[:2], corners[2:], (255, 255, 255), 3)
    return np.asarray(cv2.resize(image, (640, 360), interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    main()
