"""What the benchmark of the built-in model measures: pure functions from tracks to tables.

A track is one object of one clip, followed by one tracker from one kind of prompt. J is the intersection over union of
the masks; a frame where the object is truly absent counts 1 if nothing is shown and 0 otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clips import size_class
from keepsight.evaluation.paired import mean_estimate
from scenes import SIZE_CLASSES

Bool = NDArray[np.bool_]

OURS, OTHER = "builtin", "weight-free"
SHOWN_FRAMES = (0, 1, 3, 10, 20)
WANTED_GAIN, WANTED_LOSS = 0.10, 0.02
Gain = tuple[str, float]
"""A clip, and the difference of two measurements of one of its objects."""
TAKEN_SHARE = 0.5  # share of what is shown that lies on the look-alike, from which on it is a take-over


@dataclass
class Track:
    """One followed object; all lists have one entry a frame of the clip.

    Attributes:
        clip, number: which object.
        tracker, prompt: who followed it, from what.
        side_px: larger side of its box on the first frame.
        event, twin: see `clips.Target`.
        j: in [0, 1], the absent rule applied.
        visible: whether the truth has a pixel.
        empty: whether nothing was shown.
        on_twin: share of what was shown that lies on the look-alike; 0 without one.
        score, presence: what the tracker said of itself, in [0, 1]; empty lists for one that says nothing.
        seconds: spent on the clip, shared out over its objects.
    """

    clip: str
    number: int
    tracker: str
    prompt: str
    side_px: float
    event: str
    twin: int
    j: list[float] = field(default_factory=list)
    visible: list[bool] = field(default_factory=list)
    empty: list[bool] = field(default_factory=list)
    on_twin: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    presence: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, int, str, str]:
        return self.clip, self.number, self.tracker, self.prompt

    @property
    def size_class(self) -> int:
        return size_class(self.side_px)

    @property
    def later(self) -> float:
        """Mean J after the first frame."""
        return float(np.mean(self.j[1:]))

    @property
    def later_visible(self) -> float:
        """The same over the frames where the object can be seen; NaN if there are none."""
        return mean(j for j, visible in zip(self.j[1:], self.visible[1:], strict=True) if visible)

    @property
    def after_return(self) -> float:
        """Mean J over the visible frames after the first one without the object; NaN if it was never away."""
        gone = next((t for t, visible in enumerate(self.visible) if not visible), len(self.visible))
        return mean(self.j[t] for t in range(gone, len(self.j)) if self.visible[t])


@dataclass
class Table:
    """A table for the screen and the report."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


# -- one frame -----------------------------------------------------------------------------------------------------------
def jaccard(found: Bool, truth: Bool) -> float:
    """Intersection over union; 1 when both are empty."""
    union = int((found | truth).sum())
    return 1.0 if union == 0 else float((found & truth).sum() / union)


def inner_point(mask: Bool) -> tuple[float, float]:
    """`(x, y)` of the pixel centre that lies deepest inside a mask that is not empty; the frame's border counts as edge."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x) - 0.5, float(y) - 0.5


def corrective_click(found: Bool, truth: Bool) -> tuple[tuple[float, float], int] | None:
    """Where a person would click next: the deepest point of the largest connected region that is wrong.

    Returns:
        `((x, y), label)`, label 1 where the object was missed and 0 where something else was taken; None if all is right.
    """
    best: tuple[int, Bool, int] | None = None
    for wrong, label in ((truth & ~found, 1), (found & ~truth, 0)):
        count, regions, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8))
        if count > 1:
            largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
            area = int(stats[largest, cv2.CC_STAT_AREA])
            if best is None or area > best[0]:
                best = area, regions == largest, label
    return None if best is None else (inner_point(best[1]), best[2])


# -- tables --------------------------------------------------------------------------------------------------------------
def pick(tracks: Iterable[Track], tracker: str, prompt: str) -> list[Track]:
    return [track for track in tracks if track.tracker == tracker and track.prompt == prompt]


def runs_of(tracks: Iterable[Track]) -> list[tuple[str, str]]:
    """(prompt, tracker) pairs that there are, in order of appearance, a prompt's trackers together."""
    seen = dict.fromkeys((track.prompt, track.tracker) for track in tracks)
    prompts = dict.fromkeys(prompt for prompt, _ in seen)
    return [(prompt, tracker) for prompt in prompts for tracker in (OURS, OTHER) if (prompt, tracker) in seen]


