"""The decoder's candidates of one unit, brought to full size when somebody looks at them.

A decoder offers three masks and one of them is believed. Pulling a mask to the edges of the picture costs about as much as
decoding it, so it is done for those that are looked at, and once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from keepsight.core import Box
from keepsight.models.backbone import ABSENT_LOGIT, Backbone, ImageFeatures


class CandidateMasks:
    """Candidates of one unit.

    Args:
        backbone: decoded them.
        features: of the frame.
        view: row of ``features`` that the unit sees.
        coarse: logits ``(M, k, k)`` decoded without sharp edges (:meth:`Backbone.coarse`), absent gate applied.
    """

    def __init__(self, backbone: Backbone, features: ImageFeatures, view: int, coarse: Tensor) -> None:
        self._backbone, self._features, self._view = backbone, features, view
        self._coarse = coarse
        self._full: dict[int, Tensor] = {}

    def __getitem__(self, candidate: int) -> Tensor:
        """Logits ``(mask_size, mask_size)`` of one candidate."""
        return sharpen_together([(self, candidate)])[0]

    def confined(self, window: Box) -> CandidateMasks:
        """The same with nothing outside a window, in shares of the view; it may reach beyond it."""
        side = self._coarse.shape[-1]
        at = (torch.arange(side, device=self._coarse.device) + 0.5) / side
        across, down = (at >= window[0]) & (at < window[2]), (at >= window[1]) & (at < window[3])
        coarse = self._coarse.masked_fill(~(down[:, None] & across), ABSENT_LOGIT)
        return CandidateMasks(self._backbone, self._features, self._view, coarse)

    def emptied(self) -> CandidateMasks:
        """The same without a pixel, as for an object that is not there."""
        coarse = torch.full_like(self._coarse, ABSENT_LOGIT)
        return CandidateMasks(self._backbone, self._features, self._view, coarse)


def sharpen_together(wanted: Sequence[tuple[CandidateMasks, int]]) -> list[Tensor]:
    """Logits of candidates of units of one frame, each ``(mask_size, mask_size)``, in as few calls as can be."""
    missing = dict.fromkeys((masks, candidate) for masks, candidate in wanted if candidate not in masks._full)
    looks: dict[int, list[tuple[CandidateMasks, int]]] = {}
    for masks, candidate in missing:
        looks.setdefault(id(masks._features), []).append((masks, candidate))
    for members in looks.values():
        first = members[0][0]
        coarse = torch.stack([masks._coarse[candidate] for masks, candidate in members])
        full = first._backbone.sharpen_each(first._features, coarse, [masks._view for masks, _ in members])
        for (masks, candidate), logits in zip(members, full, strict=True):
            masks._full[candidate] = logits
    return [masks._full[candidate] for masks, candidate in wanted]
