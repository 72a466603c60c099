"""Clips that were sent, on disk: folders of pictures named by what is in them, so that the same frames are the same clip."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from keepsight.server.catalog import Catalog, Entry
from keepsight.server.errors import ApiError

_PREFIX, _DRAFT = "anylabeling-", ".anylabeling-"
_STALE_S = 24 * 3600.0


class Clips:
    """Safe for use from several threads. The frames may go when the disk is full of them; projects with masks never do.

    Args:
        catalog: in whose folder of uploads the clips lie, so that the page shows them as well.
        most_bytes: of all clips together.
        in_use: whether a video is open.
    """

    def __init__(self, catalog: Catalog, most_bytes: int, in_use: Callable[[str], bool]) -> None:
        self._catalog, self._most, self._in_use = catalog, most_bytes, in_use
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """A folder for frames that are still coming; gone afterwards, unless :meth:`keep` has taken it."""
        self._catalog.uploads.mkdir(parents=True, exist_ok=True)
        self._sweep()
        folder = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self._catalog.uploads))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, draft: Path, digest: str, model: str, size: int) -> Entry:
        """Turns a draft into the clip of these frames, which may be there already.

        Args:
            digest: of the frames.
            model: that looks at them; another one has another project.
            size: bytes.

        Raises:
            ApiError: 413, the disk holds no more.
        """
        name = hashlib.sha256(f"{model}\n{digest}".encode()).hexdigest()[:20]
        folder = self._catalog.uploads / f"{_PREFIX}{name}"
        with self._lock:
            if folder.exists():
                os.utime(folder)
            else:
                self._make_room(size)
                draft.rename(folder)
                folder.chmod(0o755)
        return self._catalog.add(str(folder))

    def _make_room(self, size: int) -> None:
        clips = sorted(self._catalog.uploads.glob(f"{_PREFIX}*"), key=lambda folder: folder.stat().st_mtime)
        sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in clips}
        spare = self._most - size - sum(sizes.values())
        for folder in clips:
            if spare >= 0:
                return
            if not self._in_use(self._catalog.add(str(folder)).id):
                shutil.rmtree(folder, ignore_errors=True)
                spare += sizes[folder]
        if spare < 0:
            raise ApiError(413, "too_large", "There is no room for these frames; see `limits.remote_disk_mb`.")

    def _sweep(self) -> None:
        """Drafts that a crash has left."""
        for folder in self._catalog.uploads.glob(f"{_DRAFT}*"):
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > _STALE_S:
                    shutil.rmtree(folder, ignore_errors=True)
