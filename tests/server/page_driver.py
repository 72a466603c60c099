"""Works the page as a person does: pointer, keys, and what can be read on the screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, Response, expect

WAIT_MS = 120_000  # for what a tracker does on a busy machine; reached only by failures
expect.set_options(timeout=WAIT_MS)


class PageDriver:
    """One page that shows one video.

    Frame positions are px of the video.

    Attributes:
        page: Playwright's.
        complaints: errors on the page's console, requests that were refused, and such that left the server.
        alone: whether the server was away at times; failed requests are then no complaint.
        api: of the video, straight to the server, past the page.
    """

    def __init__(self, context: BrowserContext, address: str, name: str, pictures: Path) -> None:
        self._address, self._pictures = address, pictures
        self.alone = False
        self.complaints: list[str] = []
        self.client = httpx2.Client(base_url=address, timeout=60)
        (line,) = [line for line in self.client.get("/api/videos").json() if Path(line["name"]).stem == name]
        self.at, self.id = f"/api/videos/{line['id']}", line["id"]
        context.set_default_timeout(WAIT_MS)
        self.page: Page = context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._check_address)
        self.page.on("response", self._check_answer)

    def _hear(self, said: ConsoleMessage) -> None:
        refused = "the server responded with a status of" in said.text  # told better by the answer itself
        if said.type == "error" and not refused and not (self.alone and "net::ERR_" in said.text):
            self.complaints.append(said.text)

    def _check_answer(self, answer: Response) -> None:
        if answer.status >= 400:
            self.complaints.append(f"{answer.request.method} {answer.url} {answer.request.post_data}: {answer.status}")

    def _check_address(self, request: Request) -> None:
        if not request.url.startswith((self._address, "blob:", "data:")):
            self.complaints.append(f"asked for {request.url}")

    def open(self, frame: int = 0) -> None:
        self.page.goto(f"{self._address}/?video={self.id}&frame={frame}")
        self.shows(frame)
        self.is_connected()
        video = self.get()
        self._size = video["width"], video["height"]

    # ---- what is on the screen ----

    @property
    def stage(self) -> Locator:
        return self.page.locator("canvas[aria-roledescription='video frame']")

    @property
    def notice(self) -> Locator:
        return self.page.locator(".notice")

    def is_connected(self) -> None:
        expect(self.page.locator(".connection.open")).to_be_visible()

    def shows(self, frame: int) -> None:
        expect(self.stage).to_have_attribute("data-frame", str(frame))

    def paints(self, masks: int) -> None:
        """Waits until so many masks are painted on the frame in view."""
        expect(self.stage).to_have_attribute("data-masks", str(masks))

    def says(self, text: str | re.Pattern[str]) -> None:
        expect(self.notice).to_contain_text(text)

    def has_done(self, frames: int) -> None:
        """Waits until the run that is shown has visited so many frames."""
        self.page.wait_for_function(
            "least => parseInt(document.querySelector('.running .count')?.textContent ?? '-1') >= least", arg=frames
        )

    def runs_to_its_end(self) -> None:
        self.says("Finished")
        expect(self.button("Auto Run")).to_be_visible()

    def picture(self, name: str) -> None:
        """Keeps a screenshot."""
        self.page.screenshot(path=self._pictures / f"{name}.png")

    # ---- what a person does ----

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def go_to(self, frame: int) -> None:
        field = self.page.get_by_role("textbox", name="Go to frame")
        field.fill(str(frame))
        field.press("Enter")
        field.blur()
        self.shows(frame)

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self._on_screen(x, y))

    def drag(self, *way: tuple[float, float]) -> None:
        self.page.mouse.move(*self._on_screen(*way[0]))
        self.page.mouse.down()
        for point in way[1:]:
            self.page.mouse.move(*self._on_screen(*point))
        self.page.mouse.up()

    def _on_screen(self, x: float, y: float) -> tuple[float, float]:
        """The whole frame lies in the middle of the stage, with a margin of 8 px."""
        stage = self.stage.bounding_box()
        assert stage is not None
        width, height = self._size
        scale = min((stage["width"] - 16) / width, (stage["height"] - 16) / height)
        left = stage["x"] + (stage["width"] - scale * width) / 2
        top = stage["y"] + (stage["height"] - scale * height) / 2
        return left + x * scale, top + y * scale

    def finish(self, label: str) -> None:
        """Names the selected object, as F does."""
        self.press("f")
        dialog = self.page.get_by_role("dialog", name="Finish object")
        dialog.get_by_label("Label").fill(label)
        dialog.get_by_role("button", name="Finish").click()
        expect(dialog).to_have_count(0)

    def select(self, name: str) -> None:
        """Selects an object in the list."""
        entry = self.page.locator("button.object-name", has_text=re.compile(name))
        if entry.get_attribute("aria-pressed") != "true":
            entry.click()
        self.stage.focus()

    def undo(self) -> None:
        self.steps("undo", lambda: self.press("Control+z"))
        self.button("Close this line").click()

    def redo(self) -> None:
        self.steps("redo", lambda: self.press("Control+Shift+Z"))
        self.button("Close this line").click()

    def steps(self, way: str, press: Callable[[], None]) -> None:
        """Goes a step back (``undo``) or on (``redo``) as ``press`` does; the project has it when this returns."""
        # What the page says may still be of the step before; the answer cannot be.
        with self.page.expect_response(lambda answer: answer.url == f"{self._address}{self.at}/{way}"):
            press()
        self.says("Undone" if way == "undo" else "Done again")

    def escape(self) -> None:
        """Closes a dialog. The page does so itself, at once; the browser would with its next picture, and lose keys till then."""
        self.page.evaluate(
            "window.taken = new Promise(tell => addEventListener("
            "'keydown', event => setTimeout(() => tell(event.defaultPrevented)), {once: true})); null"
        )
        self.press("Escape")
        assert self.page.evaluate("window.taken") is True

    def export(self, format: str, folder: Path) -> Path:
        self.press("Control+s")
        dialog = self.page.get_by_role("dialog", name="Export")
        dialog.get_by_role("radio", name=re.compile(rf"^{format}\b")).check()
        self.picture(f"export_{format}")
        with self.page.expect_download() as saved:
            dialog.get_by_role("button", name="Export").click()
        path = folder / saved.value.suggested_filename
        saved.value.save_as(path)
        dialog.get_by_role("button", name="Close").last.click()
        return path

    # ---- what the server has stored ----

    def get(self, path: str = "", **params: Any) -> Any:
        answer = self.client.get(f"{self.at}{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def masks(self, object_id: int) -> dict[int, str]:
        """Stored run lengths by frame; of frames where the object is absent too."""
        frames = self.get("/masks", start=0, stop=self.get()["frame_count"])["frames"]
        return {item["frame"]: mask["counts"] for item in frames for mask in item["objects"] if mask["id"] == object_id}

    def lane(self, object_id: int) -> dict[str, Any]:
        return next(lane for lane in self.get("/timeline")["lanes"] if lane["id"] == object_id)

    def newest_job(self) -> dict[str, Any]:
        return self.get("/jobs")[0]

    def put_mask(self, frame: int, object_id: int, counts: str) -> None:
        """Stores a mask past the page, as another program would."""
        answer = self.client.put(f"{self.at}/masks/{frame}/{object_id}", json={"counts": counts})
        assert answer.status_code == 200, answer.text


def changed(before: dict[int, str], after: dict[int, str]) -> set[int]:
    """Frames whose masks are not what they were."""
    return {frame for frame in before.keys() | after.keys() if before.get(frame) != after.get(frame)}
