"""How much of what is in a picture `everything` finds, on frames of generated clips: recall of the things that have a truth.

python benchmarks/everything.py --data data/builtin --set clicks=24 crop_layers=0
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from clips import HdClip, clip_classes
from keepsight.concepts import Concept
from keepsight.concepts.everything import EverythingDetector, EverythingRules
from keepsight.core import Region
from keepsight.models.loading import load_backbone
from keepsight.tracking import Sight
from keepsight.tracking.masks import masks_at_size
from sprites import Pictures

SIDES = (30, 60, 120, 240, 10_000)
"""Upper ends of the classes of size, larger box side in px of a 1920 x 1080 frame."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--clips", type=int, default=20, help="one frame of each")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="rules to change")
    arguments = parser.parse_args()
    pictures = Pictures.held_out(arguments.data)
    backbone = load_backbone(arguments.model)
    detector = EverythingDetector(backbone, EverythingRules.of(dict(item.split("=", 1) for item in arguments.set)))
    best: list[list[float]] = [[] for _ in SIDES]
    counts, seconds = [], 0.0
    for index in range(arguments.clips):
        clip = HdClip(pictures, 9000 + index, clip_classes(index, 4), 6)
        rgb = clip.read(0).rgb
        begin = time.perf_counter()
        [found] = detector.detect([Sight(backbone, rgb)], [Concept(1, "thing")])
        seconds += time.perf_counter() - begin
        counts.append(len(found))
        masks = list(found.masks) if found.masks is not None else []
        regions = [Region.whole(clip.height, clip.width)] * len(masks)
        shapes = [mask.to_array() for mask in masks_at_size(masks, clip.height, clip.width, regions)]
        for target in clip.targets:
            truth = clip.truth(0, target.number).to_array()
            ious = [(shape & truth).sum() / (shape | truth).sum() for shape in shapes]
            best[int(np.searchsorted(SIDES, target.side_px))].append(max(ious, default=0.0))
    print("| larger side, px | things | found (IoU 0.5) | IoU of the best mask |\n|---|---|---|---|")
    for low, high, values in zip((0, *SIDES), SIDES, best, strict=False):
        if values:
            side = f"from {low}" if high == SIDES[-1] else f"{low} to {high}"
            print(f"| {side} | {len(values)} | {np.mean(np.array(values) >= 0.5):.2f} | {np.mean(values):.2f} |")
    every = np.concatenate([np.array(values) for values in best])
    print(f"| all | {len(every)} | {(every >= 0.5).mean():.2f} | {every.mean():.2f} |")
    print(f"{np.mean(counts):.1f} masks a frame, {seconds / len(counts):.1f} s a frame")


if __name__ == "__main__":
    main()
