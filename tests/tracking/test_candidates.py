"""Candidates are brought to full size when they are looked at, together, and once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from keepsight.tracking.candidates import CandidateMasks, sharpen_together


class Doubling:
    """Stands for a backbone: sharpened masks have twice the side."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def sharpen_each(self, features: float, logits: Tensor, views: Sequence[int]) -> Tensor:
        self.calls.append(list(views))
        return logits.repeat_interleave(2, 1).repeat_interleave(2, 2) + features


def test_looked_at_once_and_together() -> None:
    backbone = Doubling()
    units = [CandidateMasks(backbone, 100.0, view, torch.arange(3.0)[:, None, None] + 10 * view) for view in (0, 1)]  # type: ignore[arg-type]
    first = sharpen_together([(units[0], 2), (units[1], 1)])
    assert [float(mask.mean()) for mask in first] == [102.0, 111.0]
    assert backbone.calls == [[0, 1]]
    again = sharpen_together([(units[1], 1), (units[1], 0), (units[0], 2)])
    assert [float(mask.mean()) for mask in again] == [111.0, 110.0, 102.0]
    assert units[1][0].shape == (2, 2)
    assert backbone.calls == [[0, 1], [1]]
    assert float(units[0].emptied()[2].max()) < -900
