"""The memory policies side by side on long synthetic clips, on the built-in model.

    python benchmarks/policies.py --data data/builtin --out out/policies            # 60 clips of 200 frames
    python benchmarks/policies.py --data data/builtin --out out/policies --clips 80 # goes on where it was
    python benchmarks/policies.py --show out/policies                               # the tables once more

`--data` is the folder with the packages that training fetches (`keepsight train builtin`). Clips (`long_clips.py`) are made
from pictures that training never sees; every target leaves or is hidden and returns, and each has a look-alike. Targets are
given by their true mask on frame 0. All policies follow a clip in step on shared image features, which does not change what
any of them gives. Results are kept clip by clip; a run that was stopped goes on.

Time is processor time of the one thread that does the work, so other load on the machine does not count; a policy is
charged the image encodings that it would need by itself, and no decoding.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as RichTable

import keepsight
from keepsight.core import FrameResult, Prompt
from keepsight.core.metrics import boundary_accuracy, region_similarity
from keepsight.memory import POLICIES, policy_factory
from keepsight.tracking.together import Together
from long_clips import LongClip
from sprites import Pictures

FIRST_SEED = 5000
GONE_FRAMES, BACK_FRAMES, LEAST_PX = 5, 25, 20
LIVE = "sam2long, live"
RESULTS = "clips.jsonl"

Numbers = NDArray[np.float64]


# -- one clip ------------------------------------------------------------------------------------------------------------
def follow(clip: LongClip, names: Sequence[str], tracker: keepsight.Tracker) -> dict[str, Any]:
    """All policies on one clip; plain values for the results file."""
    together = Together(
        tracker.backbone, {name: policy_factory(name) for name in names}, tracker.options, clip, clock=time.thread_time
    )
    for number in clip.targets:
        together.add_prompt(Prompt(number, 0, mask=clip.truth(0, number)))
    scores = {name: _Scores(clip) for name in names}
    if "sam2long" in names:
        scores[LIVE] = _Scores(clip)
    for shown in together.propagate():
        for name, result in shown.items():
            scores[name].take(result)
        if LIVE in scores:
            scores[LIVE].take(shown["sam2long"])
    for name, revised in together.finalize().items():
        for result in revised:
            scores[name].take(result)
    tracked = clip.frame_count - 1
    usage = {
        name: {
            "seconds": round(together.alone_s(name), 3),
            "own_s": round(used.own_s, 3),
            "units": used.units,
            "peak_bytes": used.peak_bytes,
            "uncertain": {str(i): count / tracked for i, count in used.uncertain.items()},
        }
        for name, used in together.usage.items()
    }
    return {"seed": clip.seed, "usage": usage, "tracks": {name: score.lists() for name, score in scores.items()}}


class _Scores:
    """Frame by frame: J, F, whether the object is there, and whether the mask lies on something else."""

    def __init__(self, clip: LongClip) -> None:
        self._clip = clip
        count, targets = clip.frame_count, clip.targets
        self._j, self._f = np.zeros((len(targets), count)), np.zeros((len(targets), count))
        self._area, self._wrong = np.zeros((len(targets), count), int), np.zeros((len(targets), count), int)
        self._empty = np.zeros((len(targets), count), int)

    def take(self, result: FrameResult) -> None:
        t = result.frame
        others = [*self._clip.targets, *self._clip.distractors]
        truths = {number: self._clip.truth(t, number).to_array() for number in others}
        for row, number in enumerate(self._clip.targets):
            try:
                found = result[number].mask.to_array()
            except KeyError:
                continue
            truth = truths[number]
            self._j[row, t], self._f[row, t] = region_similarity(found, truth), boundary_accuracy(found, truth)
            self._area[row, t], self._empty[row, t] = int(truth.sum()), int(not found.any())
            most = max(int((found & truths[other]).sum()) for other in others if other != number)
            self._wrong[row, t] = int(most > int((found & truth).sum()))

    def lists(self) -> list[dict[str, Any]]:
        return [
            {
                "j": np.round(self._j[row], 3).tolist(),
                "f": np.round(self._f[row], 3).tolist(),
                "area": self._area[row].tolist(),
                "wrong": self._wrong[row].tolist(),
                "empty": self._empty[row].tolist(),
            }
            for row in range(len(self._j))
        ]


# -- many clips ----------------------------------------------------------------------------------------------------------
def back_frames(area: Sequence[int]) -> list[int]:
    """Frames with the object within `BACK_FRAMES` after an absence of `GONE_FRAMES` or more."""
    frames: list[int] = []
    gone, since = 0, BACK_FRAMES
    for t, pixels in enumerate(area):
        if pixels >= LEAST_PX:
            since = 0 if gone >= GONE_FRAMES else since + 1
            gone = 0
            if since < BACK_FRAMES:
                frames.append(t)
        else:
            gone += pixels == 0
            since += 1
    return frames


def _of_clip(clip: dict[str, Any], name: str, measure: Callable[[dict[str, Any]], Sequence[float]]) -> float:
    """Mean of a measure over all frames of a clip's objects; NaN when there are none."""
    values = [value for track in clip["tracks"][name] for value in measure(track)]
    return float(np.mean(values)) if values else float("nan")


