"""Group against decoupled memory selection on crowds: HOTA of the concept loop under the policies `sam3` and `dms`.

    python benchmarks/selection.py --data data/builtin                  # 4 clips of 24 things, 60 frames
    python benchmarks/selection.py --data data/builtin --clips 2 --objects 30

Two thirds of the things leave the picture together and come back in another order; the rest stays. What is detected is
scripted from the truth: each visible thing with a chance of `--recall` on every tenth frame, so that the tracker's memory decides
who is who in between. The built-in model follows, the whole frame in one look.

HOTA as `keepsight eval concepts` measures it (TrackEval, on mask IoU). There is one concept and it is always there, so pHOTA
(HOTA over pairs of video and phrase) is the same number.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import keepsight
from keepsight.concepts import SELECTIONS, Concept, ConceptRules, ConceptSession, Detections
from keepsight.core import Frame
from keepsight.evaluation.concepts.identity import IdentityMeasures, sequence
from keepsight.tracking import Sight
from keepsight.video.source import IndexedSource
from sprites import U8, Actor, Pictures, blob, paste, scaled

FIRST_SEED = 7000
HEIGHT, WIDTH = 540, 960
GRID_PX = 256
DETECT_EVERY = 10


class Crowd(IndexedSource):
    """Many things of 40 to 80 px that sway in places of their own; two thirds of them are away for a while, together."""

    def __init__(self, pictures: Pictures, seed: int, objects: int, length: int) -> None:
        rng = np.random.default_rng((seed, 31))
        self.name, self.width, self.height, self._fps, self.warnings = f"crowd{seed}", WIDTH, HEIGHT, 25.0, []
        self._count, self.objects = length, objects
        photo = pictures.photo(int(rng.integers(len(pictures.photos))))
        self._scene = cv2.resize(photo, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        columns = int(np.ceil(np.sqrt(objects * WIDTH / HEIGHT)))
        rows = int(np.ceil(objects / columns))
        places = rng.permutation(columns * rows)[:objects]
        homes = np.stack([places % columns + 0.5, places // columns + 0.5], 1) * (WIDTH / columns, HEIGHT / rows)
        t = np.arange(length)
        gone = (t >= length // 3) & (t < 2 * length // 3)
        leaving = 2 * objects // 3
        returns = rng.permutation(leaving)
        self._cast = []
        for number in range(objects):
            sprite = self._sprite(pictures, photo, rng, rng.uniform(40, 80))
            path = np.repeat(homes[number][None], length, 0)
            if number < leaving:
                path[t >= 2 * length // 3] = homes[returns[number]]
                path[gone] = (-500, -500)
            path = path + 12 * np.sin(np.outer(t, rng.uniform(0.05, 0.2, 2)) + rng.uniform(0, 6.3, 2))
            still = np.ones(length)
            self._cast.append(Actor(sprite, path, still, 0.1 * np.sin(0.1 * t), still))

    @staticmethod
    def _sprite(pictures: Pictures, photo: U8, rng: np.random.Generator, side: float) -> U8:
        for _ in range(40):
            found = pictures.cutout(int(rng.integers(len(pictures.cutouts))))
            if found is not None and side <= 1.7 * max(found.shape[:2]):
                return scaled(found, side / max(found.shape[:2]))
        return blob([photo], rng, round(side))

    @property
    def frame_count(self) -> int:
        return self._count

    def fingerprint(self) -> str:
        return f"{self.name}-{self.objects}-{self._count}"

    def read(self, index: int) -> Frame:
        self._check_index(index)
        return Frame(index, index / self._fps, self._render(index)[0])

    def labels(self, index: int) -> U8:
        """uint8 ``(H, W)``: number of the thing seen at each pixel, from 1; 0 is the background."""
        return self._render(index)[1]

    def _render(self, index: int) -> tuple[U8, U8]:
        canvas, labels = self._scene.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        for number, actor in enumerate(self._cast, 1):
            paste(canvas, labels, actor, index, number)
        return canvas, labels


class Script:
    """A detector that knows the truth and overlooks things now and then."""

    name, understands_words, frames_per_call = "script", True, 1

    def __init__(self, clip: Crowd, recall: float, seed: int) -> None:
        self.clip, self.recall, self.seed, self.frame = clip, recall, seed, 0

    def detect(self, sights: Sequence[Sight], concepts: Sequence[Concept]) -> list[Detections]:
        found = []
        for _ in sights:
            labels = self.clip.labels(self.frame)
            rng = np.random.default_rng((self.seed, self.frame))
            seen = [
                n for n in range(1, self.clip.objects + 1) if (labels == n).sum() >= 80 and rng.random() < self.recall
            ]
            self.frame += DETECT_EVERY
            if not seen:
                found.append(Detections.none())
                continue
            small = cv2.resize(labels, (GRID_PX, GRID_PX), interpolation=cv2.INTER_NEAREST)
            masks = torch.from_numpy(np.stack([small == n for n in seen])).float() * 20 - 10
            boxes = []
            for number in seen:
                rows, columns = np.nonzero(labels == number)
                boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
            found.append(Detections.of([concepts[0].number] * len(seen), [0.9] * len(seen), boxes, masks))
        return found


def follow(clip: Crowd, policy: str, recall: float, seed: int) -> tuple[float, int]:
    """HOTA of one run, and the number of ids it gave out."""
    tracker = keepsight.load("builtin", policy=policy, zoom=False)
    rules = replace(ConceptRules(), detect_every=DETECT_EVERY, hotstart_frames=0, recondition_every=0)
    session = ConceptSession(tracker, clip, "thing", Script(clip, recall, seed), rules)
    overlaps, truths, tracks, given = [], [], [], set()
    for result in session.propagate():
        labels = clip.labels(result.frame)
        numbers = [int(n) for n in np.unique(labels) if n]
        shown = [item for item in result.objects if item.present]
        masks = np.array([item.mask.to_array().ravel() for item in shown], np.float32).reshape(len(shown), labels.size)
        truth = np.array([(labels == n).ravel() for n in numbers], np.float32).reshape(len(numbers), labels.size)
        both = (truth @ masks.T).astype(np.float64)
        union = truth.sum(1)[:, None] + masks.sum(1)[None] - both
        overlaps.append(both / np.maximum(union, 1))
        truths.append(numbers)
        tracks.append([item.object_id for item in shown])
        given.update(tracks[-1])
    return IdentityMeasures().add(clip.name, sequence(overlaps, truths, tracks))["HOTA"], len(given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--objects", type=int, default=24)
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--recall", type=float, default=0.9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    pictures = Pictures.held_out(options.data)
    table = Table(title=f"HOTA (ids given out), {options.objects} things, {options.length} frames")
    table.add_column("clip")
    for name, policy in SELECTIONS.items():
        table.add_column(f"{name} ({policy})", justify="right")
    sums = dict.fromkeys(SELECTIONS, 0.0)
    for seed in range(FIRST_SEED, FIRST_SEED + options.clips):
        clip = Crowd(pictures, seed, options.objects, options.length)
        cells = []
        for name, policy in SELECTIONS.items():
            score, ids = follow(clip, policy, options.recall, seed)
            sums[name] += score / options.clips
            cells.append(f"{score:.3f} ({ids})")
        print(clip.name, *cells, flush=True)
        table.add_row(clip.name, *cells)
    table.add_section()
    table.add_row("mean", *(f"{value:.3f}" for value in sums.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
