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
from keepsight.render import draw_overlay

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
    tiles = []
    for result in session.propagate(example.frame, max(example.shown) + 1):
        if result.frame in example.shown:
            picture = np.ascontiguousarray(draw_overlay(session.video.read(result.frame).rgb, result, {}))
            height = round(TILE_WIDTH * picture.shape[0] / picture.shape[1])
            tile = cv2.resize(picture, (TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
            text = example.title if not tiles else f"frame {result.frame}"
            tile[height - 26 :] = tile[height - 26 :] // 3
            cv2.putText(tile, text, (8, height - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
            tiles.append(tile)
    return np.hstack(tiles).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, examples in (("good", GOOD), ("bad", BAD)):
        picture = np.vstack([row(example) for example in examples])
        path = out / f"builtin_{name}.jpg"
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
        print(path)


if __name__ == "__main__":
    main()