def by_frame_table(tracks: Sequence[Track]) -> Table:
    shown = [f for f in SHOWN_FRAMES if any(len(track.j) > f for track in tracks)]
    rows = []
    for prompt, tracker in runs_of(tracks):
        some = pick(tracks, tracker, prompt)
        cells = [mean(track.j[f] for track in some if len(track.j) > f) for f in shown]
        cells += [mean(track.j[-1] for track in some)]
        cells += [mean(track.later for track in some), mean(track.later_visible for track in some)]
        cells += [mean(track.after_return for track in some)]
        rows.append([prompt, tracker, *map(_two, cells)])
    columns = ["prompt", "tracker", *(f"f{f}" for f in shown), "last", "mean f1+", "visible f1+", "after return"]
    note = "Mean J over tracks. Absent frames count 1 if nothing is shown; 'visible' and 'after return' leave them out."
    return Table("J by frame", columns, rows, note)


def by_size_table(tracks: Sequence[Track]) -> Table:
    names = [f"{low}-{high} px" for low, high in SIZE_CLASSES]
    rows = []
    for prompt, tracker in runs_of(tracks):
        some = pick(tracks, tracker, prompt)
        cells = [_two(mean(t.later for t in some if t.size_class == k)) for k in range(len(names))]
        cells += [_two(mean(t.later_visible for t in some if t.size_class == k)) for k in range(len(names))]
        rows.append([prompt, tracker, *cells])
    counts = [len({t.key[:2] for t in tracks if t.size_class == k}) for k in range(len(names))]
    note = "Objects of each class: " + ", ".join(f"{n}: {c}" for n, c in zip(names, counts, strict=True)) + "."
    return Table(
        "J after the first frame by object size",
        ["prompt", "tracker", *names, *(f"visible {n}" for n in names)],
        rows,
        note,
    )


def presence_table(tracks: Sequence[Track]) -> Table:
    rows = []
    for prompt, tracker in runs_of(tracks):
        some = pick(tracks, tracker, prompt)
        pairs = [(v, e) for t in some for v, e in zip(t.visible[1:], t.empty[1:], strict=True)]
        gone = mean(empty for visible, empty in pairs if not visible)
        false = mean(empty for visible, empty in pairs if visible)
        twins = [t for t in some if t.twin]
        taken = [sum(share > TAKEN_SHARE for share in t.on_twin[1:]) for t in twins]
        frames = sum(len(t.on_twin) - 1 for t in twins)
        share = sum(taken) / frames if frames else float("nan")
        rows.append(
            [
                prompt,
                tracker,
                percent(gone),
                percent(false),
                f"{sum(n >= 3 for n in taken)} of {len(twins)}",
                percent(share),
            ]
        )
    columns = [
        "prompt",
        "tracker",
        "gone said, truly absent",
        "gone said, visible",
        "taken over",
        "frames on look-alike",
    ]
    note = "Taken over: tracks with a late look-alike that show mostly it on three frames or more."
    return Table("Presence and look-alikes", columns, rows, note)


def criteria_table(tracks: Sequence[Track], speeds: dict[int, float] | None = None) -> Table:
    """What was asked for, and whether it is reached; intervals are paired bootstraps over clips."""
    rows: list[list[str]] = []
    for prompt in ("mask", "box"):
        for k, (low, high) in enumerate(SIZE_CLASSES):
            gains = paired(tracks, prompt, lambda track: track.later, k)
            if gains:
                rows.append(
                    [
                        f"{prompt}, {low}-{high} px: ahead by",
                        f"+{WANTED_GAIN:.2f}",
                        _signed(gains),
                        _verdict(mean(gain for _, gain in gains) >= WANTED_GAIN),
                    ]
                )
        worst, at = np.inf, 0
        for frame in range(10):
            gains = paired(tracks, prompt, _at(frame))
            if gains and mean(gain for _, gain in gains) < worst:
                worst, at = mean(gain for _, gain in gains), frame
        if np.isfinite(worst):
            rows.append(
                [
                    f"{prompt}: worst of the first ten frames (f{at})",
                    f"-{WANTED_LOSS:.2f}",
                    f"{worst:+.3f}",
                    _verdict(worst >= -WANTED_LOSS),
                ]
            )
    for count, goal in ((1, 10.0), (3, 6.0), (5, 4.0)):
        if speeds and count in speeds:
            rows.append(
                [
                    f"frames a second, {count} object{'s' * (count > 1)}",
                    f"{goal:g}",
                    f"{speeds[count]:.1f}",
                    _verdict(speeds[count] >= goal),
                ]
            )
    return Table(
        "Criteria",
        ["criterion", "wanted at least", "measured", ""],
        rows,
        f"Ahead of {OTHER} in mean J after the first frame; in brackets 95 %.",
    )


