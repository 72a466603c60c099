"""A real Chromium at the real server: what a person does on the sample clip, with the built-in model, ends up in the store."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium drives the page")

PATIENCE_MS = 60_000
ROCK, RABBIT = (92, 424, 257, 573), (228, 60, 610, 640)  # boxes on frame 100 of the sample clip, px


class Server:
    """`keepsight annotate` on the sample clip; killed and started again it finds its project."""

    def __init__(self, out: Path) -> None:
        self.out, self.port = out, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "keepsight.cli.main", "annotate", str(ROOT / "samples" / "bigbuckbunny.mp4")]
        options = ["--no-browser", "--port", str(self.port), "--out", str(self.out)]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://[\w.]+:(\d+)/", line)
        assert found, f"the server did not say where it is: {line!r}"
        self.port = int(found[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/{path}") as answer:
            body = answer.read()
        return json.loads(body) if answer.headers["Content-Type"].startswith("application/json") else body


class Person:
    """What someone at the page sees and does."""

    def __init__(self, page: Any, server: Server) -> None:
        self.page, self.server = page, server
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self.faults.extend(() if self.own(request.url) else (request.url,)))

    def own(self, url: str) -> bool:
        return url.startswith((f"http://127.0.0.1:{self.server.port}/", "blob:", "data:"))

    def open(self) -> None:
        self.page.goto(f"http://127.0.0.1:{self.server.port}/?frame=100")
        self.sees_frame(100)
        self.video = self.server.get("videos")[0]["id"]

    def sees_frame(self, frame: int) -> None:
        self.page.wait_for_selector(f"canvas[data-frame='{frame}']")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def goes_to(self, frame: int) -> None:
        self.page.get_by_role("textbox", name="Go to frame").fill(str(frame))
        self.press("Enter")
        self.page.locator("canvas.canvas").focus()
        self.sees_frame(frame)

    def place(self, x: float, y: float) -> tuple[float, float]:
        stage = self.page.locator("canvas.canvas").bounding_box()
        scale = min((stage["width"] - 16) / 1280, (stage["height"] - 16) / 720)
        left, top = (stage["width"] - 1280 * scale) / 2, (stage["height"] - 720 * scale) / 2
        return stage["x"] + left + x * scale, stage["y"] + top + y * scale

    def drags_box(self, box: tuple[int, int, int, int], label: str) -> None:
        self.press("r")
        self.page.mouse.move(*self.place(*box[:2]))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*box[2:]), steps=4)
        self.page.mouse.up()
        self.press("f")
        self.page.wait_for_selector("dialog")
        self.page.keyboard.type(label)
        self.press("Enter")
        self.page.wait_for_selector("dialog", state="detached")

    def waits(self) -> None:
        """Until everything that was sent has been answered, and no run goes on."""
        self.page.wait_for_timeout(200)
        for what in (".busy-line", ".running"):
            self.page.wait_for_selector(what, state="detached")

    def project(self) -> Any:
        return self.server.get(f"videos/{self.video}")

    def lanes(self) -> dict[int, Any]:
        return {lane["id"]: lane for lane in self.server.get(f"videos/{self.video}/timeline")["lanes"]}

    def counts(self, frame: int) -> dict[int, str]:
        masks = self.server.get(f"videos/{self.video}/masks?start={frame}&stop={frame + 1}")["frames"]
        return {item["id"]: item["counts"] for item in masks[0]["objects"]} if masks else {}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def person(browser, tmp_path) -> Iterator[Person]:
    server = Server(tmp_path / "projects")
    page = browser.new_page(viewport={"width": 1366, "height": 680})
    someone = Person(page, server)
    try:
        someone.open()
        yield someone
        assert someone.faults == []
    finally:
        page.close()
        server.kill()


def test_a_clip_is_annotated_corrected_and_exported(person):
    person.drags_box(ROCK, "rock")
    person.drags_box(RABBIT, "rabbit")
    person.waits()
    assert [o["label"] for o in person.project()["objects"]] == ["rock", "rabbit"]

    # Both ways in a range, cancelled after a reload in the middle, then continued: only the range, all of it.
    person.goes_to(96)
    person.press("[")
    person.goes_to(104)
    person.press("]")
    person.goes_to(100)
    person.page.get_by_label("Track: both ways").click()
    person.page.locator("canvas.canvas").focus()
    person.press("Control+b")
    person.page.wait_for_selector(".running")
    while sum(stop - start for start, stop in person.lanes()[1]["present"]) < 3:
        person.page.wait_for_timeout(50)
    person.page.reload()
    person.page.wait_for_selector(".running")
    person.press("x")
    person.waits()
    cancelled = {i: lane["present"] for i, lane in person.lanes().items()}
    assert all(spans and spans != [[96, 105]] for spans in cancelled.values())
    person.press("p")
    person.page.wait_for_selector(".running")
    person.waits()
    assert {i: lane["present"] for i, lane in person.lanes().items()} == {1: [[96, 105]], 2: [[96, 105]]}

    # A frame is accepted; a correction before it is tracked again up to there and no further.
    person.goes_to(103)
    person.press("v")
    person.waits()
    person.goes_to(101)
    before = {frame: person.counts(frame) for frame in range(96, 105)}
    person.page.get_by_role("button", name="rabbit 2").first.click()
    person.page.locator("canvas.canvas").focus()
    person.press("q")
    person.page.mouse.click(*person.place(420, 175), button="right")
    person.waits()
    person.press("y")
    person.waits()
    after = {frame: person.counts(frame) for frame in range(96, 105)}
    changed = {(frame, i) for frame in after for i in after[frame] if after[frame][i] != before[frame][i]}
    assert {i for _, i in changed} == {2}
    assert {frame for frame, _ in changed} <= {101, 102}
    assert (101, 2) in changed

    # Split, merged again with what it warns of, all of it undone.
    person.goes_to(101)
    person.press("Alt+g")
    dialog = person.page.locator("dialog")
    dialog.get_by_role("tab", name="Split").click()
    dialog.get_by_role("button", name="Split", exact=True).click()
    dialog.locator(".done").wait_for()
    assert {i: lane["present"] for i, lane in person.lanes().items()} == {
        1: [[96, 105]],
        2: [[96, 101]],
        3: [[101, 105]],
    }
    dialog.get_by_role("tab", name="Merge").click()
    dialog.locator("select").nth(0).select_option("3")
    dialog.locator("select").nth(1).select_option("1")
    dialog.locator(".warning input").check()
    dialog.get_by_role("button", name="Merge", exact=True).click()
    dialog.locator(".done").wait_for()
    person.press("Escape")
    assert sorted(o["id"] for o in person.project()["objects"]) == [1, 2]
    for _ in range(2):
        person.press("Control+z")
        person.waits()
    assert {frame: person.counts(frame) for frame in range(96, 105)} == after

    # What is downloaded is what is stored.
    person.press("Shift+s")
    person.page.get_by_role("radio", name="coco").check()
    with person.page.expect_download() as download:
        person.page.locator("dialog").get_by_role("button", name="Export", exact=True).click()
    archive = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    documents = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith(".json")]
    exported = {a["segmentation"]["counts"] for d in documents for a in d.get("annotations", [])}
    assert exported == {counts for frame in after.values() for counts in frame.values()}


def test_the_keyboard_is_enough_and_a_killed_server_loses_no_click(person):
    person.page.locator("canvas.canvas").focus()
    person.press("r", "j")
    # From the middle of the frame (640, 360) to one corner of the rock, then to the other.
    person.press(*["Shift+ArrowLeft"] * 27, *["Shift+ArrowDown"] * 3, "Enter")
    person.press(*["Shift+ArrowRight"] * 8, *["Shift+ArrowDown"] * 8, "Enter", "Escape")
    person.waits()
    assert [p["box"] for p in person.project()["prompts"]] == [[100, 420, 260, 580]]
    person.press("f")
    person.page.wait_for_selector("dialog")
    person.page.keyboard.type("rock")
    person.press("Enter")
    person.waits()

    person.server.kill()
    person.page.wait_for_selector(".connection.lost")
    person.press("q")
    person.page.mouse.click(*person.place(420, 330))
    person.page.wait_for_timeout(500)
    person.server.start()
    person.page.wait_for_selector(".connection.open")
    person.waits()
    assert [(p["object_id"], len(p["points"])) for p in person.project()["prompts"]] == [(1, 0), (2, 1)]
    assert [o["label"] for o in person.project()["objects"]] == ["rock", None]


def test_two_people_see_each_other(person, browser):
    person.drags_box(ROCK, "rock")
    other = Person(browser.new_page(viewport={"width": 1366, "height": 680}), person.server)
    other.open()
    person.page.get_by_text("people have this video open").wait_for(state="attached")
    other.press("ArrowDown", "F2")
    other.page.keyboard.type("boulder")
    other.press("Enter")
    person.page.get_by_role("button", name="boulder 1").first.wait_for()
    other.page.locator("canvas.canvas").focus()
    other.press("Control+z")
    person.page.get_by_role("button", name="rock 1").first.wait_for()
    assert other.faults == []