MEASURES: dict[str, Callable[[dict[str, Any]], Sequence[float]]] = {
    "J&F": lambda track: [(j + f) / 2 for j, f in zip(track["j"][1:], track["f"][1:], strict=True)],
    "J": lambda track: track["j"][1:],
    "F": lambda track: track["f"][1:],
    "J visible": lambda track: [j for j, a in zip(track["j"][1:], track["area"][1:], strict=True) if a >= LEAST_PX],
    "J after return": lambda track: [track["j"][t] for t in back_frames(track["area"])],
    "wrong object": lambda track: track["wrong"][1:],
    "gone said, visible": lambda track: [
        e for e, a in zip(track["empty"][1:], track["area"][1:], strict=True) if a >= LEAST_PX
    ],
    "gone said, absent": lambda track: [
        e for e, a in zip(track["empty"][1:], track["area"][1:], strict=True) if a == 0
    ],
}


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: Numbers, rounds: int = 4000, seed: int = 0) -> Interval:
    """Mean over clips and its 95 % interval; clips are drawn with replacement. Clips without a value (NaN) are left out."""
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (rounds, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def per_clip(clips: Sequence[dict[str, Any]], name: str, measure: str) -> Numbers:
    return np.array([_of_clip(clip, name, MEASURES[measure]) for clip in clips])


def names_of(clips: Sequence[dict[str, Any]]) -> list[str]:
    return list(clips[0]["tracks"])


def quality_rows(clips: Sequence[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for name in names_of(clips):
        both = bootstrap(per_clip(clips, name, "J&F"))
        gain = "" if name == "sam2" else _gain(clips, name)
        cells = [f"{bootstrap(per_clip(clips, name, m)).mean:.3f}" for m in ("J", "F", "J visible", "J after return")]
        shares = ("wrong object", "gone said, visible", "gone said, absent")
        cells += [f"{100 * bootstrap(per_clip(clips, name, m)).mean:.1f} %" for m in shares]
        rows.append([name, f"{both.mean:.3f} [{both.low:.3f}, {both.high:.3f}]", gain, *cells])
    return rows


def _gain(clips: Sequence[dict[str, Any]], name: str) -> str:
    if "sam2" not in names_of(clips):
        return ""
    gain = bootstrap(per_clip(clips, name, "J&F") - per_clip(clips, "sam2", "J&F"))
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


QUALITY = [
    *("policy", "J&F [95 %]", "against sam2 [95 %]", "J", "F", "J visible", "J after return"),
    *("on another", "gone said, visible", "gone said, absent"),
]


def cost_rows(clips: Sequence[dict[str, Any]]) -> list[list[str]]:
    rows = []
    names = list(clips[0]["usage"])
    base = "sam2" if "sam2" in names else names[0]
    for name in names:
        used = [clip["usage"][name] for clip in clips]
        seconds, units = (sum(u[key] for u in used) for key in ("seconds", "units"))
        against = [sum(clip["usage"][base][key] for clip in clips) for key in ("seconds", "units")]
        peak = max(u["peak_bytes"] for u in used) / 2**20
        rows.append([name, f"{seconds / against[0]:.2f}x", f"{units / against[1]:.2f}x", f"{peak:.1f}"])
    return rows


def doubt_rows(clips: Sequence[dict[str, Any]]) -> list[list[str]]:
    """sam2long's time against the share of frames on which it was uncertain."""
    shares, times, units = doubts(clips)
    rows = []
    for low, high in ((0, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 1.01)):
        some = (shares >= low) & (shares < high)
        if some.any():
            rows.append(
                [
                    f"{100 * low:.0f} to {100 * min(high, 1):.0f} %",
                    str(int(some.sum())),
                    f"{times[some].mean():.2f}x",
                    f"{times[some].max():.2f}x",
                    f"{units[some].mean():.2f}x",
                ]
            )
    return rows


def doubts(clips: Sequence[dict[str, Any]]) -> tuple[Numbers, Numbers, Numbers]:
    """Share of uncertain frames, time and units of sam2long relative to sam2, a value a clip."""
    shares, times, units = [], [], []
    for clip in clips:
        long, plain = clip["usage"].get("sam2long"), clip["usage"].get("sam2")
        if long and plain:
            shares.append(float(np.mean(list(long["uncertain"].values()) or [0.0])))
            times.append(long["seconds"] / plain["seconds"])
            units.append(long["units"] / plain["units"])
    return np.array(shares), np.array(times), np.array(units)


# -- showing -------------------------------------------------------------------------------------------------------------
def show(folder: Path) -> None:
    """Prints the tables, and writes them (`report.md`) with the plots beside the results."""
    header, clips = load(folder)
    if not clips:
        raise SystemExit(f"There are no finished clips in {folder} yet.")
    frames = len(next(iter(clips[0]["tracks"].values()))[0]["j"])
    console, lines = Console(width=200), [f"{len(clips)} clips of {frames} frames; {header}", ""]
    tables = [("Quality", QUALITY, quality_rows(clips))]
    tables.append(("Cost", ["policy", "time", "units", "most remembered, MiB"], cost_rows(clips)))
    if len(doubts(clips)[0]):
        columns = ["uncertain frames", "clips", "time, mean", "time, most", "units, mean"]
        tables.append(("sam2long against sam2", columns, doubt_rows(clips)))
    for title, columns, rows in tables:
        table = RichTable(*columns, title=f"{title} ({len(clips)} clips)")
        lines += [f"**{title}**", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        for row in rows:
            table.add_row(*row)
            lines.append("| " + " | ".join(row) + " |")
        lines.append("")
        console.print(table)
    (folder / "report.md").write_text("\n".join(lines))
    plot(clips, folder)


def plot(clips: Sequence[dict[str, Any]], folder: Path) -> None:
    """`policies.png`: J&F with intervals, J&F against sam2 clip by clip, J over time, and the price of doubt."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    bars, gains, course, price = figure.subplots(2, 2).ravel()
    names = names_of(clips)
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    for place, name in enumerate(names):
        for shift, measure, shade in ((-0.15, "J&F", 1.0), (0.15, "J after return", 0.45)):
            value = bootstrap(per_clip(clips, name, measure))
            error = [[value.mean - value.low], [value.high - value.mean]]
            bars.errorbar(place + shift, value.mean, error, fmt="o", color=colours[name], alpha=shade, capsize=3)
    bars.set_xticks(range(len(names)), names, rotation=25, ha="right")
    bars.set_title("J&F (left) and J after a return (right, pale), 95 %", fontsize=10)
    if "sam2" in names:
        rest = [name for name in names if name != "sam2"]
        for place, name in enumerate(rest):
            change = per_clip(clips, name, "J&F") - per_clip(clips, "sam2", "J&F")
            places = place + np.random.default_rng(0).uniform(-0.15, 0.15, len(change))
            gains.plot(places, change, ".", color=colours[name], alpha=0.6)
        gains.axhline(0, color="grey", linewidth=0.8)
        gains.set_xticks(range(len(rest)), rest, rotation=25, ha="right")
    gains.set_title("J&F less that of sam2, a point a clip", fontsize=10)
    for name in names:
        j = np.array([track["j"] for clip in clips for track in clip["tracks"][name]]).mean(axis=0)
        smooth = np.convolve(np.pad(j, 7, mode="edge"), np.ones(15) / 15, mode="valid")
        course.plot(smooth, color=colours[name], label=name, linewidth=1.2)
    course.set_title("J over time, mean of all objects, over 15 frames", fontsize=10)
    course.set_xlabel("frame")
    course.legend(fontsize=7)
    shares, times, units = doubts(clips)
    if len(shares):
        price.plot(100 * shares, times, "o", markersize=4, label="time")
        price.plot(100 * shares, units, "x", markersize=4, label="units decoded")
        price.axhline(1.25, color="grey", linewidth=0.8, linestyle="--")
        price.axvline(20, color="grey", linewidth=0.8, linestyle="--")
        price.set_xlabel("share of uncertain frames, %")
        price.legend(fontsize=7)
    price.set_title("sam2long against sam2, a point a clip", fontsize=10)
    figure.savefig(folder / "policies.png", dpi=110)


# -- keeping -------------------------------------------------------------------------------------------------------------
def load(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a results file says about its run, and its clips; a line that was cut off by a kill is left out."""
    lines = (folder / RESULTS).read_text().splitlines() if (folder / RESULTS).exists() else []
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return (parsed[0], sorted(parsed[1:], key=lambda clip: clip["seed"])) if parsed else ({}, [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--out", type=Path, default=Path("out/policies"))
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--objects", type=int, default=2, help="objects followed in a clip")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first clip")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--zoom", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--show", type=Path, metavar="DIR", help="print what is there and leave")
    arguments = parser.parse_args()
    if arguments.show:
        show(arguments.show)
        return
    names = [name for name in arguments.policies.split(",") if name]
    for name in names:
        policy_factory(name)
    torch.set_num_threads(1)  # what processor time of one thread stands for
    cv2.setNumThreads(1)
    tracker = keepsight.load("builtin", device=arguments.device, zoom=arguments.zoom)
    header = {
        "policies": names,
        "frames": arguments.frames,
        "objects": arguments.objects,
        "zoom": tracker.options.closely is not None,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    before, done = load(arguments.out)
    if before and before != header:
        raise SystemExit(f"{arguments.out} holds a run with other settings ({before}); give another --out.")
    pictures = Pictures.held_out(arguments.data)
    with (arguments.out / RESULTS).open("a") as file:
        if not before:
            file.write(json.dumps(header) + "\n")
        for seed in range(arguments.seed, arguments.seed + arguments.clips):
            if any(clip["seed"] == seed for clip in done):
                continue
            begin = time.perf_counter()
            clip = LongClip(pictures, seed, arguments.frames, arguments.objects)
            # A line of its own even after one that a kill has cut off.
            file.write("\n" + json.dumps(follow(clip, names, tracker)) + "\n")
            file.flush()
            print(f"clip {seed}: {time.perf_counter() - begin:.0f} s", flush=True)
    show(arguments.out)


if __name__ == "__main__":
    main()
