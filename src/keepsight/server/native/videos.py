"""Videos: what there is, pictures, masks, timeline, export, upload."""

from __future__ import annotations

import json
import re
import tempfile
import time
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask

from keepsight.core import InputError
from keepsight.pipeline import exchange
from keepsight.server.errors import ApiError, not_found
from keepsight.server.native.answers import (
    job_item,
    line_item,
    mask_items,
    settings_item,
    timeline_item,
    view_item,
)
from keepsight.server.native.bodies import FrameIndex, SettingsChange, VideoPath
from keepsight.server.native.shared import By, Here, Reach
from keepsight.server.reception import soon
from keepsight.video import open_video

router = APIRouter(prefix="/api", tags=["videos"])

_UPLOADS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg"}


@router.get("/info")
async def info(here: Here) -> dict[str, Any]:
    """What this server offers: models, policies, detectors, formats, limits."""
    from importlib.metadata import version

    config = here.config
    offers = await soon(here.workshop.offers(config.models[0]))
    offered = [item for item in offers.models if item.name in config.models]
    return {
        "version": version("keepsight"),
        "device": config.device,
        "default_model": config.models[0],
        "default_policy": here.workshop.settings.policy,
        "models": [{"name": item.name, "available": item.available, "note": item.note} for item in offered],
        "policies": [{"name": item.name, "summary": item.note} for item in offers.policies],
        "detectors": [asdict(item) for item in offers.detectors],
        "formats": [{"name": name, "summary": about} for name, about in exchange.formats().items()],
        "limits": {
            "low_score": config.low_score,
            "mask_frames": here.workshop.limits.masks_frames,
            "upload_bytes": int(config.limits.upload_mb * 2**20) if config.allow_upload else 0,
            "frames": config.limits.frames,
            "pixels": config.limits.pixels,
            "points": config.limits.points,
        },
        "output": config.output,
    }


@router.get("/videos")
async def videos(here: Here) -> list[dict[str, Any]]:
    """All videos that may be opened. Of those never opened only the name is known."""
    entries = await run_in_threadpool(here.catalog.entries)
    lines = []
    for entry in entries:
        desk = here.workshop.get(entry.id)
        lines.append(await run_in_threadpool(here.line, entry) if desk is None else line_item(await soon(desk.line())))
    return lines


@router.post("/videos")
async def add_video(here: Here, body: VideoPath) -> dict[str, Any]:
    """Opens a video below one of the server's folders by its path."""
    entry = await run_in_threadpool(here.catalog.add, body.path)
    return line_item(await soon((await here.seat(entry)).line()))


@router.post("/uploads")
async def upload(here: Here, request: Request, name: Annotated[str, Query(max_length=255)]) -> dict[str, Any]:
    """Takes a video file as the body of the request."""
    if not here.config.allow_upload:
        raise ApiError(403, "forbidden", "This server takes no uploads (`allow_upload`).")
    suffix = Path(name).suffix.lower()
    if suffix not in _UPLOADS:
        raise InputError(f"A video file is wanted, with one of the endings {', '.join(sorted(_UPLOADS))}.")
    stem = re.sub(r"[^\w.-]+", "_", Path(name).stem)[:80].strip("._") or "video"
    folder = here.catalog.uploads
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=suffix, delete=False) as file:
        part = Path(file.name)
        try:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
            file.flush()
            await run_in_threadpool(_check_video, part)
            target = folder / f"{stem}{suffix}"
            if target.exists():
                target = folder / f"{stem}-{time.time_ns() // 1_000_000}{suffix}"
            part.rename(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    entry = await run_in_threadpool(here.catalog.add, str(target))
    return line_item(await soon((await here.seat(entry)).line()))


def _check_video(path: Path) -> None:
    try:
        open_video(path).close()
    except InputError:
        raise InputError("What was sent is not a video that can be read; send a whole file.") from None


@router.get("/videos/{video}")
async def view(reach: Reach) -> dict[str, Any]:
    """Everything about a video but its masks."""
    return view_item(await soon(reach.view()))


@router.patch("/videos/{video}/settings")
async def change_settings(reach: Reach, here: Here, body: SettingsChange, by: By = None) -> dict[str, Any]:
    """Model, policy and so on from now on; a job that is going keeps its own."""
    if body.model is not None and body.model not in here.config.models:
        raise InputError(f"This server offers {', '.join(here.config.models)}.")
    settings = replace(reach.settings, **body.model_dump(exclude_none=True))
    return settings_item(await soon(reach.change_settings(settings, by)))


@router.get("/videos/{video}/frames/{frame}.jpg", response_class=Response)
async def picture(
    reach: Reach,
    request: Request,
    frame: FrameIndex,
    width: Annotated[int | None, Query(ge=16, le=20000)] = None,
) -> Response:
    """A frame as JPEG."""
    tag = f'"{reach.key}-{frame}-{width or 0}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    made = await soon(reach.picture(frame, width))
    return Response(made.data, media_type="image/jpeg", headers=headers)


@router.get("/videos/{video}/masks")
async def masks(
    reach: Reach, start: FrameIndex, stop: FrameIndex, objects: Annotated[str | None, Query(max_length=4000)] = None
) -> dict[str, Any]:
    """Stored masks of the frames ``start <= frame < stop``."""
    try:
        wanted = None if objects is None else [int(part) for part in objects.split(",") if part]
    except ValueError:
        raise InputError("`objects` is a list of numbers, such as 1,2.") from None
    revision, frames = await soon(reach.masks(start, stop, wanted))
    return {
        "revision": revision,
        "frames": [{"frame": item.frame, "objects": mask_items(item.objects)} for item in frames],
    }


@router.get("/videos/{video}/timeline")
async def timeline(reach: Reach, here: Here) -> dict[str, Any]:
    """Who is where, as half-open ranges of frames."""
    return timeline_item(await soon(reach.timeline(here.config.low_score)))


@router.get("/videos/{video}/export", response_class=FileResponse)
async def export(
    reach: Reach, here: Here, format: Annotated[str, Query(max_length=40)], images: bool = False
) -> Response:
    """The video's objects in a format, as a ZIP file; what the format could not hold is counted in ``losses.txt``."""
    if format not in exchange.formats():
        raise not_found(f"There is no format of that name; there are {', '.join(exchange.formats())}.")
    entry = await run_in_threadpool(here.catalog.entry, reach.key)
    with tempfile.NamedTemporaryFile(prefix="keepsight-", suffix=".zip", delete=False) as file:
        path = Path(file.name)
    try:
        notes = await run_in_threadpool(_zip, entry.project, entry.source, format, path, images)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(reach.name).stem)
    return FileResponse(
        path,
        media_type="application/zip",
        filename=f"{stem}_{format}.zip",
        headers={"X-Keepsight-Losses": json.dumps(notes)},
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


def _zip(project: Path, source: Path, name: str, path: Path, images: bool) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="keepsight-") as folder:
        out = Path(folder) / "export"
        done = exchange.export(project, name, out, images=images, source=source)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
            for file in sorted(out.rglob("*")):
                if file.is_file():
                    pack.write(file, file.relative_to(out))
            pack.writestr("losses.txt", "\n".join([done.summary, *done.notes]) + "\n")
    return done.notes


@router.get("/videos/{video}/jobs")
async def jobs(reach: Reach) -> list[Any]:
    """All jobs of the video, newest first."""
    return [job_item(job) for job in await soon(reach.jobs())]
