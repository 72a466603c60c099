"""Runs the server until it is stopped."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from keepsight.core import InputError
from keepsight.server.config import ServerConfig
from keepsight.server.memory import share_arenas

_GRACE_S = 3
_MORE_PORTS = 20


def listen(host: str, port: int, *, or_next: bool = False) -> socket.socket:
    """A socket that is bound before anything is loaded, so that a port in use is said at once.

    Args:
        port: 0: any that is free.
        or_next: one of the next ports will do as well.

    Raises:
        InputError: in use, or not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last: OSError | None = None
    for candidate in range(port, min(port + _MORE_PORTS, 65535) + 1) if or_next and port else [port]:
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, candidate))
            bound.listen(128)
            return bound
        except OSError as error:
            bound.close()
            last = error
    assert last is not None
    raise InputError(f"Cannot listen on {host}:{port}: {last.strerror or last}. Choose another with --port.")


def serve(
    config: ServerConfig,
    paths: Sequence[Path],
    *,
    browser: bool = False,
    or_next_port: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serves until Ctrl-C or SIGTERM; jobs that are going then can be resumed.

    Args:
        paths: videos, folders and projects to open, besides ``config.roots``.
        browser: opens the page in a browser once the server listens.
        say: told where the server is.

    Raises:
        InputError: nothing to open, or an address that cannot be used.
    """
    from keepsight.server.app import create_app, make_workshop
    from keepsight.server.catalog import Catalog

    share_arenas()
    catalog = Catalog([*paths, *config.roots], config.projects)
    bound = listen(config.host, config.port, or_next=or_next_port)
    with bound:
        workshop = make_workshop(config)
        app = create_app(config, catalog, workshop)
        settings = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE_S, server_header=False)
        host = "localhost" if config.host in ("127.0.0.1", "::1", "0.0.0.0", "::") else config.host
        address = f"http://{host}:{bound.getsockname()[1]}/"
        say(f"Keepsight is at {address} (Ctrl-C stops it; everything is saved as you go).")
        if browser:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        Server(settings, app.end_streams).run(sockets=[bound])


class Server(uvicorn.Server):
    """Ends the streams, which are followed for as long as a page is open, before it waits for requests to end."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)
