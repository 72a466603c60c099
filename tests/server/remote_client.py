"""What tests of the X-AnyLabeling API say and see: its requests, and a detector that knows the words "red" and "blue"."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import cv2
import httpx2
import numpy as np
import small_desks
import torch

from keepsight.annotation.live import LiveSession
from keepsight.concepts import Detections, choosing
from keepsight.formats.polygons import fill_polygons

FRAMES = 12
COLOURS = {"red": (220, 60, 40), "blue": (40, 200, 230)}


def pictures(count: int = FRAMES) -> list[bytes]:
    """PNG files of the clip that the tiny model follows."""
    return [cv2.imencode(".png", small_desks.picture(index)[..., ::-1])[1].tobytes() for index in range(count)]


def data_uris(files: list[bytes], mime: str = "image/png") -> list[str]:
    return [f"data:{mime};base64,{base64.b64encode(file).decode()}" for file in files]


class ColourDetector:
    """Finds areas of a colour by its name; keeps count of the frames that it was shown."""

    name, understands_words, frames_per_call = "colours", True, 1

    def __init__(self) -> None:
        self.looks = 0

    def detect(self, sights, concepts):
        self.looks += len(sights)
        return [self._on(np.asarray(sight.pixels(sight.whole)), concepts) for sight in sights]

    def _on(self, pixels, concepts):
        rows = []
        for concept in concepts:
            if concept.text in COLOURS:
                near = np.abs(pixels.astype(int) - COLOURS[concept.text]).max(axis=-1) < 30
                if near.any():
                    rows.append((concept.number, near))
        masks = torch.stack([torch.from_numpy(np.where(near, 4.0, -4.0)).float() for _, near in rows]) if rows else None
        if masks is None:
            return Detections.none()
        boxes = [cv2.boundingRect(near.astype(np.uint8)) for _, near in rows]
        corners = [(x, y, x + w, y + h) for x, y, w, h in boxes]
        return Detections.of([number for number, _ in rows], [0.9] * len(rows), corners, masks)


def understand_colours(monkeypatch: Any) -> ColourDetector:
    """Puts the detector where the best one that understands words would be."""
    detector = ColourDetector()
    monkeypatch.setattr(choosing, "choose", lambda *_: "colours")
    monkeypatch.setattr(choosing, "pick", lambda *_, **__: detector)
    return detector


class Desktop:
    """Speaks as the desktop client does."""

    def __init__(self, http: httpx2.Client, what: str = "video_masks", **headers: str) -> None:
        self.http, self.headers = http, headers
        self.model = next(id for id in self.data("GET", "/v1/models") if id.endswith(what))
        self.session = ""

    def call(self, method: str, path: str, **body: Any) -> httpx2.Response:
        return self.http.request(method, path, json=body or None, headers=self.headers)

    def data(self, method: str, path: str, **body: Any) -> Any:
        answer = self.call(method, path, **body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["success"] is True
        return answer.json()["data"]

    def init(self, frames: list[str] | None = None, **more: Any) -> dict[str, Any]:
        frames = data_uris(pictures()) if frames is None else frames
        made = self.data("POST", "/v1/video/init", model=self.model, frames=frames, **more)
        self.session = made["session_id"]
        return made

    def _about(self) -> dict[str, Any]:
        return {"session_id": self.session, "model": self.model}

    def text(self, text: str, frame: int = 0, conf: float = 0.25) -> list[dict[str, Any]]:
        params = {"conf_threshold": conf, "epsilon_factor": 0.001}
        about = {**self._about(), "text_prompt": text, "frame_index": frame, "params": params}
        return self.data("POST", "/v1/video/prompt", **about)["masks"]

    def point(self, *marks: tuple[int, int, int], frame: int = 0) -> list[dict[str, Any]]:
        points = [
            [float(np.float32(x / small_desks.WIDTH)), float(np.float32(y / small_desks.HEIGHT))] for x, y, _ in marks
        ]
        said = {"points": points, "point_labels": [on for _, _, on in marks], "obj_id": 10000, "params": {}}
        return self.data("POST", "/v1/video/prompt", **self._about(), frame_index=frame, **said)["masks"]

    def events(
        self, start: int, end: int | None = None, leave: Callable[[dict[str, Any]], bool] = lambda _: False
    ) -> list[dict[str, Any]]:
        """All events of an Auto Run; goes away in the middle where ``leave`` says so of one."""
        body: dict[str, Any] = {**self._about(), "start_frame": start}
        if end is not None:
            body["end_frame"] = end
        found = []
        with self.http.stream("POST", "/v1/video/propagate/stream", json=body, headers=self.headers) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    found.append(json.loads(line[6:]))
                    if leave(found[-1]):
                        return found
        return found

    def run(self, start: int, end: int | None = None) -> dict[int, list[dict[str, Any]]]:
        """Shapes by frame after an Auto Run."""
        last = self.events(start, end)[-1]
        assert last["type"] == "completed", last
        return {int(frame): item["masks"] for frame, item in last["results"].items()}

    def cleanup(self) -> None:
        self.data("POST", f"/v1/video/cleanup/{self.session}?model={self.model}")


def area(shapes: list[dict[str, Any]]) -> int:
    return fill_polygons([shape["points"] for shape in shapes], small_desks.HEIGHT, small_desks.WIDTH).area


def clip_of(http: httpx2.Client) -> str:
    """Address of the clip in the native API; there must be one."""
    ids = [line["id"] for line in http.get("/api/videos").json() if line["id"].startswith("anylabeling-")]
    assert len(ids) == 1, ids
    return f"/api/videos/{ids[0]}"


def jobs(http: httpx2.Client) -> list[dict[str, Any]]:
    """Everything that was ever tracked in the clip."""
    return http.get(f"{clip_of(http)}/jobs").json()


def frames_tracked(http: httpx2.Client) -> int:
    return sum(job["done"] for job in jobs(http))


class Gate:
    """Lets the tracker through frame by frame."""

    def __init__(self, monkeypatch: Any, permits: int = 0) -> None:
        self._permits = threading.Semaphore(permits)
        follow = LiveSession.follow

        def gated(session: LiveSession, *args: Any, **more: Any) -> Any:
            assert self._permits.acquire(timeout=60)
            return follow(session, *args, **more)

        monkeypatch.setattr(LiveSession, "follow", gated)

    def open(self, frames: int = 1000) -> None:
        self._permits.release(frames)
