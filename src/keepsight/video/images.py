"""A folder of images, or a single one, as a video."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keepsight.core import Frame, InputError
from keepsight.video.source import IndexedSource, RgbArray, check_fps, hash_file

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_ORIENTATION_TAG = 0x0112
_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class ImageVideo(IndexedSource):
    """Images of one size, one a frame.

    Args:
        path: a folder (its JPG, PNG, WebP, BMP and TIFF images in natural order: ``2.png`` before ``10.png``) or one image.
        fps: images per second, > 0; images carry no time of their own.
        name: shown to people; the folder's or file's name by default.
        files: these images in this order, instead of all in the folder.

    Raises:
        InputError: no image, an image whose header cannot be read, or sizes that differ.
    """

    def __init__(
        self, path: Path, fps: float = 25.0, name: str | None = None, files: Sequence[Path] | None = None
    ) -> None:
        self.path = path
        self.name = name or (path.stem if path.is_file() else path.resolve().name)
        self.warnings = []
        self._fps = check_fps(fps, self.name)
        self._files = list(files) if files else [path] if path.is_file() else images_in(path)
        self.height, self.width = self._common_size(self._files)

    def _common_size(self, files: Sequence[Path]) -> tuple[int, int]:
        first = _upright_size(files[0])
        for file in files[1:]:
            size = _upright_size(file)
            if size != first:
                raise InputError(
                    f"{self.path}: all images must have one size; {file.name} is {size[1]}x{size[0]} px, "
                    f"{files[0].name} is {first[1]}x{first[0]} px. Resize them or put them in separate folders."
                )
        return first

    @property
    def frame_count(self) -> int:
        return len(self._files)

    def read(self, index: int) -> Frame:
        self._check_index(index)
        file = self._files[index]
        try:
            rgb = _load(file)
        except _UNREADABLE as error:
            raise InputError(
                f"Frame {index} ({file.name}) is damaged and cannot be decoded; replace the file."
            ) from error
        if rgb.shape[:2] != (self.height, self.width):
            raise InputError(
                f"Frame {index} ({file.name}) has changed its size since the folder was opened; open it again."
            )
        return Frame(index, index / self._fps, rgb)

    def _each(self, indices: range) -> Iterator[Frame]:
        for index in indices:
            try:
                frame = self.read(index)
            except InputError:
                self._warn(f"Frame {index} ({self._files[index].name}) is damaged and was skipped.")
                continue
            yield frame

    def fingerprint(self) -> str:
        if len(self._files) == 1:
            return hash_file(self._files[0])
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(f"{file.name} {file.stat().st_size}\n".encode("utf-8", "surrogateescape"))
        for place in np.unique(np.linspace(0, len(self._files) - 1, 8).astype(int)):
            digest.update(hash_file(self._files[int(place)]).encode())
        return digest.hexdigest()[:32]


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key that compares runs of digits as numbers and letters without case."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple((0, int(part), "") if part[0] in "0123456789" else (1, 0, part.casefold()) for part in parts)


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in natural order.

    Raises:
        InputError: none there, or no folder that can be listed.
    """
    try:
        files = [
            file
            for file in folder.iterdir()
            if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
        ]
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror or error}.") from error
    if not files:
        raise InputError(f"{folder} holds no images; give a folder with JPG, PNG or WebP files, or a video file.")
    # The name itself decides between names that compare equal, so that the order never depends on the file system.
    return sorted(files, key=lambda file: (natural_key(file.name), file.name))


def _upright_size(file: Path) -> tuple[int, int]:
    """Height and width in px from the header, EXIF orientation applied."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)
    except _UNREADABLE as error:
        raise InputError(f"{file} is not an image that can be read; replace or remove it.") from error
    return (width, height) if turned else (height, width)


def _load(file: Path) -> RgbArray:
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith(("I", "F")):
            # Pillow clips instead of scaling where it reduces 16 bits to 8.
            deep = np.asarray(image).astype(np.float64) / (257.0 if image.mode[0] == "I" else 1.0)
            grey = np.clip(deep, 0, 255).round().astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        return np.array(image.convert("RGB"))
