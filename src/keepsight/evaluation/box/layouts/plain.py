"""Anybody's own clips: pictures or a video file beside a ``groundtruth.txt``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from keepsight.core import InputError
from keepsight.evaluation.box.layouts.base import Layout, check_inside, count_images, folders_in, names_in, only_target
from keepsight.evaluation.box.sequences import BoxSequence
from keepsight.evaluation.box.tables import read_boxes, read_flags
from keepsight.video import open_video
from keepsight.video.images import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts"})
_TRUTH = "groundtruth.txt"
_PICTURE_FOLDERS = ("img", "color", "frames")


class PlainFolder(Layout):
    """``NAME/groundtruth.txt`` with a line ``x,y,w,h`` a frame, beside the pictures, a folder ``img`` of them, or one video file;
    the root may be one such folder itself.

    A line of zeros says that the object is not there; so does a 1 in ``absent.txt``, which may lack. A line of NaN says that
    nobody knows: the frame is left out of every measure, so that annotations may be sparse.
    """

    kind = "folder"
    family = "one-pass"

    def expected(self) -> str:
        return f"NAME/{_TRUTH} beside pictures, a folder img of them, or a video file"

    def _find(self, listed: Path | None) -> tuple[str, ...]:
        if (self.root / _TRUTH).is_file():
            self.root, name = self.root.resolve().parent, self.root.resolve().name
            return (name,)
        if listed is not None:
            return check_inside(listed, names_in(listed))
        return tuple(name for name in folders_in(self.root) if (self.root / name / _TRUTH).is_file())

    def read(self, name: str) -> BoxSequence:
        folder = self.root / name
        boxes = read_boxes(folder / _TRUTH)
        frames = _frames_in(folder)
        if frames.is_dir():
            count = count_images(frames)
        else:
            with open_video(frames) as video:
                count = video.frame_count or 0
        if count != len(boxes):
            raise InputError(f"{frames} has {count} frames, but {_TRUTH} beside it has {len(boxes)} lines.")
        absent = np.zeros(count, bool)
        if (folder / "absent.txt").is_file():
            absent = read_flags(folder / "absent.txt", count)
        target = only_target(boxes, ~absent, folder / _TRUTH)
        target = replace(target, known=~np.isnan(boxes).any(axis=1) | absent)
        return BoxSequence(name, frames, count, (target,), moments={"absent": target.known & ~target.visible})


def _frames_in(folder: Path) -> Path:
    for name in _PICTURE_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    files = [item for item in folder.iterdir() if item.is_file() and not item.name.startswith(".")]
    if any(item.suffix.lower() in IMAGE_SUFFIXES for item in files):
        return folder
    videos = [item for item in files if item.suffix.lower() in VIDEO_SUFFIXES]
    if len(videos) != 1:
        found = "several video files" if videos else "neither pictures nor a video file"
        raise InputError(f"{folder} holds {found}; there must be pictures, a folder img of them, or one video.")
    return videos[0]
