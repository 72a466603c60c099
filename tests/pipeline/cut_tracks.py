"""Tracks in memory, cut into clips that count their objects anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keepsight.core import Mask
from keepsight.pipeline.clips import Piece
from keepsight.pipeline.seams import ClipObject

HEIGHT, WIDTH = 48, 96
Track = tuple[str, dict[int, Mask]]
"""A label, and masks by frame of the source."""


def rectangle(x: float, y: float, width: float, height: float) -> Mask:
    """Cut off where it leaves the frame."""
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    left, top = max(round(x), 0), max(round(y), 0)
    pixels[top : max(round(y + height), 0), left : max(round(x + width), 0)] = True
    return Mask.from_array(pixels)


@dataclass
class CutTracks:
    """See :class:`keepsight.pipeline.seams.ClipTracks`."""

    number: int
    frames: range
    tracks: Mapping[int, Track]

    @property
    def objects(self) -> Sequence[ClipObject]:
        return [
            ClipObject(object_id, label, min(masks), max(masks), len(masks), masks[min(masks)].box or (0, 0, 0, 0))
            for object_id, (label, masks) in self.tracks.items()
        ]

    def masks(self, start: int, stop: int) -> Iterator[tuple[int, Mapping[int, Mask]]]:
        for frame in self.frames:
            shown = {i: masks[frame] for i, (_, masks) in self.tracks.items() if frame in masks}
            if start <= frame < stop and shown:
                yield frame, shown


def cut(tracks: Sequence[Track], pieces: Sequence[Piece], ids: Sequence[Sequence[int]]) -> list[CutTracks]:
    """Each clip's part of the tracks.

    Args:
        ids: what each clip calls each track.
    """
    clips = []
    for piece, names in zip(pieces, ids, strict=True):
        inside = {
            name: (label, {frame: masks[frame] for frame in piece.frames if frame in masks and masks[frame].area})
            for name, (label, masks) in zip(names, tracks, strict=True)
        }
        clips.append(CutTracks(piece.number, piece.frames, {i: track for i, track in inside.items() if track[1]}))
    return clips
