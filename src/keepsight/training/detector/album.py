"""Pictures with named objects, wherever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Box, InputError, Mask


@dataclass(frozen=True)
class Instance:
    """One object on a picture.

    Attributes:
        phrase: what it is called.
        box: ``x1, y1, x2, y2`` in px.
        mask: its pixels; ``None`` where only the box is known.
        crowd: many of them in one region; nothing is learned from it and nothing found there counts.
    """

    phrase: str
    box: Box
    mask: Mask | None
    crowd: bool = False


class Pixels(Protocol):
    """Where a picture's pixels come from."""

    @property
    def identity(self) -> str:
        """The same for the same pixels, in every run."""

    def read(self) -> NDArray[np.uint8]:
        """uint8 ``(H, W, 3)``.

        Raises:
            InputError: damaged or gone.
        """


@dataclass(frozen=True)
class Picture:
    """One picture and what is on it.

    Attributes:
        name: what to call it; unique in an album.
        pixels: see :class:`Pixels`.
        height, width: in px.
        objects: everything that was marked.
        absent: phrases that somebody looked for and that are not on it.
        series: pictures of one series resemble each other (frames of a video) and are in order; ``None`` for single ones.
    """

    name: str
    pixels: Pixels
    height: int
    width: int
    objects: tuple[Instance, ...]
    absent: tuple[str, ...]
    series: str | None = None

    @property
    def present(self) -> tuple[str, ...]:
        """Phrases with an object that one can learn from, in order of appearance."""
        return tuple(dict.fromkeys(item.phrase for item in self.objects if not item.crowd))

    def of(self, phrase: str) -> tuple[Instance, ...]:
        """Objects of a phrase, crowds left out."""
        return tuple(item for item in self.objects if item.phrase == phrase and not item.crowd)


@dataclass
class Album:
    """Pictures of one or more sources.

    Attributes:
        pictures: in the order of their sources.
        left_out: what was not taken, by reason, for a line to people.
    """

    pictures: list[Picture] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def phrases(self) -> list[str]:
        """Every phrase with an object somewhere, sorted."""
        return sorted({phrase for picture in self.pictures for phrase in picture.present})

    def without(self, reason: str, count: int = 1) -> None:
        """Notes something that was left out."""
        self.left_out[reason] = self.left_out.get(reason, 0) + count

    def line(self) -> str:
        """What there is, in one line."""
        objects = [item for picture in self.pictures for item in picture.objects if not item.crowd]
        boxes = sum(item.mask is None for item in objects)
        phrases = self.phrases
        shown = ", ".join(phrases[:6]) + (f" and {len(phrases) - 6} more" if len(phrases) > 6 else "")
        parts = [
            f"{len(self.pictures)} pictures",
            f"{len(objects)} objects" + (f" ({boxes} with a box only)" if boxes else ""),
            f"{len(phrases)} phrases: {shown}",
        ]
        left = [f"{count} {reason}" for reason, count in self.left_out.items() if count]
        return "; ".join(parts) + (f". Left out: {', '.join(left)}" if left else "") + "."


def join(albums: Sequence[Album]) -> Album:
    """One album of several.

    Raises:
        InputError: nothing to learn from.
    """
    whole = Album()
    taken: dict[str, int] = {}
    for album in albums:
        for picture in album.pictures:
            if not (picture.present or picture.absent):
                whole.without("pictures of which nothing is known")
                continue
            seen = taken[picture.name] = taken.get(picture.name, 0) + 1
            name = picture.name if seen == 1 else f"{picture.name} ({seen})"
            whole.pictures.append(picture if seen == 1 else _renamed(picture, name))
        for reason, count in album.left_out.items():
            whole.without(reason, count)
    if not whole.phrases:
        raise InputError("The data has no object to learn from; mark at least one object on one picture.")
    return whole


def _renamed(picture: Picture, name: str) -> Picture:
    from dataclasses import replace

    return replace(picture, name=name)


def split(album: Album, share: float, seed: int) -> tuple[Album, Album]:
    """Pictures to learn from and pictures to measure on.

    Single pictures are drawn at random, variants of one (Roboflow's ``name.rf.....jpg``) together; of a series the end is held
    out, because neighbours in it are almost the same. Every phrase keeps a picture to learn from.

    Args:
        share: of the pictures that are held out, in (0, 1).

    Raises:
        InputError: too few pictures.
    """
    series: dict[str | None, list[int]] = {}
    for index, picture in enumerate(album.pictures):
        series.setdefault(picture.series, []).append(index)
    held: set[int] = set()
    for name, members in series.items():
        count = round(len(members) * share)
        if name is None:
            of_one: dict[str, list[int]] = {}
            for index in members:
                of_one.setdefault(album.pictures[index].name.partition(".rf.")[0], []).append(index)
            drawn = [list(of_one.values())[place] for place in np.random.default_rng(seed).permutation(len(of_one))]
            held |= {index for group in drawn[: round(len(drawn) * share)] for index in group}
        else:
            held |= set(members[len(members) - count :])
    learned = {
        phrase for index, picture in enumerate(album.pictures) if index not in held for phrase in picture.present
    }
    for index in sorted(held):
        new = set(album.pictures[index].present) - learned
        if new:
            held.discard(index)
            learned |= set(album.pictures[index].present)
    parts = [Album([p for i, p in enumerate(album.pictures) if (i in held) == kept]) for kept in (False, True)]
    if not parts[0].phrases or not parts[1].phrases:
        raise InputError(
            f"{len(album.pictures)} pictures are too few to learn from some and measure on others; add pictures, "
            "or give some for the measurement with --held-out."
        )
    return parts[0], parts[1]
