"""Our scorer of video object segmentation beside vos-benchmark, on the same pictures in one run, with the same processes.

    python benchmarks/score_speed.py                      # 480p, 1080p and 4K, two processes
    python benchmarks/score_speed.py --sizes 1080p --processes 1
    python benchmarks/score_speed.py --memory             # peak memory against the number of frames

Truth: outlines with lobes that turn and drift, as PNGs of ids. Prediction: the same a few pixels off, with a ragged edge; one
object in six is lost on a frame, which is where most of F is computed. Both read the same files and must give the same J and F.
Processor time is taken with one process each; it hardly depends on what else the machine does, as time on the wall does.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from vos_benchmark.benchmark import benchmark

from keepsight.evaluation.vos.layouts import open_dataset, predictions_in
from keepsight.evaluation.vos.protocol import DatasetKind
from keepsight.evaluation.vos.scoring import score
from keepsight.formats.labels import write_labels

SIZES = {"480p": (480, 854), "1080p": (1080, 1920), "4K": (2160, 3840)}
FRAMES = {"480p": 120, "1080p": 60, "4K": 5}
VIDEOS, OBJECTS = 2, 3
Scorer = Callable[[Path, Path, int], tuple[float, float]]


# -- pictures ------------------------------------------------------------------------------------------------------------
def outline(height: int, width: int, number: int, t: int, rng: np.random.Generator | None) -> NDArray[np.int32]:
    """The outline of an object on a frame, ``(400, 2)``; ragged and off its place with a generator."""
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = height / 7 * (1 + 0.25 * np.sin(3 * angle + number + 0.1 * t) + 0.08 * np.sin(11 * angle + number))
    x = width * (number + 0.5) / OBJECTS + width / 40 * np.sin(0.2 * t + number)
    y = height / 2 + height / 6 * np.cos(0.15 * t + 2 * number)
    if rng is not None:
        radius = radius * (1 + 0.01 * rng.standard_normal(400))
        x, y = x + rng.normal(0, height / 250), y + rng.normal(0, height / 250)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1).astype(np.int32)


def write_video(truth: Path, found: Path, height: int, width: int, frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth.mkdir(parents=True)
    found.mkdir(parents=True)
    for t in range(frames):
        real, guess = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
        for number in range(OBJECTS):
            cv2.fillPoly(real, [outline(height, width, number, t, None)], number + 1)
            lost = rng.random() < 1 / 6
            shape = outline(height, width, number, t, rng) + (np.array([width // 9, height // 5]) if lost else 0)
            cv2.fillPoly(guess, [shape], number + 1)
        write_labels(truth / f"{t:05d}.png", real)
        write_labels(found / f"{t:05d}.png", guess)


# -- speed ---------------------------------------------------------------------------------------------------------------
def timed(scorer: Scorer, truth: Path, found: Path, processes: int) -> tuple[float, float, tuple[float, float]]:
    """Seconds on the wall, processor seconds of this process and its children, and J and F."""
    begin, before = time.perf_counter(), os.times()
    out = scorer(truth, found, processes)
    seconds = time.perf_counter() - begin
    while multiprocessing.active_children():  # only those that have ended are counted
        time.sleep(0.01)
    return seconds, sum(os.times()[:4]) - sum(before[:4]), out


def ours(truth: Path, found: Path, processes: int) -> tuple[float, float]:
    dataset = open_dataset(truth, DatasetKind.FOLDER)
    summary = score(dataset.clips, predictions_in(found), dataset.protocol, {}, processes=processes).summary
    return summary["J"], summary["F"]


def theirs(truth: Path, found: Path, processes: int) -> tuple[float, float]:
    _, j, f, _ = benchmark([str(truth)], [str(found)], num_processes=processes, verbose=False)
    (found / "results.csv").unlink()
    return j[0] / 100, f[0] / 100


def compare_speed(names: list[str], processes: int, repeats: int) -> None:
    print(f"{VIDEOS} videos, {OBJECTS} objects; best of {repeats}")
    print(
        f"| size | frames | {processes} processes: ours, s | vos-benchmark, s | ratio | a frame, processor: ours, ms ",
        end="",
    )
    print("| vos-benchmark, ms | ratio |\n|---|---|---|---|---|---|---|---|")
    for name in names:
        height, width = SIZES[name]
        with tempfile.TemporaryDirectory() as folder:
            truth, found = Path(folder, "truth"), Path(folder, "found")
            for seed in range(VIDEOS):
                write_video(truth / f"v{seed}", found / f"v{seed}", height, width, FRAMES[name], seed)
            wall, work = [math.inf, math.inf], [math.inf, math.inf]
            for _ in range(repeats):
                got = []
                for place, scorer in enumerate((ours, theirs)):
                    seconds, _, figures = timed(scorer, truth, found, processes)
                    wall[place] = min(wall[place], seconds)
                    got.append(figures)
                    # Processor time of workers that a server of processes has forked cannot be asked for.
                    _, seconds, figures = timed(scorer, truth, found, 1)
                    work[place] = min(work[place], seconds)
                    got.append(figures)
                assert np.allclose(got, got[0], rtol=0, atol=1e-12), got
        frames = VIDEOS * (FRAMES[name] - 2)
        each = [1000 * seconds / frames for seconds in work]
        print(
            f"| {name} | {frames} | {wall[0]:.2f} | {wall[1]:.2f} | {wall[1] / wall[0]:.1f} "
            f"| {each[0]:.1f} | {each[1]:.1f} | {each[1] / each[0]:.1f} |",
            flush=True,
        )


# -- memory --------------------------------------------------------------------------------------------------------------
_PEAK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from score_speed import ours
ours(Path(sys.argv[2]), Path(sys.argv[3]), 1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def compare_memory(name: str, lengths: list[int]) -> None:
    height, width = SIZES[name]
    print(f"{name}, one process, one video of {OBJECTS} objects")
    print("| frames | peak, MiB |")
    print("|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for length in lengths:
            truth, found = Path(folder, f"truth-{length}"), Path(folder, f"found-{length}")
            write_video(truth / "v", found / "v", height, width, length, 0)
            command = [sys.executable, "-c", _PEAK, str(Path(__file__).parent), str(truth), str(found)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print(f"| {length} | {int(told) / 1024:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--memory", action="store_true", help="measure memory instead of speed, at the first of --sizes"
    )
    parser.add_argument("--lengths", nargs="+", type=int, default=[20, 80, 320])
    given = parser.parse_args()
    if given.memory:
        compare_memory(given.sizes[0] if given.sizes != list(SIZES) else "1080p", given.lengths)
    else:
        compare_speed(given.sizes, given.processes, given.repeats)


if __name__ == "__main__":
    main()
