"""The routes that X-AnyLabeling knows, below ``/v1``."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from keepsight.server.anylabeling.bodies import INIT_SCHEMA, PredictBody, PromptBody, PropagateBody
from keepsight.server.anylabeling.picture import shapes_in
from keepsight.server.anylabeling.remote import Remote
from keepsight.server.anylabeling.streaming import EventStream, events
from keepsight.server.anylabeling.tasks import Tasks

router = APIRouter(prefix="/v1", tags=["X-AnyLabeling"])

_Id: TypeAlias = Annotated[str, Path(max_length=300)]


def _remote(request: Request) -> Remote:
    remote: Remote = request.app.state.remote
    return remote


def _tasks(request: Request) -> Tasks:
    tasks: Tasks = request.app.state.tasks
    return tasks


Here: TypeAlias = Annotated[Remote, Depends(_remote)]
Doing: TypeAlias = Annotated[Tasks, Depends(_tasks)]


def _good(data: Any) -> dict[str, Any]:
    return {"success": True, "data": data}


@router.get("/models")
async def models(here: Here) -> dict[str, Any]:
    """What is offered, in the order of the client's menu."""
    detector = here.config.detector
    return _good(await run_in_threadpool(lambda: {id: offer.metadata(detector) for id, offer in here.offers.items()}))


@router.get("/models/{model}/info")
async def info(here: Here, model: _Id) -> dict[str, Any]:
    """One entry of the menu."""
    metadata = await run_in_threadpool(here.offer(model).metadata, here.config.detector)
    return _good({"model_id": model} | metadata)


@router.post("/predict")
async def predict(here: Here, body: PredictBody) -> dict[str, Any]:
    """Masks or boxes in a single picture: of words, of what is marked, or, where nothing is said, of everything."""
    return _good({"shapes": await shapes_in(here, body), "description": "", "replace": False})


@router.post("/video/init", openapi_extra=INIT_SCHEMA)
async def init(here: Here, request: Request) -> dict[str, Any]:
    """Takes the frames of a clip. The same frames sent again find everything that was tracked in them."""
    session = await here.begin(request.stream())
    return _good({"session_id": session.id, "num_frames": session.frame_count, "start_frame_index": session.first})


@router.post("/video/prompt")
async def prompt(here: Here, body: PromptBody) -> dict[str, Any]:
    """Finds by words, or points at something; several concepts are separated by commas."""
    frame, shapes, count = await here.prompt(body)
    return _good({"frame_index": frame, "masks": shapes, "num_objects": count})


@router.post("/video/propagate/stream", response_class=Response)
async def propagate_stream(here: Here, body: PropagateBody) -> Response:
    """Tracks a range, both ends included, and tells how far it is; what was tracked before is not tracked again."""
    return EventStream(events(await here.range(body)))


@router.post("/video/propagate")
async def propagate(here: Here, tasks: Doing, body: PropagateBody) -> dict[str, Any]:
    """Begins to track a range; ask with ``/status`` how far it is."""
    task = tasks.begin(await here.range(body))
    return _good({"task_id": task, "status": "processing", "message": "Tracking has begun."})


@router.get("/video/status/{task}")
async def status(tasks: Doing, task: _Id) -> dict[str, Any]:
    """How far a range is, and in the end what is in it."""
    return _good(await tasks.status(task))


@router.post("/video/cancel/{task}")
async def cancel(tasks: Doing, task: _Id) -> dict[str, Any]:
    """Ends the tracking of a range after the frame in hand."""
    await tasks.cancel(task)
    return _good({"message": "Tracking has ended; what was tracked is kept."})


@router.post("/video/cleanup/{session_id}")
async def cleanup(here: Here, session_id: _Id, model: Annotated[str, Query(max_length=300)]) -> dict[str, Any]:
    """Forgets a session; masks stay."""
    here.video_offer(model)
    here.end(session_id)
    return _good({"message": "The session has ended; what was tracked is kept."})
