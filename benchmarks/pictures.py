"""The model card's pictures: the built-in model on the sample clip, where it does well and where it does not.

python benchmarks/pictures.py                 # writes docs/images/builtin_good.jpg and builtin_bad.jpg
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import keepsight
from fixed_camera import FixedClip
from keepsight.concepts.choosing import pick
from keepsight.render import draw_overlay
from keepsight.video import VideoSource, open_video
from sprites import Pictures

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "bigbuckbunny.mp4"
TILE_WIDTH = 400


@dataclass(frozen=True)
class Example:
    """One row of a picture: what is said on which frame, and the frames to show."""

    title: str
    frame: int
    prompts: tuple[dict[str, Any], ...]
    shown: tuple[int, ...]


CLICKS = {"points": [(440, 380), (440, 150), (200, 470), (300, 470), (590, 420)], "labels": [1, 1, 0, 0, 0]}
GOOD = (
    Example("a box each, frame 0", 0, ({"box": (228, 254, 522, 560)}, {"box": (60, 380, 232, 530)}), (0, 40, 80, 120)),
    Example("2 + 3 clicks, frame 60", 60, (CLICKS,), (60, 75, 90, 110)),
)
BAD = (
    Example("a loose box, frame 60", 60, ({"box": (175, 50, 612, 625)},), (60, 75, 90, 110)),
    Example("one click, frame 60", 60, ({"points": [(440, 380)]},), (60, 75, 90, 110)),
)


def row(example: Example) -> NDArray[np.uint8]:
    """The example's frames side by side, uint8 ``(h, 4 * TILE_WIDTH, 3)``."""
    session = keepsight.load("builtin").open(SAMPLE)
    for number, prompt in enumerate(example.prompts, 1):
        session.add(object_id=number, frame=example.frame, **prompt)
    results = session.propagate(example.frame, max(example.shown) + 1)
    shown = {result.frame: result for result in results if result.frame in example.shown}
    first, *others = example.shown
    return strip(session.video, shown, {first: example.title, **{frame: f"frame {frame}" for frame in others}})


def found(video: VideoSource, detector: str, shown: tuple[int, ...]) -> NDArray[np.uint8]:
    """What a detector that needs no words finds, and the built-in model follows."""
    tracker = keepsight.load("builtin")
    rules = keepsight.ConceptRules(detect_every=8)
    session = keepsight.ConceptSession(tracker, video, "thing", pick(detector, tracker), rules)
    results = {result.frame: result for result in session.propagate(shown[0], shown[-1] + 1) if result.frame in shown}
    return strip(video, results, {frame: f"{detector}, frame {frame}" for frame in shown})


def strip(video: VideoSource, results: dict[int, keepsight.FrameResult], titles: dict[int, str]) -> NDArray[np.uint8]:
    """Frames side by side, each with its masks and its title below."""
    tiles = []
    for frame, title in titles.items():
        picture = np.ascontiguousarray(draw_overlay(video.read(frame).rgb, results[frame], {}))
        height = round(TILE_WIDTH * picture.shape[0] / picture.shape[1])
        tile = cv2.resize(picture, (TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
        tile[height - 26 :] = tile[height - 26 :] // 3
        cv2.putText(tile, title, (8, height - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(tile)
    return np.hstack(tiles).astype(np.uint8)


def save(picture: NDArray[np.uint8], path: Path) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--data", type=Path, default=None, help="folder with the packages that training fetches")
    options = parser.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    for name, examples in (("good", GOOD), ("bad", BAD)):
        save(np.vstack([row(example) for example in examples]), out / f"builtin_{name}.jpg")
    with open_video(SAMPLE) as video:
        save(found(video, "everything", (96, 104, 112, 120)), out / "everything.jpg")
    if options.data is not None:
        clip = FixedClip(Pictures.held_out(options.data), 1, 120)
        save(found(clip, "motion", (10, 40, 60, 80)), out / "motion.jpg")


if __name__ == "__main__":
    main()
