"""The memory policies side by side on long synthetic clips, on the built-in model.

    python benchmarks/policies.py --data data/builtin --out out/policies            # 60 clips of 200 frames
    python benchmarks/policies.py --data data/builtin --out out/policies --clips 80 # goes on where it was
    python benchmarks/policies.py --show out/policies                               # tables, plot and pages once more
    python benchmarks/policies.py --show out/policies --out elsewhere
    python benchmarks/policies.py --seed 1000 --variant sam2long:pathways=2 --variant sam2long:pathways=5 --out out/tried

`--data` is the folder with the packages that training fetches (`keepsight train builtin`). Clips (`long_clips.py`) are made
from pictures that training never sees; every target leaves or is hidden and returns, and each has a look-alike. Targets are
given by their true mask on frame 0. All policies follow a clip in step on shared image features, which does not change what
any of them gives. Results are kept clip by clip; a run that was stopped goes on. Tables, intervals and pages are made from
them by `keepsight.evaluation` (`policy_report.py`).

Time is processor time of the one thread that does the work, so other load on the machine does not count; a policy is
charged the image encodings that it would need by itself, and no decoding.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import keepsight
from keepsight.core import FrameResult, Prompt
from keepsight.core.metrics import boundary_accuracy, region_similarity
from keepsight.evaluation.report.made import made_now
from keepsight.memory import POLICIES, policy_factory
from keepsight.pipeline.job import parse_options
from keepsight.tracking.together import Together
from long_clips import LongClip
from policy_report import RESULTS, load, show
from sprites import Pictures

TEST_SEEDS = range(5000, 6000)
LIVE = "sam2long, live"


# -- one clip ------------------------------------------------------------------------------------------------------------
def follow(
    clip: LongClip,
    names: Sequence[str],
    tracker: keepsight.Tracker,
    options: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """All policies on one clip; plain values for the results file. A variant is called as it is said: `policy:name=value`."""
    policies = {name: policy_factory(name.partition(":")[0], (options or {}).get(name)) for name in names}
    together = Together(tracker.backbone, policies, tracker.options, clip, clock=time.thread_time)
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
def chosen_options(names: Sequence[str], variants: Sequence[str], seeds: range) -> dict[str, dict[str, Any]]:
    """Options by name; none on clips that are the test, or what is chosen by them would be measured by them."""
    for name in names:
        policy_factory(name)
    options = {}
    for variant in variants:
        policy, _, said = variant.partition(":")
        options[variant] = parse_options("--variant", said.split(","))
        policy_factory(policy, options[variant])
    if options and seeds.start < TEST_SEEDS.stop and seeds.stop > TEST_SEEDS.start:
        ends = f"{TEST_SEEDS.start} to {TEST_SEEDS.stop - 1}"
        raise SystemExit(f"Seeds {ends} are the test, on which no option is chosen; try it on others: --seed 1000.")
    return options


def _check(folder: Path, before: dict[str, Any], header: dict[str, Any], weights: dict[str, Any]) -> None:
    """Half a run with other settings or weights would be of neither."""
    settings = {key: value for key, value in before.items() if key != "made"}
    if before and settings != header:
        raise SystemExit(f"{folder} holds a run with other settings ({settings}); give another --out.")
    if "made" in before and before["made"]["weights"] != weights:
        raise SystemExit(f"{folder} holds a run with other weights of the built-in model; give another --out.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument(
        "--out", type=Path, help="folder of the results (default: out/policies), or of what --show writes"
    )
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--objects", type=int, default=2, help="objects followed in a clip")
    parser.add_argument("--seed", type=int, default=TEST_SEEDS.start, help="of the first clip")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument(
        "--variant", action="append", default=[], metavar="POLICY:NAME=VALUE,...", help="a policy with other options"
    )
    parser.add_argument("--zoom", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--show", type=Path, metavar="DIR", help="tables and pages of what is there, and leave")
    arguments = parser.parse_args()
    if arguments.show:
        show(arguments.show, arguments.out)
        return
    arguments.out = arguments.out or Path("out/policies")
    names = [name for name in arguments.policies.split(",") if name]
    options = chosen_options(names, arguments.variant, range(arguments.seed, arguments.seed + arguments.clips))
    names += options
    torch.set_num_threads(1)  # what processor time of one thread stands for
    cv2.setNumThreads(1)
    tracker = keepsight.load("builtin", device=arguments.device, zoom=arguments.zoom)
    header = {
        "policies": names,
        "frames": arguments.frames,
        "objects": arguments.objects,
        "zoom": tracker.options.closely is not None,
        **({"options": options} if options else {}),
    }
    made = made_now({"model": "builtin"})
    arguments.out.mkdir(parents=True, exist_ok=True)
    before, done = load(arguments.out)
    _check(arguments.out, before, header, made["weights"])
    pictures = Pictures.held_out(arguments.data)
    with (arguments.out / RESULTS).open("a") as file:
        if not before:
            file.write(json.dumps({**header, "made": made}) + "\n")
        for seed in range(arguments.seed, arguments.seed + arguments.clips):
            if any(clip["seed"] == seed for clip in done):
                continue
            begin = time.perf_counter()
            clip = LongClip(pictures, seed, arguments.frames, arguments.objects)
            # A line of its own even after one that a kill has cut off.
            file.write("\n" + json.dumps(follow(clip, names, tracker, options)) + "\n")
            file.flush()
            print(f"clip {seed}: {time.perf_counter() - begin:.0f} s", flush=True)
    show(arguments.out)


if __name__ == "__main__":
    main()