def paired(
    tracks: Sequence[Track], prompt: str, value: Callable[[Track], float], size: int | None = None
) -> list[Gain]:
    """Differences ours - weight-free, one an object; objects for which either has no value are left out."""
    others = {track.key[:2]: track for track in pick(tracks, OTHER, prompt)}
    ours = [t for t in pick(tracks, OURS, prompt) if t.key[:2] in others and size in (None, t.size_class)]
    return _finite((track.clip, value(track) - value(others[track.key[:2]])) for track in ours)


def compare_table(before: Sequence[Track], after: Sequence[Track]) -> Table:
    """Differences after - before over the tracks that both runs have, with paired bootstrap intervals."""
    old = {track.key: track for track in before}
    both = [(old[track.key], track) for track in after if track.key in old]
    rows = []
    for prompt, tracker in runs_of([track for _, track in both]):
        some = [(a, b) for a, b in both if (b.prompt, b.tracker) == (prompt, tracker)]
        groups: list[tuple[str, list[tuple[Track, Track]]]] = [("all", some)]
        for k, (low, high) in enumerate(SIZE_CLASSES):
            groups.append((f"{low}-{high} px", [(a, b) for a, b in some if b.size_class == k]))
        for name, members in groups:
            if not members:
                continue
            differences = _finite((b.clip, b.later - a.later) for a, b in members)
            first = _finite((b.clip, b.j[0] - a.j[0]) for a, b in members)
            returned = _finite((b.clip, b.after_return - a.after_return) for a, b in members)
            rows.append(
                [
                    prompt,
                    tracker,
                    name,
                    str(len(members)),
                    _two(mean(a.later for a, _ in members)),
                    _two(mean(b.later for _, b in members)),
                ]
                + [_signed(differences), _signed(first), _signed(returned)]
            )
    columns = ["prompt", "tracker", "objects", "tracks", "before", "after", "J f1+", "J f0", "J after return"]
    return Table(
        "Second run minus first", columns, rows, "In brackets 95 % intervals of a paired bootstrap over clips."
    )


# -- files ---------------------------------------------------------------------------------------------------------------
def save(path: Path, tracks: Sequence[Track], **more: Any) -> None:
    rounded = [{key: _rounded(value) for key, value in asdict(track).items()} for track in tracks]
    path.write_text(json.dumps({**more, "tracks": rounded}, indent=None), encoding="utf-8")


def load(path: Path) -> tuple[list[Track], dict[str, Any]]:
    """Tracks of a run, and what else was written with them."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return [Track(**item) for item in data.pop("tracks")], data


def markdown(table: Table) -> str:
    lines = [f"### {table.title}", "", "| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join([*lines, "", table.note, ""])


def _at(frame: int) -> Callable[[Track], float]:
    return lambda track: track.j[frame] if frame < len(track.j) else float("nan")


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [round(float(v), 4) if isinstance(v, float) else v for v in value]
    return round(value, 4) if isinstance(value, float) else value


def mean(values: Iterable[float]) -> float:
    """Of the finite values; NaN if there are none."""
    kept = [float(value) for value in values if np.isfinite(value)]
    return float(np.mean(kept)) if kept else float("nan")


def _two(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "-"


def percent(value: float) -> str:
    """A share as a cell of a table."""
    return f"{100 * value:.1f} %" if np.isfinite(value) else "-"


def _finite(gains: Iterable[Gain]) -> list[Gain]:
    return [(clip, float(gain)) for clip, gain in gains if np.isfinite(gain)]


def _signed(gains: Sequence[Gain]) -> str:
    if not gains:
        return "-"
    found = mean_estimate([gain for _, gain in gains], [clip for clip, _ in gains])
    span = "" if found.low is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
    return f"{found.value:+.3f}{span}"


def _verdict(reached: bool) -> str:
    return "pass" if reached else "FAIL"
