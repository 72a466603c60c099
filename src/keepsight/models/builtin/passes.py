"""What runs the built-in model offers to the rest: the tensors that go in and out of it, and its passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from keepsight.models.builtin.affinity import AffinityMemory

IMAGE_SIZE = 256
HIDDEN = 128
KEY_CHANNELS = 64


class Features(NamedTuple):
    """Features of N frames of side S.

    s4: (N, 16, S/4, S/4) and s8: (N, 32, S/8, S/8), the decoder's high-resolution maps; s16: (N, 128, S/16, S/16), the
    image embedding; keys: (N, 64, S/8, S/8), unit length along the channels.
    """

    s4: Tensor
    s8: Tensor
    s16: Tensor
    keys: Tensor


class Decoded(NamedTuple):
    """Candidates: logits (B, M, S/4, S/4), predicted IoU (B, M) in [0, 1], presence logit (B,)."""

    logits: Tensor
    ious: Tensor
    object_scores: Tensor

    def offered(self, multimask: bool) -> Decoded:
        """Of all four masks the three candidates, or the single one, which comes first."""
        wanted = slice(1, None) if multimask else slice(0, 1)
        return Decoded(self.logits[:, wanted], self.ious[:, wanted], self.object_scores)


Passed = TypeVar("Passed", Features, Decoded)


def joined(parts: Sequence[Passed]) -> Passed:
    """The rows of several passes one after the other."""
    return parts[0] if len(parts) == 1 else type(parts[0])(*(torch.cat(each) for each in zip(*parts, strict=True)))


class Passes(Protocol):
    """The network itself (:class:`keepsight.models.builtin.network.BuiltinNetwork`), or what does the same sooner."""

    affinity: AffinityMemory

    @property
    def image_size(self) -> int:
        """Side S of the model's input in px."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""

    def encode_image(self, pixels: Tensor) -> Features:
        """Pixels (N, 3, S, S) RGB 0..255 -> `Features`, shared by every object of the frame."""

    def decode_all(
        self, features: Features, points: Tensor, labels: Tensor, prior: Tensor | None, logits: Tensor | None
    ) -> Decoded:
        """All four masks of B units (M = 4), the single one first.

        Args:
            features: of one frame (N = 1, shared) or one per unit (N = B).
            points: (B, P, 2) px of the model input.
            labels: (B, P) 1 / 0 / 2 / 3 / -1 as in SAM 2 (2 and 3: corners of a box; -1: padding).
            prior: (B, 6, S/4, S/4) from `propagate` and `with_flow`, (B, 5, S/4, S/4) where there is no flow, or None
                for a frame without memory.
            logits: (B, 1, S/4, S/4) previous mask logits of the same frame to correct, or None.
        """

    def follow_all(self, features: Features, prior: Tensor) -> Decoded:
        """As `decode_all` with nothing but padding for points, whose maps are empty: on frames where nobody said anything.

        Args:
            features: of one frame (N = 1, shared) or one per unit (N = B).
            prior: (B, 6, S/4, S/4) from `propagate` and `with_flow`.
        """
