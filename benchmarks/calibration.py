"""Whether what the built-in model says of itself is true: said scores against what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoring import TAKEN_SHARE, Table, Track, mean, percent, pick, runs_of

_PLACES = ("the object", "part of it, or more", "a look-alike", "something else")


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


def scores_table(tracks: Sequence[Track]) -> Table:
    """What the model says of itself by what its mask lies on, on frames after the first."""
    rows = []
    for prompt, tracker in runs_of(tracks):
        some = [track for track in pick(tracks, tracker, prompt) if track.score]
        frames = [(track, f) for track in some for f in range(1, len(track.j)) if not track.empty[f]]
        places: dict[str, list[tuple[Track, int]]] = {place: [] for place in _PLACES}
        for track, f in frames:
            places[_place(track, f)].append((track, f))
        for place, members in places.items():
            if not members:
                continue
            scores, presences = ([getattr(t, name)[f] for t, f in members] for name in ("score", "presence"))
            rows.append(
                [
                    prompt,
                    place,
                    str(len(members)),
                    str(len({track.key for track, _ in members})),
                    f"{mean(scores):.2f}",
                    percent(mean(value >= 0.8 for value in scores)),
                    f"{mean(presences):.2f}",
                    percent(mean(value >= 0.9 for value in presences)),
                ]
            )
    columns = ["prompt", "mask lies on", "frames", "tracks", "IoU score", "at least .8", "object score", "at least .9"]
    note = "The object: J of .5 or more. A look-alike: more than half of the mask. Frames on which nothing is shown are left out."
    return Table("Scores by what the mask lies on", columns, rows, note)


def _place(track: Track, frame: int) -> str:
    if track.visible[frame] and track.j[frame] >= 0.5:
        return _PLACES[0]
    if track.on_twin[frame] > TAKEN_SHARE:
        return _PLACES[2]
    return _PLACES[1] if track.visible[frame] and track.j[frame] >= 0.1 else _PLACES[3]
