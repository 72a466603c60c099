"""Videos whose every frame says its own number, so that an index can be checked against the picture."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

HEIGHT, WIDTH = 96, 128


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A frame that shows ``number`` as eight black or white columns in its upper half; the lower left is red."""
    rgb = np.full((height, width, 3), 128, np.uint8)
    edges = np.linspace(0, width, 9).astype(int)
    for bit in range(8):
        rgb[: height // 2, edges[bit] : edges[bit + 1]] = 235 if number >> bit & 1 else 20
    rgb[3 * height // 4 :, : width // 4] = (220, 20, 20)
    return rgb


def number_of(rgb: np.ndarray) -> int:
    edges = np.linspace(0, rgb.shape[1], 9).astype(int)
    half = rgb.shape[0] // 2
    columns = (rgb[4 : half - 4, edges[bit] + 4 : edges[bit + 1] - 4].mean() for bit in range(8))
    return sum(1 << bit for bit, level in enumerate(columns) if level > 128)


def encode(
    path: Path,
    codec: str = "libx264",
    count: int = 36,
    *,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    ticks: Sequence[int] | None = None,
    gop: int = 10,
    b_frames: int | None = 2,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    rotation: tuple[float, bool] | None = None,
) -> Path:
    """Writes ``count`` numbered frames; ``ticks`` are their times in hundredths of a second."""
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt, stream.gop_size = pix_fmt, gop
        if b_frames is not None:
            stream.max_b_frames = b_frames
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(index, *size), "rgb24").reformat(format=pix_fmt)
            if ticks is not None:
                frame.pts, frame.time_base = ticks[index], Fraction(1, 100)
            else:
                frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
