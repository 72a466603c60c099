"""Tracks that wander, leave and are hidden, what a tracker says about them, and data sets made of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 90, 120


@dataclass
class Track:
    """Truth and prediction of one object: boxes (T, 4) as x, y, w, h, NaN where nothing was found, and who sees it."""

    truth: np.ndarray
    visible: np.ndarray
    found: np.ndarray


def track(seed, frames=60, *, whole=False):
    """One object with a hidden stretch, an exit, a drift, silence, and words about what is not there."""
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(12, 30, 2) * np.exp(np.cumsum(rng.normal(0, 0.03, (frames, 2)), axis=0))
    sizes = np.clip(sizes, 6, 40)
    corners = np.cumsum(rng.normal(0, 2.5, (frames, 2)), axis=0) + rng.uniform(20, 50, 2)
    corners = np.clip(corners, 0, np.array([WIDTH, HEIGHT]) - sizes)
    truth = np.concatenate([corners, sizes], axis=1)
    if whole:
        truth = np.round(truth)
    visible = np.ones(frames, bool)
    begin = int(rng.integers(5, frames // 2))
    visible[begin : begin + int(rng.integers(8, 18))] = False
    found = truth + rng.normal(0, 2, truth.shape)
    found[:, 2:] = np.maximum(found[:, 2:], 4)
    drift = int(rng.integers(frames // 2, max(frames // 2 + 1, frames - 6)))
    found[drift : drift + 5, :2] += 60  # onto something else
    found[rng.random(frames) < 0.1] = np.nan
    found[~visible & (rng.random(frames) < 0.7)] = np.nan
    found[0] = truth[0]
    if whole:
        found = np.round(found)
    return Track(truth, visible, found)


def pictures(folder: Path, count: int, suffix="jpg") -> None:
    """Small grey pictures, numbered from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / f"{1:08d}.{suffix}"
    Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(first)
    for number in range(2, count + 1):
        (folder / f"{number:08d}.{suffix}").write_bytes(first.read_bytes())


def rows(boxes) -> str:
    return "".join(",".join(f"{value:.3f}" for value in box) + "\n" for box in np.nan_to_num(boxes).tolist())


def flags(values, mark="\n") -> str:
    return mark.join(str(int(value)) for value in values) + "\n"


def lasot_set(root: Path, tracks: dict[str, Track]) -> None:
    for name, item in tracks.items():
        folder = root / name.rpartition("-")[0] / name
        pictures(folder / "img", len(item.truth))
        (folder / "groundtruth.txt").write_text(rows(item.truth))
        (folder / "full_occlusion.txt").write_text(flags(~item.visible, ","))
        (folder / "out_of_view.txt").write_text(flags(np.zeros(len(item.truth)), ","))
        (folder / "nlp.txt").write_text("a grey thing\n")


def got10k_set(root: Path, tracks: dict[str, Track], split="val") -> None:
    for name, item in tracks.items():
        folder = root / split / name
        pictures(folder, len(item.truth))
        (folder / "groundtruth.txt").write_text(rows(item.truth))
        (folder / "absence.label").write_text(flags(~item.visible))
        (folder / "cover.label").write_text(flags(item.visible * 5))
        (folder / "cut_by_image.label").write_text(flags(np.zeros(len(item.truth))))
        (folder / "meta_info.ini").write_text(
            f"[METAINFO]\nobject_class: cow\nmotion_class: running\nresolution: ({WIDTH}, {HEIGHT})\n"
        )
    (root / split / "list.txt").write_text("\n".join(tracks) + "\n")


def vot_set(root: Path, regions: dict[str, dict[str, list[str]]]) -> None:
    """Sequences by name, objects by id, a line of truth a frame."""
    for name, objects in regions.items():
        folder = root / name
        count = max(map(len, objects.values()))
        pictures(folder / "color", count)
        (folder / "sequence").write_text(
            f"channels.color=color/%08d.jpg\nfps=30\nwidth={WIDTH}\nheight={HEIGHT}\nlength={count}\n"
        )
        for object_id, lines in objects.items():
            file = f"groundtruth_{object_id}.txt" if object_id else "groundtruth.txt"
            (folder / file).write_text("\n".join(lines) + "\n")
    (root / "list.txt").write_text("\n".join(regions) + "\n")
