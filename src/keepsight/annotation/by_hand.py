"""What people do by hand at a desk: masks, objects, edits of tracks, accepted frames. Each is one step of undo."""

from __future__ import annotations

from collections.abc import Sequence

from keepsight.annotation.case import Case
from keepsight.annotation.clicks import prompts_on
from keepsight.annotation.trouble import Conflict, TooMuch
from keepsight.annotation.values import ChangedPart, DeskObject
from keepsight.core import Mask, TrackedObject
from keepsight.core.errors import InputError
from keepsight.store import Edit, EditEffect, Merge, Project

EVERYTHING: tuple[ChangedPart, ...] = ("objects", "prompts", "masks", "accepted")


class HandWork:
    """Changes a project and tells those who watch. :class:`~keepsight.annotation.Desk` documents the operations."""

    def __init__(self, case: Case) -> None:
        self._case = case

    # ---- masks ----

    def clear_prompts(self, project: Project, object_id: int, frame: int, by: str | None) -> int:
        case = self._case
        case.check_free(project, object_id, frame)
        said = list(prompts_on(project, case.video_id, object_id, frame))
        if not said:
            raise InputError(f"Nothing was said about object {object_id} on frame {frame}.")
        with project.operation(f"take back the prompts of object {object_id} on frame {frame}"):
            for prompt_id in said:
                project.remove_prompt(prompt_id)
            project.delete_masks(case.video_id, object_id, frame, frame + 1)
        return case.note("prompts", "masks", frames=(frame, frame + 1), by=by)

    def set_mask(
        self, project: Project, object_id: int, frame: int, mask: Mask, by: str | None
    ) -> tuple[TrackedObject, int]:
        case = self._case
        case.check_frame(frame)
        case.check_free(project, object_id, frame)
        project.set_mask(case.video_id, object_id, frame, mask)
        revision = case.note("masks", frames=(frame, frame + 1), by=by)
        return project.masks_of(case.video_id, object_id, [frame])[frame], revision

    def delete_mask(self, project: Project, object_id: int, frame: int, by: str | None) -> int:
        case = self._case
        case.check_free(project, object_id, frame)
        with project.operation(f"delete the mask of object {object_id} on frame {frame}"):
            for prompt_id in prompts_on(project, case.video_id, object_id, frame):
                project.remove_prompt(prompt_id)
            if not project.delete_masks(case.video_id, object_id, frame, frame + 1):
                raise InputError(f"Object {object_id} has no mask on frame {frame}.")
        return case.note("masks", "prompts", frames=(frame, frame + 1), by=by)

    # ---- objects ----

    def add_object(self, project: Project, label: str | None, colour: str | None, by: str | None) -> DeskObject:
        case = self._case
        if len(project.objects(case.video_id)) >= case.limits.objects:
            raise TooMuch(f"A video may have {case.limits.objects} objects; remove one first.")
        object_id = project.next_object_id(case.video_id)
        project.add_object(case.video_id, object_id, label, colour)
        case.note("objects", by=by)
        return case.object(project, object_id)

    def change_object(
        self,
        project: Project,
        object_id: int,
        *,
        label: str | None,
        colour: str | None,
        hidden: bool | None,
        locked: bool | None,
        by: str | None,
    ) -> DeskObject:
        case, video_id = self._case, self._case.video_id
        case.object(project, object_id)
        with project.operation(f"change object {object_id}"):
            if label is not None:
                project.rename_object(video_id, object_id, label or None)
            if colour is not None:
                project.recolour_object(video_id, object_id, colour)
            if hidden is not None:
                project.hide_object(video_id, object_id, hidden)
            if locked is not None:
                project.lock_object(video_id, object_id, locked)
        case.note("objects", by=by)
        return case.object(project, object_id)

    def remove_object(self, project: Project, object_id: int, by: str | None) -> int:
        self._case.check_free(project, object_id)
        project.remove_object(self._case.video_id, object_id)
        return self._case.note(*EVERYTHING, by=by)

    # ---- edits and accepted frames ----

    def edit(self, project: Project, edit: Edit, confirm: bool, by: str | None) -> tuple[EditEffect, int]:
        effect = project.edit_effect(self._case.video_id, edit)
        if isinstance(edit, Merge) and effect.conflicts and not confirm:
            raise Conflict(f"{effect.warning} Say yes to go on.")
        effect = project.edit(self._case.video_id, edit)
        return effect, self._case.note(*EVERYTHING, by=by)

    def accept(self, project: Project, frame: int, objects: Sequence[int] | None, by: str | None, *, on: bool) -> int:
        case = self._case
        case.check_frame(frame)
        for object_id in objects or ():
            case.object(project, object_id)
        (project.accept if on else project.unaccept)(case.video_id, frame, objects)
        return case.note("accepted", frames=(frame, frame + 1), by=by)
