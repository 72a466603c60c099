"""The edits of whole tracks and labels that there are, and what one of them changes: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Merge:
    """Makes one object of two: everything of ``object_id`` becomes part of ``into``.

    Attributes:
        keep: whose mask stays on a frame where both are visible: that of ``into``, that ``from`` the other, or the ``union``.
    """

    object_id: int
    into: int
    keep: Literal["into", "from", "union"] = "into"


@dataclass(frozen=True)
class Split:
    """From ``frame`` on, an object is another one, with the next free id and the same label."""

    object_id: int
    frame: int


@dataclass(frozen=True)
class Swap:
    """Two objects change places on the frames ``start <= frame < stop``."""

    a: int
    b: int
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class ChangeId:
    """Gives an object an id that no object has, or had."""

    object_id: int
    to: int


@dataclass(frozen=True)
class DeleteRange:
    """Deletes an object's masks and prompts on ``start <= frame < stop``; accepted frames stay."""

    object_id: int
    start: int
    stop: int | None = None


@dataclass(frozen=True)
class Relabel:
    """Renames a label. In a range, an object that goes on beyond it is split: the part inside becomes a new object."""

    from_label: str | None
    to_label: str | None
    start: int | None = None
    stop: int | None = None


@dataclass(frozen=True)
class DeleteLabel:
    """Removes the objects of a label, or in a range deletes their masks there; accepted frames stay in a range."""

    label: str | None
    start: int | None = None
    stop: int | None = None


@dataclass(frozen=True)
class DressLabel:
    """Sets colour (``#rrggbb``), ``hidden`` or ``locked`` of all objects of a label, or of those seen in a range."""

    label: str | None
    colour: str | None = None
    hidden: bool | None = None
    locked: bool | None = None
    start: int | None = None
    stop: int | None = None


Edit: TypeAlias = Merge | Split | Swap | ChangeId | DeleteRange | Relabel | DeleteLabel | DressLabel


@dataclass(frozen=True)
class EditEffect:
    """What an edit changes.

    Attributes:
        summary: one line for a person.
        warning: what they should know before they say yes.
        objects, frames: how many objects and how many stored masks are concerned.
        conflicts: frames on which one of two visible masks gives way.
        made: id of the new object, of a split.
    """

    summary: str
    warning: str | None = None
    objects: int = 1
    frames: int = 0
    conflicts: int = 0
    made: int | None = None
