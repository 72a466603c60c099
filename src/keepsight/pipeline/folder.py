"""The output folder: whether it may be used, and the project inside."""

from __future__ import annotations

import os
from pathlib import Path

from keepsight.core import StoreError
from keepsight.pipeline.job import Mode, SegmentJob
from keepsight.pipeline.outputs import existing_outputs, remove_outputs
from keepsight.store import Project
from keepsight.video import VideoSource


def check_folder(job: SegmentJob) -> None:
    """Refuses a folder that cannot be used, before any work is done; changes nothing.

    Raises:
        StoreError: not a folder, not writable, or an earlier run is there and the job does not say what to do about it.
    """
    folder = job.folder
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise StoreError(f"Cannot write to {folder}: {existing} is not a folder; choose another --out.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StoreError(f"Cannot write to {folder}: no permission; choose another --out.")
    if job.project_path.exists() and job.mode == Mode.FAIL:
        raise StoreError(
            f"{folder} already holds the results of an earlier run; go on with it by --resume, replace it by --overwrite, "
            "or choose another --out."
        )
    found = existing_outputs(folder)
    if found and job.mode != Mode.OVERWRITE and not job.project_path.exists():
        raise StoreError(
            f"{folder} holds {', '.join(found)} but no project, so these are not replaced; choose another --out, "
            "or replace them by --overwrite."
        )


def create_project(job: SegmentJob) -> Project:
    """Makes the folder and a fresh project in it; results that were there go.

    Raises:
        StoreError: the folder cannot be written.
    """
    _make(job.folder)
    project = Project.create(job.project_path, overwrite=job.mode == Mode.OVERWRITE)
    # Only now: creating refuses a project that another process is writing, and then nothing may be gone.
    remove_outputs(job.folder)
    return project


def add_video(project: Project, video: VideoSource) -> int:
    """Registers a video; returns its id."""
    return project.add_video(
        path=str(video.path if video.path is not None else video.name),
        name=video.name,
        height=video.height,
        width=video.width,
        fps=video.fps,
        frame_count=video.frame_count,
        fingerprint=video.fingerprint(),
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"Cannot make the folder {folder}: {error.strerror or error}; choose another --out."
        ) from error
