"""A real server on a real port, with a generated clip and a tiny random model; and a real browser."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import uvicorn

sys.path.insert(0, str(Path(__file__).parents[1] / "annotation"))

import small_desks

from keepsight.annotation import Workshop
from keepsight.server.app import create_app, make_workshop
from keepsight.server.catalog import Catalog
from keepsight.server.config import load_config
from keepsight.server.serving import listen

if TYPE_CHECKING:
    from page_driver import PageDriver
    from playwright.sync_api import Browser

CHROMIUM = Path(os.environ.get("KEEPSIGHT_CHROMIUM", "/usr/bin/chromium"))
VIEW = {"width": 1366, "height": 768}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists() and not os.environ.get("KEEPSIGHT_NEED_CHROMIUM"):
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield running
        running.close()


@pytest.fixture
def visit(browser, tmp_path) -> Iterator[Callable[..., PageDriver]]:
    """A page in a browser of its own, as another person has it. At the end nothing may have gone wrong unseen.

    ``KEEPSIGHT_SCREENSHOTS`` names a folder for the screenshots.
    """
    from page_driver import PageDriver

    pictures = Path(os.environ.get("KEEPSIGHT_SCREENSHOTS") or tmp_path / "screenshots")
    pictures.mkdir(parents=True, exist_ok=True)
    drivers, contexts = [], []

    def open_page(address: str, video: str, frame: int = 0, **dress: Any) -> PageDriver:
        contexts.append(browser.new_context(**({"viewport": VIEW, "accept_downloads": True} | dress)))
        driver = PageDriver(contexts[-1], address, video, pictures)
        driver.open(frame)
        drivers.append(driver)
        return driver

    yield open_page
    for context in contexts:
        context.close()
    for driver in drivers:
        driver.client.close()
        assert driver.complaints == []


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    return small_desks.write_model(tmp_path_factory.mktemp("model"))


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of a server that runs in a thread of this process."""
    bound = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


@pytest.fixture
def start(tmp_path, tiny_model) -> Iterator[Callable[..., httpx2.Client]]:
    """Starts a server over ``tmp_path / "videos"``; gives a client. Stopped, and started again, it finds its projects."""
    videos = tmp_path / "videos"
    videos.mkdir()
    small_desks.write_clip(videos / "clip.mp4", small_desks.FRAMES)
    stack: list[Any] = []

    def stop() -> None:
        while stack:
            stack.pop()()

    def begin(**settings: Any) -> httpx2.Client:
        stop()
        given = {"projects": tmp_path / "projects", "models": (str(tiny_model),), "device": "cpu"} | settings
        config = load_config(None, **given)
        workshop: Workshop = make_workshop(config)
        context = running(create_app(config, Catalog([videos], config.projects), workshop))
        client = httpx2.Client(base_url=context.__enter__(), timeout=60)

        def end() -> None:
            client.close()
            context.__exit__(None, None, None)

        stack.append(end)
        return client

    yield begin
    stop()
