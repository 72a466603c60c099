"""The project file: videos, objects, prompts, masks by frame, runs and undo in one SQLite file."""

from keepsight.store.project import Project
from keepsight.store.records import StoredObject, StoredPrompt, StoredRun, StoredVideo, TrackPoint

__all__ = ["Project", "StoredObject", "StoredPrompt", "StoredRun", "StoredVideo", "TrackPoint"]
