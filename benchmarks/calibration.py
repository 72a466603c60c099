"""Whether what the built-in model says of itself is true: said scores against what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoring import Table, Track, pick, runs_of


def reliability(said: Sequence[float], true: Sequence[float], bins: int = 10) -> dict[str, list[float]]:
    """Said against true in `bins` equal bins of [0, 1].

    Returns:
        "said", "true" (means of the bins that hold anything), "count"; and "error", the expected calibration error.
    """
    x, y = np.asarray(said, np.float64), np.asarray(true, np.float64)
    index = np.clip((x * bins).astype(int), 0, bins - 1)
    held = [k for k in range(bins) if (index == k).any()]
    means = [(float(x[index == k].mean()), float(y[index == k].mean()), float((index == k).sum())) for k in held]
    total = max(float(len(x)), 1.0)
    error = sum(n * abs(a - b) for a, b, n in means) / total
    return {
        "said": [a for a, _, _ in means],
        "true": [b for _, b, _ in means],
        "count": [n for *_, n in means],
        "error": [error],
    }


def calibration(tracks: Sequence[Track], bins: int = 10) -> dict[str, dict[str, list[float]]]:
    """Curves of the IoU score (against J, where something is shown) and of presence, on frames after the first."""
    curves = {}
    for prompt, tracker in runs_of(tracks):
        some = [track for track in pick(tracks, tracker, prompt) if track.score]
        if not some:
            continue
        rows = [(t.score[f], t.j[f], t.presence[f], t.visible[f], t.empty[f]) for t in some for f in range(1, len(t.j))]
        shown = [row for row in rows if not row[4]]
        curves[f"IoU score, {prompt}"] = reliability([row[0] for row in shown], [row[1] for row in shown], bins)
        curves[f"object score, {prompt}"] = reliability([row[2] for row in rows], [float(row[3]) for row in rows], bins)
    return curves


def calibration_table(curves: dict[str, dict[str, list[float]]]) -> Table:
    rows = []
    for name, curve in curves.items():
        points = [
            f"{a:.2f}: {b:.2f} ({n:.0f})" for a, b, n in zip(curve["said"], curve["true"], curve["count"], strict=True)
        ]
        rows.append([name, f"{curve['error'][0]:.3f}", "  ".join(points)])
    note = (
        "IoU score: against J on frames where something is shown. Object score: against whether the object is visible."
    )
    return Table("Calibration, said: true (frames)", ["curve", "expected error", "bins"], rows, note)
