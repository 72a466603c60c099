"""Which videos may be opened, by names that say nothing about the rest of the disk."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keepsight.core import InputError, StoreError
from keepsight.pipeline.batch.conduct import find_videos
from keepsight.server.errors import not_found
from keepsight.store import Project
from keepsight.store.database import is_project
from keepsight.video.images import IMAGE_SUFFIXES

_PROJECT = "project.keepsight"


@dataclass(frozen=True)
class Entry:
    """A video that may be opened.

    Attributes:
        id: for addresses: letters, digits, ``.``, ``_`` and ``-``; the same after a restart.
        name: for people.
        source: the file, or the folder of images.
        project: where its project is, or will be.
    """

    id: str
    name: str
    source: Path
    project: Path


class Catalog:
    """Videos below the roots, found anew whenever somebody asks. Safe for use from several threads.

    Args:
        roots: folders, videos, folders of images, and project files.
        projects: folder for the projects of videos that have none, and for uploads.

    Attributes:
        uploads: where videos that were sent are kept; a root too.

    Raises:
        InputError: a root that does not exist.
    """

    def __init__(self, roots: Iterable[Path], projects: Path) -> None:
        self._projects = projects.resolve()
        self.uploads = self._projects / "uploads"
        self._roots = [*(_existing(root) for root in roots), self.uploads]
        for root in self._roots:
            if root.is_file() and is_project(root):
                list(_of_project(root))  # one that was asked for by name and is no use is said at once
        self._known: dict[str, Entry] = {}
        self._lock = threading.Lock()

    def entries(self) -> list[Entry]:
        """All videos, in order of their names."""
        found = {entry.id: entry for root in self._roots for entry in self._below(root)}
        with self._lock:
            self._known.update(found)  # what was found once stays open to those who have it open
            return sorted(found.values(), key=lambda entry: (entry.name, entry.id))

    def entry(self, id: str) -> Entry:
        """One video.

        Raises:
            ApiError: 404, there is none of that id.
        """
        with self._lock:
            known = self._known.get(id)
        if known is None:
            known = {entry.id: entry for entry in self.entries()}.get(id)
        if known is None or not known.source.exists():
            raise not_found("There is no such video; list them with GET /api/videos.")
        return known

    def add(self, path: str) -> Entry:
        """A video below a root, by its path.

        Raises:
            InputError: it is outside of every root, or there is none; the line does not tell which.
        """
        try:
            source = Path(path).expanduser().resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            source = None
        if source is None or not self.may_read(source) or not _is_video(source):
            raise InputError("There is no such video below the folders that this server was given (`roots`).")
        entry = self._entry(source)
        with self._lock:
            self._known[entry.id] = entry
        return entry

    def may_read(self, path: Path) -> bool:
        """Whether a path, links followed, is a root or below one."""
        real = path.resolve()
        return any(real == root or real.is_relative_to(root) for root in self._roots)

    def _below(self, root: Path) -> Iterator[Entry]:
        if root.is_file():
            if is_project(root):
                with contextlib.suppress(InputError, StoreError):
                    yield from _of_project(root)
            else:
                yield self._entry(root)
            return
        if not root.is_dir():
            return
        if _has_images(root):
            yield self._entry(root)
        for source in [*map(Path, find_videos(root).values()), *_image_folders(root)]:
            if self.may_read(source):  # a link may lead out
                yield self._entry(source)

    def _entry(self, source: Path) -> Entry:
        digest = hashlib.sha256(str(source).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        slug = re.sub(r"[^A-Za-z0-9._-]+", "_", source.stem).strip("._-")[:60] or "video"
        id = f"{slug}-{digest}"
        return Entry(id, source.name, source, self._projects / id / _PROJECT)


def _of_project(path: Path) -> Iterator[Entry]:
    with Project.open(path, read_only=True) as project:
        videos = project.videos()
    if len(videos) != 1:
        raise InputError(f"{path} holds {len(videos)} videos; a project with one can be annotated.")
    source = Path(videos[0].path)
    if not source.exists():
        raise InputError(f"The video of {path} is gone: {source}. Put it back, or annotate it from where it is now.")
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    yield Entry(f"project-{digest}", source.name, source.resolve(), path)


def _existing(root: Path) -> Path:
    try:
        return root.expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"There is no {root}; give a video, a folder of videos or images, or a project.") from error


def _is_video(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and _has_images(path))


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir() if not path.name.startswith("."))


def _image_folders(root: Path) -> Sequence[Path]:
    return sorted(
        folder
        for folder in root.rglob("*")
        if folder.is_dir() and not folder.name.startswith(".") and _has_images(folder)
    )
