"""Two sides timed in turn, a stretch each, so that a slow moment of the machine meets both."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Protocol

import torch

WARM_UP = 17
"""Frames before the clock starts: all memory slots and pointers are full from here on."""


class Side(Protocol):
    """One of those that are compared."""

    def step(self, frame: int) -> None:
        """Takes the next frame."""


def add_options(parser: argparse.ArgumentParser, objects: Sequence[int]) -> None:
    """What such a comparison can be told; ``objects`` are the numbers of objects unless others are given."""
    parser.add_argument("--objects", type=int, nargs="+", default=list(objects))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--each", type=int, default=2, help="frames a round")


def frames_needed(rounds: int, each: int) -> int:
    """Length of the clip."""
    return WARM_UP + rounds * each


def warm_up(sides: Sequence[Side]) -> None:
    """Fills the memories of all sides."""
    for side in sides:
        for frame in range(WARM_UP):
            side.step(frame)


def medians(sides: Sequence[Side], device: torch.device, rounds: int, each: int) -> list[float]:
    """Median seconds a frame of each side, after :func:`warm_up`."""
    spent: list[list[float]] = [[] for _ in sides]
    for block in range(rounds):
        frames = range(WARM_UP + block * each, WARM_UP + (block + 1) * each)
        for side, times in zip(sides, spent, strict=True):
            times += _timed(side, frames, device)
    return [statistics.median(times) for times in spent]


def _timed(side: Side, frames: range, device: torch.device) -> list[float]:
    spent = []
    for frame in frames:
        start = time.perf_counter()
        side.step(frame)
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return spent
