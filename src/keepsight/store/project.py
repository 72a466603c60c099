"""The project: one file that holds everything known about the objects of one or more videos."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from keepsight.core import FrameResult, Mask, Prompt, Source, TrackedObject
from keepsight.store.database import Database
from keepsight.store.edit_kinds import Edit, EditEffect
from keepsight.store.edits import TrackEdits
from keepsight.store.frames import Frames, mask_row
from keepsight.store.history import History
from keepsight.store.lookups import Lane, Lookups, Ranges
from keepsight.store.objects import Objects
from keepsight.store.project_file import ProjectFile
from keepsight.store.prompts import Prompts
from keepsight.store.records import StoredObject, StoredPrompt, StoredRun, StoredVideo, TrackPoint
from keepsight.store.runs import Runs
from keepsight.store.videos import Videos


class Project(ProjectFile):
    """One ``*.keepsight`` file: videos, objects, prompts, masks by frame, runs, checkpoints and an undo log.

    Every write is a transaction of its own. A process that is killed, a cancelled run or a full disk loses at most the write
    in flight; what a method returned from is in the file. Reading never needs more memory than a few frames.

    A ``Project`` belongs to the thread that opened it. Other threads and processes open the same file again: any number
    may read while one writes; a second writer waits up to ``busy_timeout_s`` and then gets a :class:`StoreError`.
    All methods raise :class:`StoreError` with one line for the user when the file cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._history = History(database)
        self._videos = Videos(database)
        self._objects = Objects(database, self._history)
        self._prompts = Prompts(database, self._history, self._objects)
        self._edits = TrackEdits(database, self._history, self._objects)
        self._frames = Frames(database, self._history, self._objects)
        self._runs = Runs(database)
        self._lookups = Lookups(database)

    # ---- videos ----

    def add_video(
        self,
        *,
        path: str | os.PathLike[str],
        name: str,
        height: int,
        width: int,
        fps: float,
        frame_count: int | None,
        fingerprint: str,
    ) -> int:
        """Registers a video; see :class:`StoredVideo` for the fields. Returns its ``video_id``."""
        return self._videos.add(os.fspath(path), name, height, width, float(fps), frame_count, fingerprint)

    def videos(self) -> list[StoredVideo]:
        """All videos in the order in which they were added."""
        return self._videos.all()

    def video(self, video_id: int) -> StoredVideo:
        """One video.

        Raises:
            StoreError: there is no such video.
        """
        return self._videos.get(video_id)

    def set_frame_count(self, video_id: int, frame_count: int) -> None:
        """Records the length of a stream once it has ended."""
        self._videos.set_frame_count(video_id, frame_count)

    def preferences(self, video_id: int) -> dict[str, Any]:
        """What people like about a video, JSON values by name."""
        return self._videos.preferences(video_id)

    def set_preferences(self, video_id: int, values: Mapping[str, Any]) -> None:
        """Keeps preferences, beside those of other names; these are not part of what undo takes back."""
        self._videos.set_preferences(video_id, values)

    # ---- objects ----

    def add_object(self, video_id: int, object_id: int, label: str | None = None, colour: str | None = None) -> None:
        """Registers an object (undoable).

        Raises:
            StoreError: the id is in use, or was used by an object that has been removed: ids are never given twice.
        """
        self._objects.add(self.video(video_id).id, object_id, label, colour)

    def objects(self, video_id: int) -> list[StoredObject]:
        """The video's objects in the order in which they were added."""
        return self._objects.all(video_id)

    def next_object_id(self, video_id: int) -> int:
        """The smallest id above every id ever used in this video, from 1."""
        return self._objects.next_id(video_id)

    def rename_object(self, video_id: int, object_id: int, label: str | None) -> None:
        """Changes an object's label (undoable)."""
        self._change_object(f"rename object {object_id}", video_id, object_id, label=label)

    def recolour_object(self, video_id: int, object_id: int, colour: str | None) -> None:
        """Changes an object's colour, ``#rrggbb`` or ``None`` for the palette's (undoable)."""
        self._change_object(f"recolour object {object_id}", video_id, object_id, colour=colour)

    def remove_object(self, video_id: int, object_id: int) -> None:
        """Hides an object with its prompts and masks (undoable); its id is not given again."""
        self._change_object(f"remove object {object_id}", video_id, object_id, removed=1)

    def hide_object(self, video_id: int, object_id: int, hidden: bool) -> None:
        """Whether an object is drawn (undoable); exports have it in any case."""
        self._change_object(
            f"{'hide' if hidden else 'show'} object {object_id}", video_id, object_id, hidden=int(hidden)
        )

    def lock_object(self, video_id: int, object_id: int, locked: bool) -> None:
        """A locked object's masks are left alone by runs and edits (undoable)."""
        self._change_object(
            f"{'lock' if locked else 'unlock'} object {object_id}", video_id, object_id, locked=int(locked)
        )

    def _change_object(self, name: str, video_id: int, object_id: int, **values: Any) -> None:
        self._objects.existing(video_id, object_id)
        with self._history.operation(name):
            self._objects.change(video_id, object_id, **values)

    # ---- accepted frames ----

    def accept(self, video_id: int, frame: int, object_ids: Collection[int] | None = None) -> int:
        """Declares masks on a frame final (undoable): runs leave them alone, and range edits too.

        Args:
            object_ids: default: every object that has a mask there.

        Returns:
            how many were not accepted before.

        Raises:
            StoreError: no such object, or it has no mask there.
        """
        return self._objects.accept(video_id, frame, object_ids, on=True)

    def unaccept(self, video_id: int, frame: int, object_ids: Collection[int] | None = None) -> int:
        """Takes :meth:`accept` back (undoable); returns how many had been accepted."""
        return self._objects.accept(video_id, frame, object_ids, on=False)

    def accepted(self, video_id: int, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
        """``(frame, object_id)`` of accepted masks with ``start <= frame < stop``, in order of frames."""
        return self._objects.accepted(video_id, start, stop)

    # ---- prompts ----

    def add_prompt(self, video_id: int, prompt: Prompt) -> int:
        """Stores a prompt (undoable) and, when it is new, its object. Returns the prompt's id.

        Raises:
            InputError: the prompt lies outside the video.
        """
        return self._prompts.add(self.video(video_id), prompt)

    def prompts(self, video_id: int) -> list[StoredPrompt]:
        """Prompts of the video's objects, in the order in which they were given."""
        return self._prompts.all(video_id)

    def remove_prompt(self, prompt_id: int) -> None:
        """Removes a prompt (undoable)."""
        self._prompts.remove(prompt_id)

    # ---- runs and their checkpoints ----

    def start_run(self, video_id: int, settings: dict[str, Any]) -> int:
        """Notes that this process starts to track; ``settings`` is kept as JSON. Returns the run's id."""
        return self._runs.start(self.video(video_id).id, settings)

    def resume_run(self, run_id: int) -> None:
        """Takes an ended or interrupted run over: it is ``running`` again, by this process."""
        self._runs.resume(run_id)

    def finish_run(self, run_id: int, state: str, note: str = "", facts: dict[str, Any] | None = None) -> None:
        """Ends a run as ``finished``, ``cancelled`` or ``failed``.

        Args:
            note: one line for a person.
            facts: what the report shows (timings, versions, warnings), kept as JSON.

        The checkpoints of a finished run are dropped: there is nothing left to resume.
        """
        self._runs.finish(run_id, state, note, facts or {})

    def note_run(self, run_id: int, facts: dict[str, Any]) -> None:
        """Keeps facts of a run that goes on (how far it is, say), as JSON; inside :meth:`transaction`, together with a frame."""
        self._runs.note(run_id, facts)

    def runs(self, video_id: int) -> list[StoredRun]:
        """Runs over a video, oldest first. One that says ``running`` while its process is gone is ``interrupted``."""
        return self._runs.of_video(video_id)

    def save_checkpoint(self, run_id: int, frame: int, state: bytes) -> None:
        """Keeps what a tracker needs to go on after ``frame``; only the latest two of a run stay."""
        self._runs.save_checkpoint(run_id, frame, state)

    def latest_checkpoint(self, run_id: int) -> tuple[int, bytes] | None:
        """``(frame, state)`` saved last, by time of saving and not by frame: a run may go backwards."""
        return self._runs.latest_checkpoint(run_id)

    # ---- results ----

    def write_result(
        self,
        video_id: int,
        run_id: int,
        result: FrameResult,
        *,
        labels: Mapping[int, str] | None = None,
        keep_edited: bool = True,
        undo_name: str | None = None,
    ) -> None:
        """Stores one frame in one transaction; a second write of the frame replaces the first.

        A frame without objects is stored too: "nothing there" is an answer. Objects that are not in ``result`` keep their
        masks; an object that was never added is added.

        Args:
            labels: names by object id, for objects that have none yet (a detector's finds are called what they are).
            keep_edited: masks that a person drew (:meth:`set_mask`) are left alone.
            undo_name: what undo calls the run ("track", to which it adds the number of frames): all that the run writes under
                it is one step of undo, and a further one after each edit in between. ``None``: not part of the undo log.
        """
        self._frames.write(
            self.video(video_id), run_id, result, labels=labels, keep_edited=keep_edited, undo_name=undo_name
        )

    def forget_results(self, video_id: int, run_id: int, frames: Collection[int]) -> None:
        """Takes back what a run wrote on some frames, with objects that are nowhere else then; not part of the undo log.

        What a person drew there stays, and so does an object that a person pointed at.
        """
        self._frames.forget(self.video(video_id), run_id, frames)

    def result(self, video_id: int, frame: int) -> FrameResult | None:
        """One frame; ``None`` when neither a run nor a person has been there."""
        return next(self._frames.read(self.video(video_id), frame, frame + 1), None)

    def results(self, video_id: int, start: int | None = None, stop: int | None = None) -> Iterator[FrameResult]:
        """Stored frames with ``start <= frame < stop`` in order; holds a few dozen frames at a time.

        Results may be written while this runs: frames that it has not reached yet are seen as they are then.
        """
        return self._frames.read(self.video(video_id), start or 0, 2**62 if stop is None else stop)

    def frames_done(self, video_id: int, run_id: int | None = None) -> set[int]:
        """Frames that the run (or anyone) has written, whether or not anything was visible there."""
        return self._frames.done(video_id, run_id)

    def track(self, video_id: int, object_id: int) -> Iterator[TrackPoint]:
        """One object over time without its pixels, cheap enough to draw a timeline of hours."""
        return self._frames.track(video_id, object_id)

    def masklet(self, video_id: int, object_id: int) -> Iterator[tuple[int, TrackedObject]]:
        """One object over time with its masks, as ``(frame, object)``; a few dozen masks in memory."""
        return self._frames.masklet(self.video(video_id), object_id)

    def lanes(self, video_id: int, low_score: float = 0.5) -> list[Lane]:
        """A timeline of every object, as ranges of frames; no masks decoded.

        Args:
            low_score: visible masks with a score below this are marked.
        """
        return self._lookups.lanes(video_id, low_score)

    def done_ranges(self, video_id: int) -> Ranges:
        """Frames that have a result from anyone, as half-open ranges."""
        return self._lookups.done_ranges(video_id)

    def masks_of(self, video_id: int, object_id: int, frames: Collection[int]) -> dict[int, TrackedObject]:
        """An object's stored masks on chosen frames, by frame; frames without one are left out."""
        return self._lookups.masks(self.video(video_id), object_id, frames)

    def given_frames(self, video_id: int, object_id: int, near: int, limit: int) -> list[int]:
        """Frames on which a person said what the object is and it is visible: prompted, drawn or accepted.

        Args:
            near: the frames nearest to this one are taken.
            limit: how many at most.

        Returns:
            In ascending order.
        """
        return self._lookups.given_frames(video_id, object_id, near, limit)

    def nearest_visible(
        self, video_id: int, object_id: int, near: int, start: int = 0, stop: int | None = None
    ) -> int | None:
        """The frame nearest to ``near``, with ``start <= frame < stop``, on which an object has a visible mask."""
        return self._lookups.nearest_visible(video_id, object_id, near, start, 2**62 if stop is None else stop)

    def removed_ids(self, video_id: int) -> set[int]:
        """Ids of objects that were removed; they are not given again."""
        return self._lookups.removed_ids(video_id)

    def accepted_frames(self, video_id: int, object_id: int) -> list[int]:
        """Frames on which an object's mask is accepted, ascending."""
        return list(self._lookups.accepted_frames(video_id, object_id))

    # ---- edits ----

    def operation(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Groups edits into one step of undo and one transaction; keep the block short, it holds the write lock."""
        return self._history.operation(name)

    def set_mask(
        self, video_id: int, object_id: int, frame: int, mask: Mask, source: Source = Source.EDITED, score: float = 1.0
    ) -> None:
        """Replaces one object's mask on one frame (undoable); later runs leave an ``EDITED`` mask alone."""
        video = self.video(video_id)
        item = TrackedObject(object_id, mask, score, 1.0 if mask.area else 0.0, source)
        with self._history.operation(f"edit object {object_id} on frame {frame}"):
            self._objects.ensure(video_id, object_id)
            key = {"video_id": video_id, "frame": frame, "object_id": object_id}
            self._history.change("masks", key, mask_row(video, frame, item, None))

    def delete_masks(
        self, video_id: int, object_id: int | None = None, start: int | None = None, stop: int | None = None
    ) -> int:
        """Deletes the masks of one object (or of all) with ``start <= frame < stop`` (undoable). Returns how many."""
        name = "delete masks" if object_id is None else f"delete masks of object {object_id}"
        with self._history.operation(name):
            keys = self._frames.keys(video_id, object_id, start or 0, stop)
            for frame, owner in keys:
                key = {"video_id": video_id, "frame": frame, "object_id": owner}
                self._history.change("accepted", key, None)  # of what is not there nothing is final
                self._history.change("masks", key, None)
        return len(keys)

    def edit_effect(self, video_id: int, edit: Edit) -> EditEffect:
        """What :meth:`edit` would change; changes nothing.

        Raises:
            StoreError: it cannot be done (no such object, locked, nothing to change).
        """
        return self._edits.effect(self.video(video_id), edit)

    def edit(self, video_id: int, edit: Edit) -> EditEffect:
        """Merges, splits or swaps tracks, renames labels and so on (undoable as one step); see :mod:`.edits`.

        Raises:
            StoreError: it cannot be done; nothing has changed then.
        """
        return self._edits.apply(self.video(video_id), edit)

    def undo(self, going: int | None = None) -> str | None:
        """Takes the latest step back; its name, or ``None`` when there is none.

        What something else wrote since stays. A run is a step too (see :meth:`write_result`): what it wrote over comes back.

        Args:
            going: a run that still writes: only what people have done since it began is taken back.
        """
        return self._history.undo(going)

    def redo(self) -> str | None:
        """Does what was undone last again; its name, or ``None``. A new edit, or run, ends what can be redone."""
        return self._history.redo()

    def undo_names(self, going: int | None = None) -> tuple[str | None, str | None]:
        """What :meth:`undo` and :meth:`redo` would do next, for the labels of their buttons."""
        return self._history.names(going)

    def next_run(self, *, forward: bool) -> int | None:
        """The run whose work :meth:`undo` (``forward``: :meth:`redo`) comes to next; ``None``: a person's, or nothing."""
        return self._history.next_run(forward=forward)
