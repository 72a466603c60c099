"""Edits of whole tracks and labels: merge, split, swap, change an id, delete a range, rename or delete a label.

Each edit says beforehand what it would change (:meth:`TrackEdits.effect`), is one step of undo, and keeps its hands off
locked objects and, where it deletes, off accepted frames. Prompts and acceptance go where their masks go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from keepsight.core import Mask, Source, StoreError, TrackedObject
from keepsight.store.database import Database
from keepsight.store.edit_kinds import (
    ChangeId,
    DeleteLabel,
    DeleteRange,
    DressLabel,
    Edit,
    EditEffect,
    Merge,
    Relabel,
    Split,
    Swap,
)
from keepsight.store.frames import mask_row
from keepsight.store.history import History
from keepsight.store.objects import GAVE_ALL, Objects
from keepsight.store.records import StoredVideo

__all__ = [
    "ChangeId",
    "DeleteLabel",
    "DeleteRange",
    "DressLabel",
    "Edit",
    "EditEffect",
    "Merge",
    "Relabel",
    "Split",
    "Swap",
    "TrackEdits",
]

_END = 2**62
_BY_FRAME = ("masks", "prompts", "accepted")

Row = dict[str, Any]


class TrackEdits:
    """Works out and carries out edits on one project."""

    def __init__(self, database: Database, history: History, objects: Objects) -> None:
        self._db = database
        self._history = history
        self._objects = objects

    def effect(self, video: StoredVideo, edit: Edit) -> EditEffect:
        """What :meth:`apply` would do; changes nothing.

        Raises:
            StoreError: it cannot be done; the line says why.
        """
        match edit:
            case Merge():
                return self._effect_of_merge(video, edit)
            case Split():
                return self._effect_of_split(video, edit)
            case Swap():
                return self._effect_of_swap(video, edit)
            case ChangeId():
                return self._effect_of_change_id(video, edit)
            case DeleteRange():
                self._free(video, edit.object_id)
                return self._effect_of_deletion(video, [edit.object_id], edit.start, edit.stop)
            case Relabel():
                return self._effect_of_relabel(video, edit)
            case DeleteLabel():
                owners = self._labelled(video, edit.label, edit.start, edit.stop)
                self._free(video, *owners)
                if edit.start is None and edit.stop is None:
                    frames = sum(len(self._frames(video, owner)) for owner in owners)
                    return EditEffect(f"{_called(owners, edit.label)} removed.", None, len(owners), frames)
                return self._effect_of_deletion(video, owners, edit.start or 0, edit.stop)
            case DressLabel():
                owners = self._labelled(video, edit.label, edit.start, edit.stop)
                return EditEffect(_effect_of_dress(owners, edit), None, len(owners))

    def apply(self, video: StoredVideo, edit: Edit) -> EditEffect:
        """Carries an edit out as one step of undo.

        Raises:
            StoreError: it cannot be done; nothing has changed then.
        """
        effect = self.effect(video, edit)
        with self._history.operation(effect.summary.rstrip(".")):
            match edit:
                case Merge():
                    self._merge(video, edit)
                case Split():
                    assert effect.made is not None
                    self._split(video, edit.object_id, effect.made, edit.frame, None)
                case Swap():
                    self._swap(video, edit)
                case ChangeId():
                    self._objects.add(video.id, edit.to)
                    self._dress_as(video, edit.object_id, edit.to)
                    self._move(video, edit.object_id, edit.to, 0, None)
                    self._objects.change(video.id, edit.object_id, removed=GAVE_ALL)
                case DeleteRange():
                    self._delete(video, edit.object_id, edit.start, edit.stop)
                case Relabel():
                    self._relabel(video, edit)
                case DeleteLabel():
                    for owner in self._labelled(video, edit.label, edit.start, edit.stop):
                        if edit.start is None and edit.stop is None:
                            self._objects.change(video.id, owner, removed=1)
                        else:
                            self._delete(video, owner, edit.start or 0, edit.stop)
                case DressLabel():
                    values = {"colour": edit.colour, "hidden": edit.hidden, "locked": edit.locked}
                    asked = {name: value for name, value in values.items() if value is not None}
                    for owner in self._labelled(video, edit.label, edit.start, edit.stop):
                        self._objects.change(video.id, owner, **asked)
        return effect

    # ---- merge ----

    def _effect_of_merge(self, video: StoredVideo, edit: Merge) -> EditEffect:
        if edit.object_id == edit.into:
            raise StoreError("An object cannot be merged into itself; choose two.")
        self._free(video, edit.object_id, edit.into)
        moved, there = (self._frames(video, owner) for owner in (edit.object_id, edit.into))
        both = [frame for frame, visible in moved.items() if visible and there.get(frame)]
        warning = None
        if both:
            stays = {"into": f"that of {edit.into}", "from": f"that of {edit.object_id}", "union": "both together"}
            where = f"frame {both[0]}" if len(both) == 1 else f"{len(both)} frames ({both[0]} to {both[-1]})"
            warning = (
                f"Both are visible on {where}: they may be two things. The mask that stays there: {stays[edit.keep]}."
            )
        summary = f"Object {edit.object_id} becomes part of object {edit.into}."
        return EditEffect(summary, warning, 2, len(moved), len(both))

    def _merge(self, video: StoredVideo, edit: Merge) -> None:
        moved, there = (self._frames(video, owner) for owner in (edit.object_id, edit.into))
        giving_way: list[tuple[int, int]] = []  # (object, frame) whose rows go
        united = set[int]()
        for frame in moved.keys() & there.keys():
            if edit.keep == "union" and moved[frame] and there[frame]:
                self._unite(video, frame, edit.object_id, edit.into)
                united.add(frame)
                giving_way += [(edit.object_id, frame), (edit.into, frame)]
            else:
                to_go = moved[frame] and (edit.keep == "from" or not there[frame])
                giving_way.append((edit.into if to_go else edit.object_id, frame))
        for owner, frame in sorted(giving_way):
            for table, row in self._rows(video, owner, frame, frame + 1):
                if not (table == "masks" and owner == edit.into and frame in united):
                    self._change(table, row, None)
        self._move(video, edit.object_id, edit.into, 0, None)
        self._objects.change(video.id, edit.object_id, removed=GAVE_ALL)

    def _unite(self, video: StoredVideo, frame: int, a: int, b: int) -> None:
        """Object ``b`` gets both masks of a frame, as an edit: no run may take it apart again."""
        rows = [
            row for owner in (a, b) for table, row in self._rows(video, owner, frame, frame + 1) if table == "masks"
        ]
        pixels = [Mask(video.height, video.width, bytes(row["counts"])).to_array() for row in rows]
        mask = Mask.from_array(pixels[0] | pixels[1])
        item = TrackedObject(b, mask, max(row["score"] for row in rows), 1.0, Source.EDITED)
        key = {"video_id": video.id, "frame": frame, "object_id": b}
        self._history.change("masks", key, mask_row(video, frame, item, None))

    # ---- split, swap, another id ----

    def _effect_of_split(self, video: StoredVideo, edit: Split) -> EditEffect:
        self._free(video, edit.object_id)
        frames = self._frames(video, edit.object_id)
        after = [frame for frame in frames if frame >= edit.frame]
        if not after or len(after) == len(frames):
            side = "after" if not after else "before"
            raise StoreError(f"Object {edit.object_id} has no mask {side} frame {edit.frame}; split where it has both.")
        made = self._objects.next_id(video.id)
        summary = f"Object {edit.object_id} is object {made} from frame {edit.frame} on."
        return EditEffect(summary, None, 2, len(after), made=made)

    def _split(self, video: StoredVideo, old: int, new: int, start: int, stop: int | None) -> None:
        self._objects.add(video.id, new)
        self._dress_as(video, old, new)
        self._move(video, old, new, start, stop)

    def _effect_of_swap(self, video: StoredVideo, edit: Swap) -> EditEffect:
        if edit.a == edit.b:
            raise StoreError("An object cannot be swapped with itself; choose two.")
        self._free(video, edit.a, edit.b)
        frames = sum(len(self._frames(video, owner, edit.start, edit.stop)) for owner in (edit.a, edit.b))
        summary = f"Objects {edit.a} and {edit.b} change places {_range(edit.start, edit.stop)}."
        return EditEffect(summary, None, 2, frames)

    def _swap(self, video: StoredVideo, edit: Swap) -> None:
        moves = [
            (table, row, edit.b if owner == edit.a else edit.a)
            for owner in (edit.a, edit.b)
            for table, row in self._rows(video, owner, edit.start, edit.stop)
        ]
        self._hand_over(moves)

    def _effect_of_change_id(self, video: StoredVideo, edit: ChangeId) -> EditEffect:
        self._free(video, edit.object_id)
        if not 0 <= edit.to < 2**31:
            raise StoreError(f"An id is a number from 0 to {2**31 - 1}, not {edit.to}.")
        if not self._objects.is_free(video.id, edit.to):
            raise StoreError(
                f"Id {edit.to} is or was another object's; merge the two, or take {self._objects.next_id(video.id)}."
            )
        frames = len(self._frames(video, edit.object_id))
        return EditEffect(f"Object {edit.object_id} becomes object {edit.to}.", None, 1, frames)

    def _dress_as(self, video: StoredVideo, old: int, new: int) -> None:
        row = self._objects.existing(video.id, old)
        self._objects.change(video.id, new, **{name: row[name] for name in ("label", "colour", "hidden")})

    # ---- deletion and labels ----

    def _effect_of_deletion(
        self, video: StoredVideo, owners: Collection[int], start: int, stop: int | None
    ) -> EditEffect:
        final = set(self._objects.accepted(video.id, start, stop))
        found = [(frame, owner) for owner in owners for frame in self._frames(video, owner, start, stop)]
        kept = sum(key in final for key in found)
        summary = f"{len(found) - kept} masks of {_objects(owners)} {_range(start, stop)} are deleted."
        warning = f"{kept} accepted masks stay." if kept else None
        return EditEffect(summary, warning, len(owners), len(found) - kept)

    def _delete(self, video: StoredVideo, owner: int, start: int, stop: int | None) -> None:
        final = {frame for frame, of in self._objects.accepted(video.id, start, stop) if of == owner}
        for table, row in self._rows(video, owner, start, stop):
            if row["frame"] not in final:
                self._change(table, row, None)

    def _effect_of_relabel(self, video: StoredVideo, edit: Relabel) -> EditEffect:
        owners = self._labelled(video, edit.from_label, edit.start, edit.stop)
        self._free(video, *owners)
        parts = [owner for owner in owners if self._goes_beyond(video, owner, edit)]
        frames = sum(len(self._frames(video, owner, edit.start or 0, edit.stop)) for owner in owners)
        warning = None
        if parts:
            warning = f"{_objects(parts)} go on outside the range: the part inside becomes a new object each."
        inside = "" if edit.start is None and edit.stop is None else f" {_range(edit.start or 0, edit.stop)}"
        new = "left without a label" if edit.to_label is None else f"now called {_name(edit.to_label)}"
        summary = f"{_called(owners, edit.from_label)} {new}{inside}."
        return EditEffect(summary, warning, len(owners), frames)

    def _relabel(self, video: StoredVideo, edit: Relabel) -> None:
        for owner in self._labelled(video, edit.from_label, edit.start, edit.stop):
            renamed = owner
            if self._goes_beyond(video, owner, edit):
                renamed = self._objects.next_id(video.id)
                self._split(video, owner, renamed, edit.start or 0, edit.stop)
            self._objects.change(video.id, renamed, label=edit.to_label)

    def _goes_beyond(self, video: StoredVideo, owner: int, edit: Relabel) -> bool:
        if edit.start is None and edit.stop is None:
            return False
        inside = len(self._frames(video, owner, edit.start or 0, edit.stop))
        return inside < len(self._frames(video, owner))

    def _labelled(self, video: StoredVideo, label: str | None, start: int | None, stop: int | None) -> list[int]:
        """Objects of a label; with a range, those that have a mask in it."""
        owners = [item.object_id for item in self._objects.all(video.id) if item.label == label]
        if start is not None or stop is not None:
            owners = [owner for owner in owners if self._frames(video, owner, start or 0, stop)]
        if not owners:
            where = "" if start is None and stop is None else f" {_range(start or 0, stop)}"
            raise StoreError(f"No object{where} is called {_name(label)}.")
        return owners

    # ---- rows ----

    def _free(self, video: StoredVideo, *owners: int) -> None:
        for owner in owners:
            if self._objects.existing(video.id, owner)["locked"]:
                raise StoreError(f"Object {owner} is locked; unlock it first.")

    def _frames(self, video: StoredVideo, owner: int, start: int = 0, stop: int | None = None) -> dict[int, bool]:
        """Frames with a stored mask of an object, and whether it is visible there; read from the covering index."""
        rows = self._db.rows(
            "SELECT frame, area > 0 AS visible FROM masks INDEXED BY masks_by_object "
            "WHERE video_id = ? AND object_id = ? AND frame >= ? AND frame < ? ORDER BY frame",
            (video.id, owner, start, _END if stop is None else stop),
        )
        return {row["frame"]: bool(row["visible"]) for row in rows}

    def _rows(self, video: StoredVideo, owner: int, start: int, stop: int | None) -> Iterator[tuple[str, Row]]:
        """Masks, prompts and acceptance of an object in a range, as ``(table, row)``."""
        for table in _BY_FRAME:
            rows = self._db.rows(
                f"SELECT * FROM {table} WHERE video_id = ? AND object_id = ? AND frame >= ? AND frame < ?",
                (video.id, owner, start, _END if stop is None else stop),
            )
            for row in rows:
                yield table, dict(row)

    def _move(self, video: StoredVideo, old: int, new: int, start: int, stop: int | None) -> None:
        self._hand_over([(table, row, new) for table, row in self._rows(video, old, start, stop)])

    def _hand_over(self, moves: Sequence[tuple[str, Row, int]]) -> None:
        """Gives rows to other objects; a row that another one of these leaves may be taken."""
        for table in _BY_FRAME:
            rows = [(row, row | {"object_id": new}) for of, row, new in moves if of == table]
            self._history.exchange(table, [old for old, _ in rows], [new for _, new in rows])

    def _change(self, table: str, old: Row, new: Row | None) -> None:
        row = old if new is None else new
        names = ("id",) if table == "prompts" else ("video_id", "frame", "object_id")
        self._history.change(table, {name: row[name] for name in names}, new)


def _objects(owners: Collection[int]) -> str:
    few = ", ".join(str(owner) for owner in list(owners)[:5]) + (", ..." if len(owners) > 5 else "")
    return f"object{'' if len(owners) == 1 else 's'} {few}"


def _called(owners: Collection[int], label: str | None, seen: str = "") -> str:
    """Subject and verb of a sentence about the objects of a label."""
    name = "without a label" if label is None else f"called {_name(label)}"
    return f"{_objects(owners).capitalize()}, {name}{seen}, {'is' if len(owners) == 1 else 'are'}"


def _effect_of_dress(owners: Collection[int], edit: DressLabel) -> str:
    ranged = edit.start is not None or edit.stop is not None
    seen = f" and seen {_range(edit.start or 0, edit.stop)}" if ranged else ""
    done = [f"coloured {edit.colour}"] if edit.colour is not None else []
    done += [] if edit.hidden is None else ["hidden" if edit.hidden else "shown"]
    done += [] if edit.locked is None else ["locked" if edit.locked else "unlocked"]
    return f"{_called(owners, edit.label, seen)} {' and '.join(done)}{' on all frames' if ranged else ''}."


def _name(label: str | None) -> str:
    return "nothing" if label is None else f"'{label}'"


def _range(start: int, stop: int | None) -> str:
    if stop is None:
        return f"from frame {start} on" if start else "on all frames"
    return f"on frames {start} to {stop - 1}"
