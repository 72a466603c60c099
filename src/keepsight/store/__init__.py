"""The project file: videos, objects, prompts, masks by frame, runs, edits and undo in one SQLite file."""

from keepsight.store.edit_kinds import (
    ChangeId,
    DeleteLabel,
    DeleteRange,
    DressLabel,
    Edit,
    EditEffect,
    Merge,
    Relabel,
    Split,
    Swap,
)
from keepsight.store.lookups import Lane
from keepsight.store.project import Project
from keepsight.store.records import UNDONE, StoredObject, StoredPrompt, StoredRun, StoredVideo, TrackPoint

__all__ = [
    "UNDONE",
    "ChangeId",
    "DeleteLabel",
    "DeleteRange",
    "DressLabel",
    "Edit",
    "EditEffect",
    "Lane",
    "Merge",
    "Project",
    "Relabel",
    "Split",
    "StoredObject",
    "StoredPrompt",
    "StoredRun",
    "StoredVideo",
    "Swap",
    "TrackPoint",
]
