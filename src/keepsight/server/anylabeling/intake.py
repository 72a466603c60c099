"""Takes in a clip that comes as one JSON body: long strings leave it as they come, so that one frame at a time is in memory."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from keepsight.server.errors import ApiError

_SHORT = 256  # bytes of a string that stays where it is
_MOST_TEXT = 16 * 2**20  # bytes of everything but long strings
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif"}
_ORIENTATION_TAG = 0x0112


class JsonPieces:
    """JSON that comes in pieces.

    Args:
        take: is given each long string and says what stands in its place.
        longest: bytes of a string.
    """

    def __init__(self, take: Callable[[str], str], longest: int) -> None:
        self._take, self._longest = take, longest
        self._text = bytearray()
        self._string: bytearray | None = None

    def feed(self, piece: bytes) -> None:
        """Takes the next piece.

        Raises:
            ApiError: 413, more than is allowed; or what ``take`` raises.
        """
        at = 0
        while at < len(piece):
            quote = piece.find(b'"', at)
            end = len(piece) if quote < 0 else quote
            target = self._text if self._string is None else self._string
            target += piece[at:end]
            at = end + 1
            if len(target) > (_MOST_TEXT if self._string is None else self._longest):
                raise ApiError(413, "INVALID_FRAME", "A frame is larger than `limits.body_mb` allows.")
            if quote >= 0:
                self._pass_quote()

    def finish(self) -> Any:
        """The value.

        Raises:
            ApiError: 422, not JSON.
        """
        try:
            return json.loads(self._text.decode("utf-8"))
        except (ValueError, RecursionError):
            raise ApiError(422, "bad_request", "The body is not JSON.") from None

    def _pass_quote(self) -> None:
        if self._string is None:
            self._string = bytearray()
            return
        if (len(self._string) - len(self._string.rstrip(b"\\"))) % 2:
            self._string += b'"'  # a quote inside the string
            return
        written = b'"' + bytes(self._string) + b'"'
        self._string = None
        if len(written) > _SHORT:
            try:
                written = json.dumps(self._take(json.loads(written))).encode()
            except (ValueError, RecursionError):
                raise ApiError(422, "bad_request", "The body is not JSON.") from None
        self._text += written


class FrameIntake:
    """Writes the frames of a clip into a folder while their JSON comes in; for one thread at a time.

    Args:
        folder: empty; the frames become ``00000.jpg`` and on.
        frames, pixels, frame_bytes: limits.
    """

    def __init__(self, folder: Path, *, frames: int, pixels: int, frame_bytes: int) -> None:
        self._folder, self._frames, self._pixels = folder, frames, pixels
        self._json = JsonPieces(self._park, frame_bytes * 4 // 3 + 100)
        self._nonce = secrets.token_hex(16)
        self._parked: dict[str, tuple[Path, str]] = {}
        self._count = 0
        self._size: tuple[int, int] | None = None
        self.total_bytes = 0

    def feed(self, piece: bytes) -> None:
        """Takes the next piece of the body.

        Raises:
            ApiError: 413 or 422; which frame, and what is wrong.
        """
        self._json.feed(piece)

    def finish(self) -> tuple[dict[str, Any], str]:
        """The other fields of the body, and the digest of the frames, which lie in the folder now.

        Raises:
            ApiError: 422, what is missing or wrong.
        """
        body = self._json.finish()
        if not isinstance(body, dict):
            raise ApiError(422, "bad_request", "The body is an object with `model` and `frames`.")
        frames = body.pop("frames", None)
        if not isinstance(frames, list) or not frames or not all(isinstance(item, str) for item in frames):
            raise ApiError(422, "MISSING_FRAMES", "`frames` is a list of base64 pictures, one at least.")
        digest = hashlib.sha256()
        for number, item in enumerate(frames):
            # A name that was given out is used up: the same picture twice is sent twice.
            path, own = self._parked.pop(item if item in self._parked else self._park(item))
            path.rename(self._folder / f"{number:05d}{path.suffix}")
            digest.update(own.encode())
        for path, _ in self._parked.values():  # long strings that were no frames
            path.unlink(missing_ok=True)
        return body, digest.hexdigest()

    def _park(self, text: str) -> str:
        number = self._count
        if number >= self._frames:
            raise ApiError(413, "too_large", f"More than {self._frames} frames; see `limits.remote_frames`.")
        data = _decoded(text, number)
        suffix, size = self._looked_at(data, number)
        if self._size not in (None, size):
            raise ApiError(
                422,
                "INVALID_FRAME",
                f"Frame {number} is {size[0]}x{size[1]} px, those before it are not; put pictures of one size in a folder.",
            )
        self._size, self._count = size, number + 1
        self.total_bytes += len(data)
        path = self._folder / f"{self._nonce}-{number}{suffix}"
        path.write_bytes(data)
        name = f"{self._nonce}/{number}"
        self._parked[name] = (path, hashlib.sha256(data).hexdigest())
        return name

    def _looked_at(self, data: bytes, number: int) -> tuple[str, tuple[int, int]]:
        """File ending and upright ``(width, height)``; only the header is read."""
        try:
            with Image.open(io.BytesIO(data)) as image:
                suffix, (width, height) = _SUFFIXES[image.format or ""], image.size
                turned = image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)
        except Image.DecompressionBombError:
            width, height, turned, suffix = 2**31, 1, False, ""
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, KeyError, MemoryError):
            raise ApiError(422, "INVALID_FRAME", f"Frame {number} is not a JPG, PNG, BMP, WebP or TIFF.") from None
        if width * height > self._pixels:
            raise ApiError(413, "too_large", f"Frame {number} has more than {self._pixels} px; see `limits.pixels`.")
        return suffix, (height, width) if turned else (width, height)


def _decoded(text: str, number: int) -> bytes:
    head, comma, tail = text.partition(",")
    payload = tail if comma and head.startswith("data:") else text
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(422, "INVALID_FRAME", f"Frame {number} is not base64.") from None


def decode_picture(text: str, pixels: int) -> bytes:
    """The bytes of a single picture, whose header says that it may be decoded.

    Raises:
        ApiError: 413 or 422.
    """
    data = _decoded(text, 0)
    FrameIntake(Path(), frames=1, pixels=pixels, frame_bytes=len(data))._looked_at(data, 0)
    return data
