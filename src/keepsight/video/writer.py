"""Writing videos: a file appears under its name only when it is whole, or plays at any moment while it grows."""

from __future__ import annotations

import math
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from keepsight.core import InputError, StoreError
from keepsight.video.source import RgbArray, check_fps

_FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".gif": "gif",
}
# Encoders by preference; the last resort is part of every FFmpeg.
_ENCODERS = {
    "h264": ("libx264", "libopenh264", "h264_videotoolbox", "mpeg4"),
    "hevc": ("libx265", "hevc_videotoolbox"),
    "h265": ("libx265", "hevc_videotoolbox"),
    "vp9": ("libvpx-vp9",),
    "av1": ("libsvtav1", "libaom-av1"),
}
_PIXEL_FORMATS = {"gif": "rgb8", "mjpeg": "yuvj420p", "ffv1": "bgr0", "png": "rgb24"}
# 25, 30, 29.97, 50 and 60 fps are whole ticks of it, and MPEG-4 allows no finer one than 1/65535.
_TICK = Fraction(1, 60000)
_LIVE_FLAGS = "frag_keyframe+empty_moov+default_base_moof"


class VideoWriter:
    """Encodes RGB frames to a file.

    Until :meth:`close` the video grows under ``<path>.part``; leaving a ``with`` block by an exception removes that, and a
    killed program leaves it behind, so a file under its own name is always whole. With ``live`` it is written under its own
    name in pieces of about a second, each playable as soon as it is written.

    Args:
        path: target; the suffix chooses the container (mp4, m4v, mov, mkv, webm, avi, ts, gif). Replaced if it exists.
        height, width: frame size in px. An odd side gains one repeated row or column where the codec stores colour at half
            resolution (all the usual ones do).
        fps: frames per second, > 0; the spacing of frames written without a time.
        codec: ``h264``, ``hevc``, ``vp9``, ``av1``, ``mpeg4``, ``mjpeg``, ``ffv1`` (lossless), ``gif``, or an FFmpeg encoder.
        crf: quality of h264, hevc, vp9 and av1; lower is better and larger. 18 is hard to tell from the source.
        preset: speed of h264 and hevc; slower ones make smaller files.
        live: see above; mp4, mov, mkv, webm and ts only.
        threads: of the H.264 encoder, whose output depends on their number; fixed, so that the same frames give the same file on
            every machine. Up: faster, where there are cores for them.

    Attributes:
        warnings: for example that another encoder had to be used.
        codec: name of the encoder in use.

    Raises:
        InputError: unknown suffix or codec, a size or rate that cannot be encoded.
        StoreError: the target cannot be written, at once or later (disk full).
    """

    def __init__(
        self,
        path: str | Path,
        *,
        height: int,
        width: int,
        fps: float,
        codec: str = "h264",
        crf: int | None = None,
        preset: str = "veryfast",
        live: bool = False,
        threads: int = 4,
    ) -> None:
        self.path = Path(path)
        self.height, self.width = height, width
        self.fps = check_fps(fps, self.path.name)
        self.warnings: list[str] = []
        suffix = self.path.suffix.lower()
        if suffix not in _FORMATS:
            raise InputError(f"{self.path}: cannot write this kind of video; use one of {', '.join(sorted(_FORMATS))}.")
        if live and suffix in (".avi", ".gif"):
            raise InputError(f"{self.path}: this kind of file cannot be played while it grows; use .mp4 or .mkv.")
        if height < 1 or width < 1:
            raise InputError(f"{self.path}: a video must be at least 1x1 px, got {width}x{height}.")
        self._target = self.path if live else self.path.with_name(self.path.name + ".part")
        self._live = live
        self.codec = self._encoder("gif" if suffix == ".gif" else codec)
        self._rate = Fraction(self.fps).limit_denominator(1001)
        # AVI and GIF have a fixed clock: one tick a frame, and hundredths of a second.
        self._tick = {".avi": 1 / self._rate, ".gif": Fraction(1, 100)}.get(suffix, _TICK)
        self._last_tick: int | None = None
        self._reformatter = VideoReformatter()
        self._container: av.container.OutputContainer | None = None
        self._open(_FORMATS[suffix], crf, preset, threads)

    def _encoder(self, codec: str) -> str:
        names = _ENCODERS.get(codec, (codec,))
        for name in names:
            with suppress(av.error.FFmpegError, ValueError):
                found = av.Codec(name, "w")
                if found.type == "video":
                    if name != names[0]:
                        self.warnings.append(
                            f"The encoder {names[0]} is missing from this FFmpeg; {self.path.name} is written with {name}."
                        )
                    return name
        raise InputError(f"{self.path}: there is no video encoder {codec!r} here; use h264, mpeg4, vp9 or ffv1.")

    def _open(self, container: str, crf: int | None, preset: str, threads: int) -> None:
        options = {}
        if container in ("mp4", "mov"):
            options["movflags"] = _LIVE_FLAGS if self._live else "faststart"
        if self._live:
            options["flush_packets"] = "1"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._target), "w", format=container, container_options=options)
            stream = self._container.add_stream(self.codec, rate=self._rate, options=self._options(crf, preset))
            stream.pix_fmt = _PIXEL_FORMATS.get(self.codec, "yuv420p")
            even = stream.pix_fmt.startswith("yuv")
            stream.height = self.height + self.height % 2 if even else self.height
            stream.width = self.width + self.width % 2 if even else self.width
            stream.codec_context.time_base = self._tick
            if self._live:
                stream.gop_size = max(1, round(self.fps))
                stream.max_b_frames = 0
            self._stream = stream
            if self.codec == "libx264":
                stream.codec_context.thread_count = threads
            stream.codec_context.open()
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._discard()
            if isinstance(error, OSError):
                raise StoreError(f"Cannot write {self.path}: {_reason(error)}; choose another folder.") from error
            raise InputError(
                f"{self.path}: {self.codec} cannot encode {self.width}x{self.height} px at {self.fps:g} fps into this kind "
                "of file; try .mp4 or .mkv with codec h264."
            ) from error

    def _options(self, crf: int | None, preset: str) -> dict[str, str]:
        if self.codec in ("libx264", "libx265"):
            options = {"preset": preset, "crf": str(20 if crf is None else crf)}
            if self._live:
                options["tune"] = "zerolatency"
            if self.codec == "libx264":
                # With AVX-512 two runs over the same frames differ, so that a finished batch could not be compared with another
                # one, and the picture is worse than was asked for: film had 42.1 dB in 445 kB instead of 45.4 in 673 without it.
                options["x264-params"] = "cpu-independent=1"
            if self.codec == "libx265":
                options["x265-params"] = "log-level=error"
            return options
        if self.codec == "libvpx-vp9":
            return {"crf": str(30 if crf is None else crf), "b": "0", "cpu-used": "5", "row-mt": "1"}
        if self.codec == "libsvtav1":
            return {"crf": str(30 if crf is None else crf), "preset": "9"}
        if self.codec in ("mpeg4", "mjpeg"):
            return {"qmin": "2", "qmax": "5"}
        return {}

    def write(self, rgb: RgbArray, time_s: float | None = None) -> None:
        """Adds a frame.

        Args:
            rgb: uint8 ``(height, width, 3)``.
            time_s: seconds, rising from frame to frame, kept to 1/60000 s (AVI and GIF: see the class); ``None`` puts the
                frame ``1 / fps`` after the one before.

        Raises:
            InputError: another size or type, or a time that is not after the last frame's.
            StoreError: it cannot be written (disk full), or the writer is closed.
        """
        if self._container is None:
            raise StoreError(f"{self.path} is closed already; open a new writer.")
        array = np.asarray(rgb)
        if array.dtype != np.uint8 or array.shape != (self.height, self.width, 3):
            raise InputError(
                f"{self.path}: a frame must be uint8 ({self.height}, {self.width}, 3), got {array.dtype} {array.shape}."
            )
        tick = self._next_tick(time_s)
        pad_y, pad_x = self._stream.height - self.height, self._stream.width - self.width
        if pad_y or pad_x:
            array = np.pad(array, ((0, pad_y), (0, pad_x), (0, 0)), mode="edge")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
        picture = self._reformatter.reformat(picture, format=self._stream.pix_fmt)
        picture.pts = tick
        picture.time_base = self._tick
        self._encode(picture)
        self._last_tick = tick

    def _next_tick(self, time_s: float | None) -> int:
        if time_s is None:
            step = 1 / self._rate / self._tick
            return 0 if self._last_tick is None else self._last_tick + max(1, round(step))
        if not math.isfinite(time_s) or time_s < 0:
            raise InputError(f"{self.path}: a frame's time must be 0 s or more, got {time_s}.")
        tick = round(Fraction(time_s) / self._tick)
        if self._last_tick is not None and tick <= self._last_tick:
            last_s = float(self._last_tick * self._tick)
            raise InputError(f"{self.path}: times must rise; {time_s:g} s comes after {last_s:g} s.")
        return tick

    def _encode(self, picture: VideoFrame | None) -> None:
        assert self._container is not None
        try:
            for packet in self._stream.encode(picture):
                if not packet.duration:
                    packet.duration = max(1, round(1 / self._rate / (packet.time_base or self._tick)))
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._abort(error)

    def _abort(self, error: Exception) -> None:
        self._discard()
        kept = "what was written until now is kept" if self._live else "the unfinished file is removed"
        raise StoreError(
            f"Cannot write {self.path}: {_reason(error)}; free some space or choose another folder ({kept})."
        )

    def close(self) -> None:
        """Finishes the file and puts it under its name; does nothing the second time.

        Raises:
            InputError: no frame was written.
            StoreError: it cannot be written.
        """
        if self._container is None:
            return
        if self._last_tick is None:
            self._discard()
            raise InputError(f"{self.path}: no frame was written, so there is no video.")
        self._encode(None)
        try:
            self._container.close()
            self._container = None
            if not self._live:
                self._target.replace(self.path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._abort(error)

    def discard(self) -> None:
        """Removes the unfinished file; what a live one has is kept. Does nothing once it is closed."""
        if self._container is not None:
            self._discard()

    def _discard(self) -> None:
        """Lets go of the file without finishing it; only a live one stays."""
        container, self._container = self._container, None
        if container is not None:
            with suppress(av.error.FFmpegError, OSError, ValueError):
                container.close()
        if not self._live or self._last_tick is None:
            with suppress(OSError):
                self._target.unlink()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._live and self._container is not None and self._last_tick is not None:
            # What was recorded before the error is worth keeping; its own failure must not hide the first one.
            with suppress(InputError, StoreError):
                self.close()
        else:
            self._discard()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
