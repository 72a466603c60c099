"""SAM3-DMS: SAM 3's memory selection, decided for each object by itself.

Source: SAM3-DMS: Decoupled Memory Selection for multi-target video segmentation (arXiv 2601.09699), 2026, in our own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keepsight.core import option
from keepsight.memory.records import ObjectMemory
from keepsight.memory.sam3 import SAM3, SAM3Policy
from keepsight.memory.settings import Summary


class SAM3DMSPolicy(SAM3Policy):
    """Decoupled selection: the filter, the slots and the ranks of :class:`SAM3Policy`, the score of one object.

    Objects are still computed in one batch: what differs between them is which frames are gathered, not how.
    """

    name = "dms"
    settings: SAM3DMS

    @classmethod
    def reduce_group(cls, presences: NDArray[np.float64], qualities: NDArray[np.float64]) -> NDArray[np.float64]:
        return presences * qualities

    @classmethod
    def regroup(cls, banks: Sequence[ObjectMemory]) -> None:
        """Nothing: no object has a say in another's score."""


@dataclass(frozen=True)
class SAM3DMS(SAM3):
    """Parameters of :class:`SAM3DMSPolicy`; defaults as published (those of SAM 3)."""

    policy = SAM3DMSPolicy
    title = "SAM3-DMS"
    summary = Summary(
        idea="Reads only frames on which this object is there with a good mask: presence times IoU estimate, each object by "
        "itself. The frame before is always read.",
        choose="Several objects that hide, leave and return at different times; long videos in which an object is often away.",
        cost="As sam2: one unit evaluation a frame and object, up to 15 remembered frames.",
        paper="SAM3-DMS: Decoupled Memory Selection for Multi-target Video Segmentation of SAM3, 2026.",
    )

    score_threshold: float = option(
        0.01,
        "a frame is read when this object's score on it (presence times IoU estimate) is above this",
        effect="reads surer and older frames; too high and only the prompt and the frame before are left",
        low=0,
        high=1,
        high_open=True,
    )
