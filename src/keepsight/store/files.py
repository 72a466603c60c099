"""Files and folders that appear whole or not at all.

What is derived from a project (exports, overlays, reports) is written under a hidden temporary name beside its place and moved
there at the end, so that a reader, a crash or a full disk never meets half of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from keepsight.core import StoreError


@contextlib.contextmanager
def replacing_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path to write to; on leaving, the file takes the name ``path``. On an error it is removed.

    The temporary name keeps the suffix, because writers choose their format by it. Missing parent folders are made.

    Raises:
        StoreError: the folder cannot be written, the disk is full.
    """
    target = Path(path)
    temporary = _hidden_beside(target)
    with _clear_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def claim_file(path: str | os.PathLike[str], text: str) -> bool:
    """Writes a file where there is none, whole or not at all; of several processes that try at once, one does.

    Returns:
        Whether it was written; otherwise there was one already, and it is as it was.

    Raises:
        StoreError: the folder cannot be written, the disk is full.
    """
    target = Path(path)
    temporary = _hidden_beside(target)
    with _clear_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except OSError:  # a disk that knows no links
                return _create_in_place(target, text)
            return True
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _hidden_beside(target: Path) -> Path:
    return target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}{target.suffix}")


def _create_in_place(target: Path, text: str) -> bool:
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str], ours: str) -> Iterator[Path]:
    """Gives a temporary folder to fill; on leaving, it takes the name ``path``, replacing an earlier folder of the same kind.

    Args:
        ours: regular expression that every file of an existing folder must match in full, by its path inside with ``/``; a folder
            that holds anything else is a person's and is never replaced.

    Raises:
        StoreError: the folder holds other files, cannot be written, the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    with _clear_errors(target):
        _check_replaceable(target, ours)
        try:
            temporary.mkdir(parents=True)
            yield temporary
            _check_replaceable(target, ours)
            if target.exists():
                os.replace(target, old)
            os.replace(temporary, target)
        finally:
            for leftover in (temporary, old):
                shutil.rmtree(leftover, ignore_errors=True)


def _check_replaceable(target: Path, ours: str) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise StoreError(f"{target} is a file, but a folder is to be written there; choose another name.")
    for folder, below, files in os.walk(target):
        inside = Path(folder).relative_to(target)
        # Links to folders are listed among the folders but never walked into.
        links = [name for name in below if Path(folder, name).is_symlink()]
        empty = [inside] if not below and not files and folder != str(target) else []
        for path in [*empty, *(inside / name for name in [*links, *files])]:
            if path in empty or not re.fullmatch(ours, path.as_posix()):
                raise StoreError(f"{target} holds {path}, which is not ours to replace; choose an empty or new folder.")


@contextlib.contextmanager
def _clear_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{target} could not be written: {error.strerror or error}.") from error
