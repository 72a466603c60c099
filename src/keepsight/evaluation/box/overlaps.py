"""Boxes against boxes, all frames at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def there(boxes: Floats) -> Bools:
    """Which of ``(..., 4)`` boxes ``(x, y, w, h)`` exist: numbers, and a size above 0."""
    return np.asarray(np.isfinite(boxes).all(axis=-1) & (np.nan_to_num(boxes[..., 2:]) > 0).all(axis=-1))


def box_overlaps(found: Floats, truth: Floats) -> Floats:
    """Intersection over union of pairs of boxes, in [0, 1]; 0 where one of the two does not exist.

    LaSOT and OTB count whole pixels, with the far corner at ``x + w - 1`` and one added to every side again. The two ones
    cancel, so that their overlap and the continuous one of GOT-10k are the same number.

    Args:
        found, truth: ``(..., 4)``, ``(x, y, w, h)`` in px.

    Returns:
        ``(...)`` float64.
    """
    both = there(found) & there(truth)
    a, b = (np.where(both[..., None], boxes, 0.0) for boxes in (found, truth))
    near = np.maximum(a[..., :2], b[..., :2])
    far = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    common = np.clip(far - near, 0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - common
    # Areas of neighbouring magnitudes leave a rounding error above 1.
    return np.clip(np.divide(common, union, out=np.zeros_like(common), where=both & (union > 0)), 0.0, 1.0)


def centre_errors(found: Floats, truth: Floats) -> Floats:
    """Distance of the centres in px, ``(...)``; infinite where one of the two boxes does not exist."""
    return _length(_between(found, truth), there(found) & there(truth))


def normalised_centre_errors(found: Floats, truth: Floats) -> Floats:
    """Distance of the centres in sizes of the true box (TrackingNet, Müller et al., ECCV 2018): across by its width, down by
    its height; infinite where one of the two boxes does not exist."""
    both = there(found) & there(truth)
    sizes = np.where(both[..., None], truth[..., 2:], 1.0)
    return _length(_between(found, truth) / sizes, both)


def _between(found: Floats, truth: Floats) -> Floats:
    """From centre to centre; the pixel that LaSOT takes off both sizes before halving them cancels, too."""
    return (found[..., :2] + found[..., 2:] / 2) - (truth[..., :2] + truth[..., 2:] / 2)


def _length(vectors: Floats, both: Bools) -> Floats:
    return np.where(both, np.sqrt((vectors**2).sum(axis=-1)), np.inf)
