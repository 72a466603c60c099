"""Keepsight: segments and tracks objects through video and does not lose sight of them.

import keepsight

tracker = keepsight.load("builtin", policy="sam2")
session = tracker.open("clip.mp4")
session.add(object_id=1, frame=0, box=(100, 80, 220, 260))
for result in session.propagate():
    print(result.frame, result[1].mask.area)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "load": "keepsight.tracking",
    "Tracker": "keepsight.tracking",
    "Session": "keepsight.tracking",
    "EngineOptions": "keepsight.tracking",
    "ConceptSession": "keepsight.concepts",
    "ConceptStream": "keepsight.concepts",
    "ConceptRules": "keepsight.concepts",
    "Compatibility": "keepsight.tracking",
    "open_video": "keepsight.video",
    "Frame": "keepsight.core",
    "FrameResult": "keepsight.core",
    "InputError": "keepsight.core",
    "KeepsightError": "keepsight.core",
    "Mask": "keepsight.core",
    "ModelError": "keepsight.core",
    "Prompt": "keepsight.core",
    "StoreError": "keepsight.core",
    "TrackedObject": "keepsight.core",
    "Project": "keepsight.store",
    "SAM2": "keepsight.memory",
    "SAMURAI": "keepsight.memory",
    "DAM4SAM": "keepsight.memory",
    "SAM2Long": "keepsight.memory",
    "SAM3": "keepsight.memory",
    "SAM3DMS": "keepsight.memory",
    "MoSAM": "keepsight.memory",
    "Zoom": "keepsight.tracking",
}

__all__ = [
    "DAM4SAM",
    "SAM2",
    "SAM3",
    "SAM3DMS",
    "SAMURAI",
    "Compatibility",
    "ConceptRules",
    "ConceptSession",
    "ConceptStream",
    "EngineOptions",
    "Frame",
    "FrameResult",
    "InputError",
    "KeepsightError",
    "Mask",
    "MoSAM",
    "ModelError",
    "Project",
    "Prompt",
    "SAM2Long",
    "Session",
    "StoreError",
    "TrackedObject",
    "Tracker",
    "Zoom",
    "__version__",
    "load",
    "open_video",
]

if TYPE_CHECKING:
    from keepsight.concepts import ConceptRules, ConceptSession, ConceptStream
    from keepsight.core import (
        Frame,
        FrameResult,
        InputError,
        KeepsightError,
        Mask,
        ModelError,
        Prompt,
        StoreError,
        TrackedObject,
    )
    from keepsight.memory import DAM4SAM, SAM2, SAM3, SAM3DMS, SAMURAI, MoSAM, SAM2Long
    from keepsight.store import Project
    from keepsight.tracking import Compatibility, EngineOptions, Session, Tracker, Zoom, load
    from keepsight.video import open_video


def __getattr__(name: str) -> Any:
    # Lazy: `keepsight --help` must not wait for torch.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'keepsight' has no attribute '{name}'")
