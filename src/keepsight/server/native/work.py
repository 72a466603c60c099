"""Work on a video: prompts, words, masks by hand, objects, edits, accepted frames, undo, jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from keepsight.annotation import Desk, TrackRequest
from keepsight.core import Direction
from keepsight.server.errors import not_found
from keepsight.server.native.answers import accepted_items, job_item, mask_item, object_item
from keepsight.server.native.bodies import (
    Accepted,
    EditBody,
    FrameIndex,
    Id,
    JobBody,
    LookBody,
    MaskBody,
    NewObject,
    ObjectChange,
    PreviewBody,
    PromptBody,
    TextBody,
    read_mask,
)
from keepsight.server.native.shared import By, Reach
from keepsight.server.reception import soon

router = APIRouter(prefix="/api/videos/{video}", tags=["work"])

JobId = Annotated[int, Path(ge=0, le=2**53)]


# -- pointing ------------------------------------------------------------------------------------------------------------
@router.post("/prompts")
async def prompt(reach: Reach, body: PromptBody, by: By = None) -> dict[str, Any]:
    """Points at an object on a frame by clicks, a box or a mask; adds to what was said there unless ``replace``."""
    answer = await soon(reach.prompt(body.said(reach.height, reach.width), by))
    return {
        "object": object_item(answer.object),
        "mask": mask_item(answer.mask),
        "prompt_id": answer.prompt_id,
        "revision": answer.revision,
    }


@router.post("/look", status_code=202)
async def look(reach: Reach, body: LookBody) -> dict[str, Any]:
    """Gets a frame ready for clicks, which are quick then, most of all at ``points``; does not wait for it. Of several calls the
    last one counts."""
    if body.frame >= reach.frame_count:
        raise not_found(f"There is no frame {body.frame}; the frames are 0 to {reach.frame_count - 1}.")
    reach.look_at(body.frame, body.said())
    return {"frame": body.frame}


@router.post("/preview")
async def preview(reach: Reach, body: PreviewBody, by: By = None) -> dict[str, Any]:
    """The mask that a prompt would give; ``null`` when a later preview of the same client overtook it, and with ``quick`` where
    the prompt itself is answered as soon."""
    ask = reach.glance if body.quick else reach.preview
    item = await soon(ask(body.said(reach.height, reach.width), by or ""))
    return {"mask": None if item is None else mask_item(item)}


@router.delete("/objects/{object_id}/prompts")
async def clear_prompts(reach: Reach, object_id: Id, frame: FrameIndex, by: By = None) -> dict[str, Any]:
    """Takes back what was said about an object on a frame, with the mask that it made."""
    return {"mask": None, "revision": await soon(reach.clear_prompts(object_id, frame, by))}


@router.post("/text")
async def text(reach: Reach, body: TextBody, by: By = None) -> dict[str, Any]:
    """Makes objects of what words name on a frame; several concepts are separated by commas."""
    found = await soon(reach.find(body.frame, body.text, body.detector, body.threshold, by))
    return {
        "objects": [{"object": object_item(item), "mask": mask_item(mask)} for item, mask in found.objects],
        "known": found.known,
        "remarks": list(found.remarks),
        "revision": found.revision,
    }


# -- masks and objects -----------------------------------------------------------------------------------------------------
@router.put("/masks/{frame}/{object_id}")
async def set_mask(reach: Reach, frame: FrameIndex, object_id: Id, body: MaskBody, by: By = None) -> dict[str, Any]:
    """Stores a mask that was drawn; an empty one says that the object is not there."""
    mask = read_mask(body.counts, reach.height, reach.width)
    item, revision = await soon(reach.set_mask(object_id, frame, mask, by))
    return {"mask": mask_item(item), "revision": revision}


@router.delete("/masks/{frame}/{object_id}")
async def delete_mask(reach: Reach, frame: FrameIndex, object_id: Id, by: By = None) -> dict[str, Any]:
    """Deletes an object's mask on a frame."""
    return {"revision": await soon(reach.delete_mask(object_id, frame, by))}


@router.post("/objects")
async def add_object(reach: Reach, body: NewObject, by: By = None) -> dict[str, Any]:
    """A new object, still without a mask."""
    return object_item(await soon(reach.add_object(body.label, body.colour, by)))


