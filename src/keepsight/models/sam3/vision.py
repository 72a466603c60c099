"""A picture as the head of SAM 3's detector takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Sam3Vision:
    """Pictures as the detector's head takes them (transformers' ``Sam3VisionEncoderOutput``, as far as that is read)."""

    last_hidden_state: Tensor
    fpn_hidden_states: tuple[Tensor, ...]
    fpn_position_encoding: tuple[Tensor, ...]
    hidden_states: None = None
    attentions: None = None

    def expand(self, batch: int) -> Sam3Vision:
        """The same picture for a batch of questions; nothing is copied."""
        return self._each(lambda level: level.expand(batch, *level.shape[1:]))

    def repeat(self, times: Sequence[int]) -> Sam3Vision:
        """Each picture as often as there are questions about it."""
        if len(times) == 1:
            return self.expand(times[0])
        rows = torch.arange(len(times)).repeat_interleave(torch.tensor(times))
        # Position codes are one row for all pictures.
        return self._each(lambda level: level.expand(len(rows), *level.shape[1:]) if len(level) == 1 else level[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Sam3Vision:
        levels, positions = (tuple(map(change, part)) for part in (self.fpn_hidden_states, self.fpn_position_encoding))
        return Sam3Vision(change(self.last_hidden_state), levels, positions)


def vision_of(detector: nn.Module, patches: Tensor) -> Sam3Vision:
    """Patch features ``(N, g * g, C)`` through the detector's neck; gradients flow where they are on.

    Args:
        detector: a ``Sam3Model``.
    """
    encoder = cast(Any, detector).vision_encoder
    levels, positions = encoder.neck(as_map(patches))
    return Sam3Vision(patches, tuple(levels), tuple(positions))


def as_map(patches: Tensor) -> Tensor:
    """``(N, g * g, C)`` to ``(N, C, g, g)``: SAM 3 sees squares."""
    side = round(patches.shape[1] ** 0.5)
    return patches.transpose(1, 2).reshape(len(patches), -1, side, side)
