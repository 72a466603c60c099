"""What every request must pass: host, origin, key and size. Plain ASGI, so that streams and uploads are not buffered."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keepsight.server.config import LOOPBACK, ServerConfig

COOKIE = "keepsight_key"
_SAFE = {"GET", "HEAD", "OPTIONS"}
_OPEN = {"/health", "/api/login"}
_METHODS, _HEADERS = "GET, POST, PUT, PATCH, DELETE", "Content-Type, Token, Authorization"


class Guard:
    """Refuses what must not come in.

    * **Host**: only loopback names and configured ones; a foreign page that has its name point here gets nothing (DNS rebinding).
    * **Origin**: requests of other web pages only from configured origins; those get CORS answers, the preflight without a key.
    * **Key**: in the header ``Token`` or ``Authorization: Bearer``, or in the cookie that the login sets.
    * **Size**: bodies beyond the limit of their path are cut off with 413 while they come in.

    Args:
        limit_of: bytes that a request to this path may have.
        page: paths that are served without a key (the page itself, which then asks for it).
        end_streams: for whoever runs the application: ASGI announces the end only when all requests have ended.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: ServerConfig,
        limit_of: Callable[[str], int],
        page: Callable[[str], bool],
        end_streams: Callable[[], None] = lambda: None,
    ) -> None:
        self._app = app
        self.end_streams = end_streams
        self._key = config.key
        self._hosts = LOOPBACK | {config.host, *config.hosts}
        self._any_host = config.host in {"0.0.0.0", "::"} and config.key is not None
        self._origins = set(config.origins)
        self._limit_of = limit_of
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        origin, host = headers.get("origin"), headers.get("host", "")
        if not self._any_host and _name(host) not in self._hosts:
            await _refuse(send, 421, "bad_host", "This server does not go by that name; add it to `hosts`.")
            return
        foreign = origin is not None and urlsplit(origin).netloc != host
        cors = self._cors(origin) if foreign and origin in self._origins else []
        if foreign and not cors and (scope["method"] not in _SAFE or scope["method"] == "OPTIONS"):
            await _refuse(send, 403, "bad_origin", "That page may not use this server; add it to `origins`.")
            return
        if scope["method"] == "OPTIONS" and cors:
            await _answer(send, 204, b"", cors)
            return
        if self._needs_key(scope["path"]) and not self._knows(headers):
            await _refuse(send, 401, "unauthorized", "A key is needed: header `Token`.", cors)
            return
        limit = self._limit_of(scope["path"])
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            await _refuse(send, 413, "too_large", f"More than {limit >> 20} MiB; see `limits`.", cors)
            return
        await self._app(scope, _counted(receive, limit), _with_headers(send, cors))

    def _needs_key(self, path: str) -> bool:
        return self._key is not None and path not in _OPEN and not self._page(path)

    def _cors(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        return [
            (b"access-control-allow-origin", (origin or "").encode("latin-1")),
            (b"access-control-allow-methods", _METHODS.encode()),
            (b"access-control-allow-headers", _HEADERS.encode()),
            (b"access-control-max-age", b"600"),
            (b"vary", b"Origin"),
        ]

    def _knows(self, headers: dict[str, str]) -> bool:
        assert self._key is not None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = [headers.get("token", ""), token if scheme.lower() == "bearer" else "", _cookie(headers)]
        return any(hmac.compare_digest(key.encode(), self._key.encode()) for key in given if key)


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _cookie(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _counted(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, f"More than {limit >> 20} MiB; see `limits`.")
        return message

    return counted


def _with_headers(send: Send, extra: Iterable[tuple[bytes, bytes]]) -> Send:
    extra = list(extra)
    fixed = [
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        *extra,
    ]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *fixed]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def _refuse(
    send: Send, status: int, code: str, message: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    # `success` is what X-AnyLabeling's server says; its client reads the status line alone.
    body = json.dumps({"success": False, "error": {"code": code, "message": message}}).encode()
    await _answer(send, status, body, [(b"content-type", b"application/json"), *headers])
