"""How well `motion` finds what moves on generated clips of a fixed camera, by background model and setting.

python benchmarks/motion.py --data data/builtin --clips 8
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from fixed_camera import HEIGHT, WIDTH, FixedClip
from keepsight.concepts import Concept
from keepsight.concepts.moving import MotionDetector, MotionRules
from keepsight.core import Region
from keepsight.models.builtin.backbone import load_builtin
from keepsight.tracking import Sight, Zoom
from keepsight.tracking.masks import masks_at_size
from sprites import Pictures

LEAST_AREA = 250
"""Visible px of a thing from which it must be found; smaller ones may be."""


def match(
    found: list[np.ndarray], truth: list[np.ndarray], least: float = 0.5
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Pairs of the assignment with the largest IoUs, those of at least ``least``, and all IoUs."""
    ious = np.array([[(a & b).sum() / max((a | b).sum(), 1) for b in truth] for a in found]).reshape(
        len(found), len(truth)
    )
    rows, columns = linear_sum_assignment(-ious)
    return [(i, j) for i, j in zip(rows, columns, strict=True) if ious[i, j] >= least], ious


def measure(clips: list[FixedClip], rules: MotionRules, refine: bool, prepared: bool, score: float) -> str:
    backbone = load_builtin() if refine else None
    hits = found_all = wanted = 0
    quality, seconds, frames = [], 0.0, 0
    for clip in clips:
        detector = MotionDetector(backbone, Zoom(), rules)
        if prepared:
            detector.prepare_from(clip)
        for frame in clip.frames():
            sight = Sight(backbone, frame.rgb)  # type: ignore[arg-type]
            begin = time.perf_counter()
            [found] = detector.detect([sight], [Concept(1, "thing")])
            seconds, frames = seconds + time.perf_counter() - begin, frames + 1
            if frame.index % 5 or (not prepared and frame.index < rules.warm_up_frames):
                continue
            found = found.only(found.scores > score)
            labels = clip.labels(frame.index)
            truth = [mask for number in clip.numbers if (mask := labels == number).sum() > 0]
            due = [j for j, mask in enumerate(truth) if mask.sum() >= LEAST_AREA]
            masks = list(found.masks) if found.masks is not None else []
            shapes = [
                m.to_array() for m in masks_at_size(masks, HEIGHT, WIDTH, [Region.whole(HEIGHT, WIDTH)] * len(masks))
            ]
            pairs, ious = match(shapes, truth)
            quality += [ious[i, j] for i, j in pairs]
            hits += sum(j in due for _, j in pairs)
            wanted += len(due)
            found_all += len(shapes) - sum(j not in due for _, j in pairs)
    precision, recall = hits / max(found_all, 1), hits / max(wanted, 1)
    return f"{precision:.3f} | {recall:.3f} | {np.mean(quality):.3f} | {1000 * seconds / frames:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--first", type=int, default=100, help="seed of the first clip")
    parser.add_argument("--score", type=float, default=0.5, help="least score that counts")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="rules to change")
    parser.add_argument("--only", nargs="*", default=["mog2", "knn"])
    parser.add_argument("--refine", action="store_true", help="also with edges by the built-in model's decoder")
    arguments = parser.parse_args()
    pictures = Pictures.held_out(arguments.data)
    clips = [FixedClip(pictures, arguments.first + k) for k in range(arguments.clips)]
    changes = dict(item.split("=", 1) for item in arguments.set)
    print(
        "| model | edges | background seen beforehand | precision | recall | IoU of those found | a frame |\n|"
        + "---|" * 7
    )
    for model in arguments.only:
        for refine in (False, True) if arguments.refine else (False,):
            for prepared in (True, False):
                edges = "decoder" if refine else "blobs"
                rules = MotionRules.of({"model": model, "edges": edges, **changes})
                row = measure(clips, rules, refine, prepared, arguments.score)
                print(
                    f"| {model} | {edges} | {'yes' if prepared else 'no'} | {row} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
