"""Small data sets for video object segmentation, with everything that goes wrong in large ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from keepsight.formats.labels import write_labels

Labels = np.ndarray


def film(
    seed: int, frames: int = 9, height: int = 60, width: int = 90, objects: Sequence[int] = (1, 2, 5)
) -> list[Labels]:
    """Pictures of ids of blobs that move, hide behind each other and leave; the last object comes late."""
    rng = np.random.default_rng(seed)
    starts, steps = (
        rng.uniform(0, 1, (len(objects), 2)) * (height, width),
        rng.uniform(-50, 50, (len(objects), 2)) / max(frames, 9),
    )
    radii = rng.uniform(4, 14, (len(objects), 2))
    shots = []
    for t in range(frames):
        labels = np.zeros((height, width), np.uint8)
        for place, object_id in enumerate(objects):
            if place == len(objects) - 1 and t < 3:
                continue
            (y, x), (b, a) = starts[place] + t * steps[place], radii[place]
            cv2.ellipse(labels, ((float(x), float(y)), (2 * float(a), 2 * float(b)), 20.0 * t), object_id, -1)
        shots.append(labels)
    return shots


def spoiled(shots: Sequence[Labels], seed: int) -> list[Labels]:
    """Predictions of a bad tracker: shifted, swapped ids, nothing at all, too early, of an object that does not exist."""
    rng = np.random.default_rng(seed + 1000)
    out = []
    for t, labels in enumerate(shots):
        found = np.roll(labels, tuple(rng.integers(-3, 4, 2)), (0, 1))
        fate = rng.integers(0, 6)
        if fate == 0:
            found = np.zeros_like(found)
        elif fate == 1:
            found = np.where(found == 1, 2, np.where(found == 2, 1, found)).astype(np.uint8)
        elif fate == 2:
            found[5:12, 5:12] = 9
        if t == 1 and seed % 2:
            found[-9:, -9:] = 5
        out.append(found)
    return out


def write_film(folder: Path, shots: Sequence[Labels], numbers: Sequence[int] | None = None, digits: int = 5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, labels in zip(range(len(shots)) if numbers is None else numbers, shots, strict=True):
        write_labels(folder / f"{number:0{digits}d}.png", labels)


def write_objects(folder: Path, shots: Sequence[Labels], frames: Mapping[int, Sequence[int]]) -> None:
    """SA-V: a folder an object, a picture for each of its frames."""
    for object_id, numbers in frames.items():
        target = folder / f"{object_id:03d}"
        target.mkdir(parents=True)
        for number in numbers:
            Image.fromarray(((shots[number] == object_id) * 255).astype(np.uint8)).save(target / f"{number:05d}.png")


def write_pictures(
    folder: Path, shots: Sequence[Labels], numbers: Sequence[int] | None = None, digits: int = 5
) -> None:
    """Frames as JPEG: every object in a colour of its own on grey noise."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(5).integers(0, 255, (256, 3))
    colours[0] = 128
    noise = np.random.default_rng(6).integers(-20, 20, (*shots[0].shape, 3))
    for number, labels in zip(range(len(shots)) if numbers is None else numbers, shots, strict=True):
        rgb = np.clip(colours[labels] + noise, 0, 255).astype(np.uint8)
        Image.fromarray(rgb).save(folder / f"{number:0{digits}d}.jpg", quality=95)


# -- data sets in their own layouts --------------------------------------------------------------------------------------
def write_davis(root: Path, shots: Mapping[str, Sequence[Labels]], split: str = "val") -> None:
    for name, film_of in shots.items():
        write_pictures(root / "JPEGImages" / "480p" / name, film_of)
        write_film(root / "Annotations" / "480p" / name, film_of)
    listing = root / "ImageSets" / "2017" / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in shots))


def write_split(
    part: Path, shots: Mapping[str, Sequence[Labels]], numbers: Sequence[int], digits: int = 5, first_only: bool = False
) -> None:
    """YouTube-VOS, MOSE and LVOS: frames and masks of a part, the masks of all frames or of those on which objects appear."""
    for name, film_of in shots.items():
        write_pictures(part / "JPEGImages" / name, film_of, numbers, digits)
        seen: set[int] = set()
        for number, labels in zip(numbers, film_of, strict=True):
            fresh = set(np.unique(labels).tolist()) - seen - {0}
            if first_only and not fresh:
                continue
            shown = np.where(np.isin(labels, list(fresh)), labels, 0).astype(np.uint8) if first_only else labels
            seen |= fresh
            write_film(part / "Annotations" / name, [shown], [number], digits)


def write_sav(root: Path, shots: Mapping[str, Sequence[Labels]], every: int = 4) -> None:
    for name, film_of in shots.items():
        write_pictures(root / "JPEGImages_24fps" / name, film_of)
        ids = sorted({int(i) for labels in film_of for i in np.unique(labels)} - {0})
        frames = {}
        for object_id in ids:
            first = next(t for t, labels in enumerate(film_of) if (labels == object_id).any())
            frames[object_id] = range(-(-first // every) * every, len(film_of), every)
        write_objects(root / "Annotations_6fps" / name, film_of, frames)
    (root / "sav_val.txt").write_text("".join(f"{name}\n" for name in shots))