@router.patch("/objects/{object_id}")
async def change_object(reach: Reach, object_id: Id, body: ObjectChange, by: By = None) -> dict[str, Any]:
    """Renames, recolours, hides or locks an object."""
    changed = reach.change_object(
        object_id, label=body.label, colour=body.colour, hidden=body.hidden, locked=body.locked, by=by
    )
    return object_item(await soon(changed))


@router.delete("/objects/{object_id}")
async def remove_object(reach: Reach, object_id: Id, by: By = None) -> dict[str, Any]:
    """Removes an object with its masks; undo brings it back."""
    return {"revision": await soon(reach.remove_object(object_id, by))}


@router.post("/edits")
async def edit(reach: Reach, body: EditBody, by: By = None) -> dict[str, Any]:
    """Merges, splits, swaps, renames and so on; with ``preview`` says what would change."""
    asked = body.edit()
    if body.preview:
        effect, revision = await soon(reach.preview_edit(asked)), reach.revision
    else:
        effect, revision = await soon(reach.edit(asked, body.confirm, by))
    return {
        "summary": effect.summary,
        "warning": effect.warning,
        "objects": effect.objects,
        "frames": effect.frames,
        "conflicts": effect.conflicts,
        "made": effect.made,
        "revision": revision,
    }


# -- accepted frames and undo ----------------------------------------------------------------------------------------------
@router.post("/accepted")
async def accept(reach: Reach, body: Accepted, by: By = None) -> dict[str, Any]:
    """Declares masks on a frame final: no tracking writes over them, and tracking again ends there."""
    revision = await soon(reach.accept(body.frame, body.object_ids, by))
    return await _accepted(reach, revision)


@router.delete("/accepted")
async def unaccept(reach: Reach, body: Accepted, by: By = None) -> dict[str, Any]:
    """Takes that back."""
    revision = await soon(reach.unaccept(body.frame, body.object_ids, by))
    return await _accepted(reach, revision)


async def _accepted(desk: Desk, revision: int) -> dict[str, Any]:
    return {"accepted": accepted_items((await soon(desk.view())).accepted), "revision": revision}


@router.post("/undo")
async def undo(reach: Reach, by: By = None) -> dict[str, Any]:
    """Takes the latest change back; ``name`` is null when there was none."""
    name, revision = await soon(reach.undo(by))
    return {"name": name, "revision": revision}


@router.post("/redo")
async def redo(reach: Reach, by: By = None) -> dict[str, Any]:
    """Does what was undone last again."""
    name, revision = await soon(reach.redo(by))
    return {"name": name, "revision": revision}


# -- jobs ------------------------------------------------------------------------------------------------------------------
@router.post("/jobs")
async def start(reach: Reach, body: JobBody) -> dict[str, Any]:
    """Begins to track; frames come as events and are stored one by one."""
    request = TrackRequest(
        start=body.start,
        direction=Direction(body.direction),
        stop=body.stop,
        first=body.first,
        objects=None if body.objects is None else tuple(body.objects),
        text=body.text,
        detector=body.detector,
        threshold=body.threshold,
    )
    return job_item(await soon(reach.track(request)))


@router.get("/jobs/{job_id}")
async def job(reach: Reach, job_id: JobId) -> dict[str, Any]:
    """How far a job is."""
    return job_item(await soon(reach.get_job(job_id)))


@router.post("/jobs/{job_id}/pause")
async def pause(reach: Reach, job_id: JobId) -> dict[str, Any]:
    """Stops a job after the frame in hand."""
    return job_item(await soon(reach.pause(job_id)))


@router.post("/jobs/{job_id}/resume")
async def resume(reach: Reach, job_id: JobId) -> dict[str, Any]:
    """Goes on with a job that was paused, cancelled or interrupted; nothing that is stored is tracked again."""
    return job_item(await soon(reach.resume(job_id)))


@router.post("/jobs/{job_id}/cancel")
async def cancel(reach: Reach, job_id: JobId) -> dict[str, Any]:
    """Ends a job after the frame in hand; what was tracked stays."""
    return job_item(await soon(reach.cancel(job_id)))
