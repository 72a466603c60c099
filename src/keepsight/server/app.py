"""The application: guard, routes, page, and what runs beside them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from keepsight.annotation import DeskSettings, Limits, Workshop
from keepsight.models.registry import resolve
from keepsight.server.anylabeling import routes as anylabeling
from keepsight.server.anylabeling.remote import Remote
from keepsight.server.anylabeling.tasks import Tasks
from keepsight.server.catalog import Catalog
from keepsight.server.config import ServerConfig
from keepsight.server.errors import ApiError, install_errors
from keepsight.server.guard import COOKIE, Guard
from keepsight.server.memory import give_back
from keepsight.server.native import events, videos, work
from keepsight.server.native.bodies import Login
from keepsight.server.native.shared import Here
from keepsight.server.reception import Reception

STATIC = Path(__file__).parent / "static"
_TIDY_S = 30.0
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; worker-src 'self'; style-src 'self'; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def make_workshop(config: ServerConfig) -> Workshop:
    """The workshop that a server's settings ask for.

    Raises:
        ModelError, InputError: a model or policy that does not exist.
    """
    for name in config.models:
        resolve(name)
    limits = Limits(
        desks=config.limits.open_videos,
        idle_s=config.limits.idle_minutes * 60,
        feature_bytes=int(config.limits.feature_cache_mb * 2**20),
        picture_bytes=int(config.limits.frame_cache_mb * 2**20),
        points=config.limits.points,
    )
    settings = DeskSettings(model=config.models[0], policy=config.policy or "sam2", output=config.output)
    return Workshop(settings, devices=(config.device,), limits=limits)


def create_app(config: ServerConfig, catalog: Catalog, workshop: Workshop) -> Guard:
    """The server as an ASGI application; shutting it down shuts the workshop."""

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        tidying = asyncio.create_task(_tidy(workshop))
        try:
            yield
        finally:
            tidying.cancel()
            await app.state.tasks.close()
            await asyncio.to_thread(workshop.shut)

    app = FastAPI(title="Keepsight", version=version("keepsight"), lifespan=life)
    reception = app.state.reception = Reception(config, catalog, workshop)
    app.state.remote = Remote(reception)
    app.state.tasks = Tasks()
    install_errors(app)
    for part in (videos, work, events, anylabeling):
        app.include_router(part.router)

    @app.get("/health", tags=["server"])
    async def health() -> dict[str, Any]:
        """Whether the server is there; needs no key."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {"status": "healthy", "models_loaded": workshop.models_loaded, "timestamp": stamp}

    @app.post("/api/login", tags=["server"])
    async def login(here: Here, body: Login, request: Request) -> JSONResponse:
        """Takes the key once and leaves it in a cookie, for pictures and events in a page."""
        import hmac

        if here.config.key is None or not hmac.compare_digest(body.key.encode(), here.config.key.encode()):
            raise ApiError(401, "unauthorized", "That is not the key.")
        answer = JSONResponse({"ok": True})
        answer.set_cookie(
            COOKIE, here.config.key, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
        return answer

    if (STATIC / "index.html").is_file():
        app.mount("/", _Page(directory=STATIC, html=True))
    else:

        @app.get("/", include_in_schema=False)
        async def no_page() -> Response:
            return PlainTextResponse("The page has not been built; `make page` builds it. The API is at /docs.\n")

    return Guard(app, config, _limits(config), _is_page, end_streams=reception.closing.set)


def _limits(config: ServerConfig) -> Any:
    sizes = config.limits
    special = {"/api/uploads": sizes.upload_mb, "/v1/video/init": sizes.remote_body_mb}
    return lambda path: int(special.get(path, sizes.body_mb) * 2**20)


def _is_page(path: str) -> bool:
    return path in ("/", "/index.html", "/favicon.ico", "/favicon.svg") or path.startswith("/assets/")


async def _tidy(workshop: Workshop) -> None:
    while True:
        await asyncio.sleep(_TIDY_S)
        await asyncio.to_thread(workshop.close_idle)
        await asyncio.to_thread(give_back)


class _Page(StaticFiles):
    """The page's files: asked for anew every time (their names do not change), and allowed to load nothing from elsewhere."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Content-Security-Policy"] = _POLICY
        return response
