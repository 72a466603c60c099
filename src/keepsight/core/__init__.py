"""Values and pure functions that every room may use; imports nothing of ours."""

from keepsight.core.concept import Concept, Exemplar
from keepsight.core.errors import Cancelled, InputError, KeepsightError, MemoryExhausted, ModelError, StoreError
from keepsight.core.geometry import Box, box_area, box_iou, clip_box, mask_box, pad_box
from keepsight.core.mask import Mask
from keepsight.core.options import Option, Options, option
from keepsight.core.region import Placement, Region
from keepsight.core.types import Direction, Frame, FrameResult, Prompt, Source, TrackedObject

__all__ = [
    "Box",
    "Cancelled",
    "Concept",
    "Direction",
    "Exemplar",
    "Frame",
    "FrameResult",
    "InputError",
    "KeepsightError",
    "Mask",
    "MemoryExhausted",
    "ModelError",
    "Option",
    "Options",
    "Placement",
    "Prompt",
    "Region",
    "Source",
    "StoreError",
    "TrackedObject",
    "box_area",
    "box_iou",
    "clip_box",
    "mask_box",
    "option",
    "pad_box",
]
