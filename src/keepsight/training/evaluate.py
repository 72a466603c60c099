"""Quality of a network on held-out synthetic clips: pictures and seeds that training never sees."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from keepsight.models.builtin.network import BuiltinNetwork
from keepsight.models.builtin.weights import load_network
from keepsight.training import prompts
from keepsight.training.clips import Assets, load_assets, make_clip
from keepsight.training.follow import follow

MODES = ("copy", "mask", "box", "click", "click+3")
SHOWN_FRAMES = (0, 1, 3, 8, 15, 19)
_FIRST_SEED = 4_000_000_000


@dataclass(frozen=True)
class Score:
    """Mean J of a way of prompting, by frame (T,), over all objects; and of presence: share of right calls."""

    by_frame: NDArray[np.float64]
    presence: float

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

    Returns:
        A score for every mode.
    """
    found: dict[str, list[NDArray[np.float64]]] = {mode: [] for mode in modes}
    calls: dict[str, list[float]] = {mode: [] for mode in modes}
    for seed in range(_FIRST_SEED, _FIRST_SEED + clips):
        clip = make_clip(assets, seed, length, network.image_size, plain=plain)
        counts = np.bincount(clip.labels[0].ravel(), minlength=2)
        numbers = [i for i in np.argsort(-counts[1:]) + 1 if counts[i] >= min_area_px][:objects]
        if not numbers:
            continue
        truth = clip.labels[:, None] == np.array(numbers)[None, :, None, None]
        for mode in modes:
            rng = np.random.default_rng(seed)
            if mode == "copy":
                masks, presence = np.broadcast_to(truth[:1], truth.shape), np.ones(truth.shape[:2])
            else:
                if mode == "mask":
                    masks, presence, _ = follow(network, clip.frames, truth[0], gate=gate, edges=edges)
                else:
                    kind, _, extra = mode.partition("+")
                    first = [prompts.simulate(m, kind, rng) for m in truth[0]]
                    masks, presence, _ = follow(network, clip.frames, first, int(extra or 0), truth[0], gate, edges)
            union = (masks | truth).sum((2, 3))
            found[mode].append(np.where(union > 0, (masks & truth).sum((2, 3)) / np.maximum(union, 1), 1.0))
            calls[mode].append(float(((presence > 0) == truth.any((2, 3))).mean()))
    return {m: Score(np.concatenate(found[m], 1).mean(1), float(np.mean(calls[m]))) for m in modes if found[m]}


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
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    network = load_network(options.weights)
    assets = load_assets(options.data, held_out=True)
    log(
        table(
            evaluate(
                network,
                assets,
                options.clips,
                gate=not options.no_gate,
                edges=not options.no_edges,
                min_area_px=options.min_area,
                plain=options.plain,
            )
        )
    )


if __name__ == "__main__":
    main()
