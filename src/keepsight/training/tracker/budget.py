"""Memory preview: weighs small clips before the run, tells what the large ones will need, and makes them fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import psutil
import torch
from torch import Tensor, nn

from keepsight.core import InputError
from keepsight.training.tracker.learner import Learner

SLACK = 1.25
"""What passes by in a step beside what is kept for the backward pass, and what an allocator cannot use."""


@dataclass(frozen=True)
class Preview:
    """What a run is going to need.

    Attributes:
        weights_bytes: weights, their moving average, gradients and what the optimiser keeps.
        step_bytes: what a step keeps for its backward pass, at the size that was chosen.
        frames, objects: the size of a clip that was chosen.
    """

    weights_bytes: int
    step_bytes: int
    frames: int
    objects: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + int(SLACK * self.step_bytes)

    def __str__(self) -> str:
        return (
            f"{self.total_bytes / 1e9:.1f} GB for clips of {self.frames} frames and {self.objects} "
            f"object{'' if self.objects == 1 else 's'}"
        )


def free_bytes(device: torch.device) -> int:
    """Memory that nobody uses just now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def fit(
    learner: Learner, free: int, slots: int, *, resumed: bool = False, log: Callable[[str], None] = print
) -> Preview:
    """Weighs dry steps, makes clips smaller until they fit, and says what is needed.

    Args:
        free: bytes that may be used.
        slots: frames that are read at most; up to there each further frame costs more than the one before.
        resumed: the size is what it was when the run began: it is only looked at.

    Raises:
        InputError: the smallest clip does not fit.
    """
    estimate = _Estimate(learner, slots)
    weights = _weights_bytes(learner)
    while True:
        frames, objects = learner.clip_size()
        preview = Preview(weights, estimate(frames, objects), frames, objects)
        if preview.total_bytes <= free or resumed:
            log(f"memory: about {preview}; {free / 1e9:.1f} GB are free")
            return preview
        if not learner.shrink():
            raise InputError(
                f"Training needs about {preview}, and {free / 1e9:.1f} GB are free; try a smaller --image-size or a smaller "
                "--base, or free some memory."
            )
        log(f"memory: {preview} would not fit into {free / 1e9:.1f} GB; clips are made smaller")


class _Estimate:
    """Bytes that a step keeps, from dry steps of two to four frames and of one or two objects."""

    def __init__(self, learner: Learner, slots: int) -> None:
        self._slots = slots
        longest, most = learner.clip_size()
        self._frames = [weigh(learner.module, partial(learner.dry, t, 1)) for t in range(2, min(4, longest) + 1)]
        pair = weigh(learner.module, partial(learner.dry, 2, 2)) if most > 1 else self._frames[0]
        self._object = max(0.0, pair / max(1, self._frames[0]) - 1)

    def __call__(self, frames: int, objects: int) -> int:
        known = self._frames
        total = float(known[min(frames, len(known) + 1) - 2])
        steps = [b - a for a, b in pairwise(known)]
        growth = max(0.0, steps[-1] - steps[0]) if len(steps) > 1 else 0.0
        for t in range(len(known) + 2, frames + 1):
            total += steps[-1] + growth * max(0, min(t, self._slots) - len(known) - 1)
        return int(total * (1 + (objects - 1) * self._object))


def weigh(module: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that a forward pass keeps for its backward pass, weights not counted; every storage once."""
    own = {value.untyped_storage().data_ptr() for value in (*module.parameters(), *module.buffers())}
    sizes: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        loss = forward()  # kept until here: what it holds must not be given back and counted again
    total = sum(sizes.values())
    del loss
    return total


def _weights_bytes(learner: Learner) -> int:
    every = sum(value.numel() * value.element_size() for value in learner.module.state_dict().values())
    learns = sum(p.numel() * p.element_size() for group in learner.groups() for p in group.parameters)
    return 2 * every + 3 * learns
