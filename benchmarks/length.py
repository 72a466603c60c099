"""Peak memory against the length of the video: it must not grow.

    python benchmarks/length.py                        # built-in model and a small SAM 2, 300 / 3,000 / 10,000 frames
    python benchmarks/length.py --objects 5 --lengths 300 3000

Every length runs in a process of its own, on a synthetic stream (moving discs, made when asked for) that is followed
through a session on a video that can be rewound, as `keepsight segment` does, and through the endless `tracker.step`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from keepsight.core import Frame
from keepsight.video import VideoSource

HEIGHT, WIDTH = 144, 192


class MovingDiscs(VideoSource):
    """Frames drawn on demand: a video of any length that takes no space."""

    def __init__(self, length: int, objects: int) -> None:
        self.name, self.height, self.width, self.warnings = "moving discs", HEIGHT, WIDTH, []
        self.length, self.objects = length, objects
        self._grid = np.mgrid[:HEIGHT, :WIDTH]

    @property
    def fps(self) -> float:
        return 25.0

    @property
    def frame_count(self) -> int:
        return self.length

    @property
    def times_s(self) -> NDArray[np.float64]:
        return np.arange(self.length) / self.fps

    def centre(self, index: int, number: int) -> tuple[float, float]:
        angle = index / 40 + number * 2.1
        return WIDTH * (0.5 + 0.3 * np.cos(angle)), HEIGHT * (0.5 + 0.3 * np.sin(1.3 * angle))

    def read(self, index: int) -> Frame:
        rows, columns = self._grid
        rgb = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        for number in range(self.objects):
            x, y = self.centre(index, number)
            colour = (40 + 50 * number % 200, 220 - 40 * number % 200, 60)
            rgb[(rows - y) ** 2 + (columns - x) ** 2 < 14**2] = colour
        return Frame(index, index / self.fps, rgb)

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        end = stop if stop is not None else (self.length if step > 0 else -1)
        return (self.read(index) for index in range(start, min(end, self.length), step))

    def fingerprint(self) -> str:
        return f"discs-{self.length}-{self.objects}"

    def close(self) -> None:
        pass


def child(model: str, way: str, length: int, objects: int) -> None:
    """One run; prints peak resident MiB after the warm-up, and seconds."""
    import torch

    from keepsight.tracking import Tracker, load

    torch.set_num_threads(1)
    if model == "builtin":
        tracker = load("builtin", device="cpu")
    else:
        import objects as bench
        from keepsight.models.sam2.hf_video import HFVideoBackbone

        tracker = Tracker(HFVideoBackbone(bench.random_sam2("nano", 64)))
    video = MovingDiscs(length, objects)
    process, peak = psutil.Process(), 0
    start = time.perf_counter()
    if way == "session":
        session = tracker.open(video)
        for number in range(objects):
            session.add(object_id=number + 1, frame=0, points=[video.centre(0, number)])
        results = session.propagate()
    else:
        for number in range(objects):
            tracker.add(object_id=number + 1, points=[video.centre(0, number)])
        results = (tracker.step(frame.rgb, frame.time_s) for frame in video.frames())
    for result in results:
        if result.frame % 25 == 0:
            peak = max(peak, process.memory_info().rss)
    print(peak / 2**20, time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[300, 3000, 10000])
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["builtin", "sam2-nano"])
    parser.add_argument("--child", nargs=2, metavar=("MODEL", "WAY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child, arguments.lengths[0], arguments.objects)
        return
    table = Table(title=f"peak resident memory in MiB, {arguments.objects} objects, one thread")
    table.add_column("model")
    table.add_column("through")
    for length in arguments.lengths:
        table.add_column(f"{length:,} frames", justify="right")
    table.add_column("growth", justify="right")
    for model in arguments.models:
        for way in ("session", "step"):
            peaks = []
            for length in arguments.lengths:
                command = [sys.executable, __file__, "--child", model, way]
                command += ["--lengths", str(length), "--objects", str(arguments.objects)]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                peaks.append(float(output.split()[0]))
            growth = f"{100 * (peaks[-1] / peaks[0] - 1):+.1f} %"
            table.add_row(model, way, *(f"{peak:.0f}" for peak in peaks), growth)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
