"""Held-out clips at full-HD frame size, with exact truth: photographs, cut-outs that move over them, and what hides them.

Only pictures that training never sees are used (`keepsight.training.sources.is_held_out`), and a compositor of its own,
so that the model cannot have learned the habits of the one that made its training clips. A clip is a function of its
seed and of the pictures; frames are made when they are asked for and kept as JPEG, which is also their compression.

    python benchmarks/clips.py --data data/builtin --seed 1 --sheet clip.jpg      # look at one
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import Frame, Mask
from keepsight.video.source import IndexedSource
from scenes import HEIGHT, SIZE_CLASSES, WIDTH, make_scene
from sprites import Pictures, drawn_area, paste, smear

U8 = NDArray[np.uint8]


def size_class(side_px: float) -> int:
    """Index into `SIZE_CLASSES` of a larger box side in px; outside the range the nearest class."""
    return int(np.searchsorted([high for _, high in SIZE_CLASSES[:-1]], side_px, side="right"))


@dataclass(frozen=True)
class Target:
    """What is known about an object that is to be followed.

    Attributes:
        number: its id, from 1.
        side_px: larger side of its box on the first frame.
        event: "stays", "leaves", "returns", "hidden" or "crosses".
        twin: number of the look-alike in the truth, 0 for none.
    """

    number: int
    side_px: float
    event: str
    twin: int


class HdClip(IndexedSource):
    """One clip as a video source; :meth:`truth` has the visible pixels of every object.

    Args:
        pictures: what to build it from.
        seed: the clip is a function of it (and of the pictures).
        classes: indices into `SIZE_CLASSES`, one a target.
        length: frames; None draws 30 to 60.

    Attributes:
        targets: what is to be followed.
        first: the frame to point at it.

    Raises:
        ValueError: no scene with these pictures and this seed has all targets in view on the first frame.
    """

    def __init__(
        self,
        pictures: Pictures,
        seed: int,
        classes: Sequence[int] = (0, 2, 4),
        length: int | None = None,
    ) -> None:
        self.seed, self.name = seed, f"clip{seed}"
        self.width, self.height, self._fps, self.warnings = WIDTH, HEIGHT, 25.0, []
        self.first = 0  # where prompts are given
        self.targets: list[Target] = []
        self._jpegs: dict[int, U8] = {}
        self._masks: dict[int, dict[int, Mask]] = {}
        for attempt in range(40):
            rng = np.random.default_rng((seed, attempt))
            self._count = length or int(rng.integers(30, 61))
            self._scene = make_scene(pictures, rng, self._count, classes)
            self._jpegs.clear()
            self._masks.clear()
            if self._prompts_make_sense(classes):
                return
        raise ValueError(f"seed {seed} gives no clip whose objects can be seen on the first frame")

    @property
    def frame_count(self) -> int:
        return self._count

    def read(self, index: int) -> Frame:
        self._check_index(index)
        self._render(index)
        rgb = cv2.cvtColor(cv2.imdecode(self._jpegs[index], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return Frame(index, index / self._fps, np.asarray(rgb, np.uint8))

    def has_truth(self, index: int) -> bool:
        return 0 <= index < self._count

    def truth(self, index: int, number: int) -> Mask:
        """Visible pixels of object `number` (a target or a twin); empty while it is hidden or outside."""
        self._check_index(index)
        self._render(index)
        return self._masks[index][number]

    def fingerprint(self) -> str:
        return f"hdclip-{self.seed}-{self._count}"

    def _prompts_make_sense(self, classes: Sequence[int]) -> bool:
        """Whether every target can be pointed at on the first frame; fills `targets`."""
        self.targets = []
        for number, wanted in enumerate(classes, 1):
            mask = self.truth(0, number)
            alone = drawn_area(self._scene.actors[self._scene.numbers.index(number)], HEIGHT, WIDTH)
            if mask.box is None or mask.area < 60 or mask.area < 0.6 * alone:
                return False
            side = max(mask.box[2] - mask.box[0], mask.box[3] - mask.box[1])
            low, high = SIZE_CLASSES[wanted]
            if not low <= side <= high:
                return False
            event, twin = self._scene.events[number - 1], self._scene.twins.get(number, 0)
            self.targets.append(Target(number, float(side), event, twin))
        return True

    def _render(self, t: int) -> None:
        if t in self._jpegs:
            return
        scene = self._scene
        x, y, zoom = scene.cameras[t]
        view = np.array([[zoom, 0, WIDTH / 2 - zoom * x], [0, zoom, HEIGHT / 2 - zoom * y]])
        canvas = cv2.warpAffine(
            scene.world, view, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        speed = (scene.cameras[t] - scene.cameras[max(t - 1, 0)])[:2]
        canvas = smear(canvas, 0.4 * speed)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for actor, number in zip(scene.actors, scene.numbers, strict=True):
            paste(canvas, labels, actor, t, number)
        image = canvas.astype(np.float32) * np.float32(scene.gains[t])
        if scene.blur:
            image = cv2.GaussianBlur(image, (0, 0), scene.blur)
        if scene.noise:
            shift = np.random.default_rng((self.seed, 7, t)).integers(0, scene.tile.shape[0], 2)
            rolled = np.roll(scene.tile, tuple(shift), (0, 1))[:HEIGHT, :WIDTH]
            image += rolled[..., None].astype(np.float32) * np.float32(scene.noise / 64)
        bgr = np.clip(image, 0, 255).astype(np.uint8)[..., ::-1]
        self._jpegs[t] = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, scene.quality])[1]
        self._masks[t] = {number: Mask.from_array(labels == number) for number in scene.numbers if number}


def clip_classes(index: int, objects: int = 3) -> tuple[int, ...]:
    """Size classes of the targets of clip number `index`: all classes come equally often."""
    return tuple((objects * index + k * 2) % len(SIZE_CLASSES) for k in range(objects))


def contact_sheet(clip: HdClip, count: int = 9, columns: int = 3, width: int = 640) -> U8:
    """`count` frames spread over the clip with the truth outlined: targets green, look-alikes red."""
    tiles = []
    for index in np.unique(np.linspace(0, clip.frame_count - 1, count).astype(int)):
        image = clip.read(int(index)).rgb.copy()
        for target in clip.targets:
            for number, colour in ((target.number, (0, 255, 0)), (target.twin, (255, 0, 0))):
                if number:
                    mask = clip.truth(int(index), number).to_array().astype(np.uint8)
                    outline = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
                    cv2.drawContours(image, outline, -1, colour, 2)
        small = cv2.resize(image, (width, width * HEIGHT // WIDTH), interpolation=cv2.INTER_AREA)
        cv2.putText(small, f"{index}", (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 0), 2)
        tiles.append(small)
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--classes", type=int, nargs="+", default=[0, 2, 4], help="size class of each object, 0 to 4")
    parser.add_argument("--sheet", type=Path, required=True, help="picture to write")
    arguments = parser.parse_args()
    clip = HdClip(Pictures.held_out(arguments.data), arguments.seed, arguments.classes)
    cv2.imwrite(str(arguments.sheet), contact_sheet(clip)[..., ::-1])
    print(clip.frame_count, "frames", *clip.targets, sep="\n")


if __name__ == "__main__":
    main()
