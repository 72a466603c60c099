"""Quality of a network on held-out synthetic clips: pictures and seeds that training never sees."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from keepsight.models.builtin.network import BuiltinNetwork
from keepsight.models.builtin.weights import load_network
from keepsight.training import prompts
from keepsight.training.clips import Assets, load_assets, make_clip
from keepsight.training.follow import RECENT, follow
from keepsight.training.views import make_view_clip

MODES = ("copy", "mask", "box", "click", "click+3")
SHOWN_FRAMES = (0, 1, 3, 8, 15, 19)
_FIRST_SEED = 4_000_000_000


@dataclass(frozen=True)
class Calls:
    """What the network said of its masks, for calibration; one entry for each object and frame, first frames included.

    iou: J of the shown mask with the truth; predicted: IoU head; score: presence logit; present: whether it was there.
    """

    iou: NDArray[np.float64]
    predicted: NDArray[np.float32]
    score: NDArray[np.float32]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class Score:
    """Mean J of a way of prompting, by frame (T,), over all objects; and of presence: share of right calls."""

    by_frame: NDArray[np.float64]
    presence: float
    calls: Calls

    @property
    def later(self) -> float:
        """Mean over the frames after the first."""
        return float(self.by_frame[1:].mean())


def evaluate(
    network: BuiltinNetwork,
    assets: Assets,
    clips: int = 12,
    length: int = 20,
    objects: int = 3,
    modes: tuple[str, ...] = MODES,
    gate: bool = True,
    edges: bool = True,
    min_area_px: int = 150,
    plain: bool = False,
    views: bool = False,
    flow: bool = True,
    recent: int = RECENT,
) -> dict[str, Score]:
    """Follows up to `objects` objects through each clip; a frame without the object counts 1 if nothing is shown.

    Args:
        network: in evaluation mode.
        assets: the held-out part.
        clips: how many; the seeds are fixed, so every network sees the same.
        length: frames of a clip.
        objects: at most so many objects a clip, the largest visible ones on the first frame.
        modes: "copy" is the baseline that shows the first mask for ever; "click+3" adds three corrective clicks.
        gate: use the motion gate.
        edges: pull masks to the edges of the picture.
        min_area_px: smaller objects are not prompted.
        plain: clips without hiding places, fences, look-alikes and objects of several parts.
        views: clips through a view that follows one object (`views.py`), and only that object is prompted.
        flow: use the flow channel.
        recent: how many of the last frames are remembered.

    Returns:
        A score for every mode.
    """
    found: dict[str, list[NDArray[np.float64]]] = {mode: [] for mode in modes}
    calls: dict[str, list[Calls]] = {mode: [] for mode in modes}
    for seed in range(_FIRST_SEED, _FIRST_SEED + clips):
        frames, labels, seen, numbers = _clip(assets, seed, length, network.image_size, plain, views)
        counts = np.bincount(labels[0].ravel(), minlength=256)
        numbers = [i for i in numbers if counts[i] >= min_area_px][:objects]
        if not numbers:
            continue
        truth = labels[:, None] == np.array(numbers)[None, :, None, None]
        for mode in modes:
            rng = np.random.default_rng(seed)
            if mode == "copy":
                masks, presence = np.broadcast_to(truth[:1], truth.shape), np.ones(truth.shape[:2], np.float32)
                predicted = presence
            else:
                kind, _, extra = mode.partition("+")
                first = truth[0] if mode == "mask" else [prompts.simulate(m, kind, rng) for m in truth[0]]
                masks, presence, predicted = follow(
                    network,
                    frames,
                    first,
                    int(extra or 0),
                    truth[0],
                    gate=gate,
                    edges=edges,
                    views=seen,
                    flow=flow,
                    recent=recent,
                )
            union = (masks | truth).sum((2, 3))
            iou = np.where(union > 0, (masks & truth).sum((2, 3)) / np.maximum(union, 1), 1.0)
            found[mode].append(iou)
            there = truth.any((2, 3))
            calls[mode].append(Calls(iou.ravel(), predicted.ravel(), presence.ravel(), there.ravel()))
    return {m: _score(found[m], calls[m]) for m in modes if found[m]}


def _score(found: list[NDArray[np.float64]], calls: list[Calls]) -> Score:
    together = Calls(*(np.concatenate([getattr(c, f.name) for c in calls]) for f in fields(Calls)))
    right = (together.score > 0) == together.present
    return Score(np.concatenate(found, 1).mean(1), float(right.mean()), together)


def _clip(
    assets: Assets, seed: int, length: int, size: int, plain: bool, views: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32] | None, list[int]]:
    """Frames, labels, views, and the objects to prompt, the largest first."""
    if views:
        seen = make_view_clip(assets, seed, length, size)
        return seen.frames, seen.labels, seen.views, [seen.principal]
    clip = make_clip(assets, seed, length, size, plain=plain)
    counts = np.bincount(clip.labels[0].ravel(), minlength=2)
    return clip.frames, clip.labels, None, [int(i) for i in np.argsort(-counts[1:]) + 1]


def calibration(calls: Calls, bins: int = 5) -> str:
    """Markdown: true J and share of frames by predicted IoU (frames with the object, shown), presence by score."""
    lines = ["| predicted IoU | frames | mean predicted | mean J |", "| --- | --- | --- | --- |"]
    shown = calls.present & (calls.score > 0)
    edges = np.linspace(0, 1, bins + 1)
    for low, high in pairwise(edges):
        here = shown & (calls.predicted >= low) & (calls.predicted < high + (high == 1))
        if here.any():
            said, was = calls.predicted[here].mean(), calls.iou[here].mean()
            lines.append(f"| {low:.1f} to {high:.1f} | {here.sum()} | {said:.2f} | {was:.2f} |")
    lines += ["", "| presence score | frames | said to be there | was there |", "| --- | --- | --- | --- |"]
    marks = (-np.inf, -4.0, -2.0, 0.0, 2.0, 4.0, np.inf)
    for low, high in pairwise(marks):
        here = (calls.score >= low) & (calls.score < high)
        if here.any():
            said = (1 / (1 + np.exp(-calls.score[here].astype(np.float64)))).mean()
            lines.append(f"| {low:g} to {high:g} | {here.sum()} | {said:.2f} | {calls.present[here].mean():.2f} |")
    return "\n".join(lines)


def table(scores: dict[str, Score]) -> str:
    """Markdown table: mean over frames 1.., some single frames, presence calls."""
    length = len(next(iter(scores.values())).by_frame)
    shown = [f for f in SHOWN_FRAMES if f < length]
    lines = ["| first frame | J f1.. | " + " | ".join(f"f{f}" for f in shown) + " | presence |"]
    lines.append("|" + " --- |" * (len(shown) + 3))
    for mode, score in scores.items():
        cells = " | ".join(f"{score.by_frame[f]:.2f}" for f in shown)
        lines.append(f"| {mode} | {score.later:.3f} | {cells} | {score.presence:.2f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None, log: Callable[[str], None] = print) -> None:
    """`python -m keepsight.training.evaluate --data DIR [--weights FILE]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--weights", type=Path, default=None, help="weights file; default: those of the package")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--no-gate", action="store_true", help="without the motion gate")
    parser.add_argument("--no-edges", action="store_true", help="masks as decoded, without the edges of the picture")
    parser.add_argument("--min-area", type=int, default=150, help="px at 256 x 256; smaller objects are not prompted")
    parser.add_argument("--plain", action="store_true", help="clips without occluders, look-alikes and glued objects")
    parser.add_argument("--views", action="store_true", help="clips through a view that follows the object")
    parser.add_argument("--no-flow", action="store_true", help="without the flow channel")
    parser.add_argument("--recent", type=int, default=RECENT, help="remembered frames beside the first one")
    parser.add_argument("--calibration", action="store_true", help="how far the predicted IoU and presence are right")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    network = load_network(options.weights)
    assets = load_assets(options.data, held_out=True)
    scores = evaluate(
        network,
        assets,
        options.clips,
        gate=not options.no_gate,
        edges=not options.no_edges,
        min_area_px=options.min_area,
        plain=options.plain,
        views=options.views,
        flow=not options.no_flow,
        recent=options.recent,
    )
    log(table(scores))
    if options.calibration:
        for mode, score in scores.items():
            log(f"\n{mode}\n\n{calibration(score.calls)}")


if __name__ == "__main__":
    main()
