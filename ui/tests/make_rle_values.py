"""Writes tests/rle_values.json: masks and their run lengths as pycocotools packs them. Run it again only to change the cases.

python ui/tests/make_rle_values.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco


def cases() -> dict[str, np.ndarray]:
    """Small masks by name, bool (height, width): the borders of the format, and shapes as a tracker gives them."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[:24, :31]
    ring = ((x - 15) ** 2 + (y - 11) ** 2 < 81) & ((x - 15) ** 2 + (y - 11) ** 2 > 16)
    corners = np.zeros((9, 13), bool)
    corners[0, 0] = corners[-1, -1] = True
    stripe = np.zeros((300, 40), bool)
    stripe[:, 20:23] = True
    return {
        "empty": np.zeros((5, 7), bool),
        "full": np.ones((6, 4), bool),
        "one pixel": np.pad(np.ones((1, 1), bool), ((2, 3), (4, 1))),
        "opposite corners": corners,
        "ring with a hole": ring,
        "whole columns": stripe,
        "noise": random.random((17, 23)) < 0.5,
        "sparse and wide": random.random((3, 400)) < 0.01,
    }


def main() -> None:
    values = []
    for name, mask in cases().items():
        packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        left, top, width, height = (int(v) for v in coco.toBbox(packed))
        values.append(
            {
                "name": name,
                "height": mask.shape[0],
                "width": mask.shape[1],
                "counts": packed["counts"].decode(),
                "area": int(coco.area(packed)),
                "bounds": {"x": left, "y": top, "width": width, "height": height} if mask.any() else None,
                "rows": ["".join("#" if inside else "." for inside in row) for row in mask],
            }
        )
    Path(__file__).with_name("rle_values.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
