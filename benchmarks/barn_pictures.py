"""The pictures of docs/barn.md, from what a pipeline left of the videos of `benchmarks/barn.py` (with `overlay: true`):

python benchmarks/barn_pictures.py --batch out/barn
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.render import draw_overlay
from keepsight.store import Project
from keepsight.video import open_video

ROOT = Path(__file__).parents[1]
WIDE, SIDE, NAMES = 440, 128, 150
RGB = NDArray[np.uint8]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(batch: Path, video: str, frames: Sequence[int]) -> RGB:
    """A frame of each clip: above as the clip numbers its objects, below as the whole video does."""
    above, below = [], []
    with Project.open(batch / "work" / video / "project.keepsight", read_only=True) as project:
        [stored] = project.videos()
        labels = {item.object_id: item.label for item in project.objects(stored.id)}
        starts = [0, 45, 90]  # clips of 50 frames that share 5
        with open_video(stored.path) as source:
            for clip, (frame, start) in enumerate(zip(frames, starts, strict=True), 1):
                with open_video(batch / "work" / video / f"{clip:04d}" / "overlay.mp4") as overlay:
                    above.append(titled(overlay.read(frame - start).rgb, f"clip {clip}, frame {frame - start}"))
                result = project.result(stored.id, frame)
                assert result is not None
                below.append(titled(draw_overlay(source.read(frame).rgb, result, labels), f"{video}, frame {frame}"))
    return np.vstack([np.hstack(above), np.hstack(below)])


def titled(rgb: RGB, title: str) -> RGB:
    height = round(WIDE * rgb.shape[0] / rgb.shape[1])
    tile = cv2.resize(rgb, (WIDE, height), interpolation=cv2.INTER_AREA)
    tile[height - 24 :] //= 3
    cv2.putText(tile, title, (8, height - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(tile, np.uint8)


def sheet(batch: Path, videos: Sequence[str], least_frames: int, columns: int = 8) -> RGB:
    """A row an object: frames of its cut-outs, in order; of objects that are seen on so many frames."""
    lines = []
    for video in videos:
        folder = batch / "crops" / video / "objects"
        for number, group in groupby(rows_of(folder / "identities.csv"), key=lambda row: row["identity"]):
            parts = [row for row in group if row["crop"]]
            if sum(int(row["frames"]) for row in parts) < least_frames:
                continue
            places = [(row, index) for row in parts for index in range(int(row["frames"]))]
            chosen = [places[i] for i in np.linspace(2, len(places) - 3, columns).round().astype(int)]
            name = np.full((SIDE, NAMES, 3), 24, np.uint8)
            for line, text in enumerate((video, f"{parts[0]['label']} {number}")):
                place = (10, SIDE // 2 - 8 + 24 * line)
                cv2.putText(name, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (235, 235, 235), 1, cv2.LINE_AA)
            lines.append(np.hstack([name, *(tile(folder / row["crop"], index, row["clip"]) for row, index in chosen)]))
    return np.vstack(lines).astype(np.uint8)


def tile(path: Path, index: int, clip: str) -> RGB:
    with open_video(path) as video:
        picture = cv2.resize(video.read(index).rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    cv2.putText(picture, f"clip {clip}", (6, SIDE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (170, 170, 170), 1, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)


def save(picture: RGB, path: Path) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=Path, default=Path("out/barn"), help="output folder of the pipeline")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images", help="folder to write to")
    parser.add_argument("--suffix", default="jpg", choices=("jpg", "png"))
    options = parser.parse_args()
    save(numbers(options.batch, "north", (40, 70, 110)), options.to / f"barn_numbers.{options.suffix}")
    save(sheet(options.batch, ("north", "south"), 30), options.to / f"barn_cows.{options.suffix}")


if __name__ == "__main__":
    main()
