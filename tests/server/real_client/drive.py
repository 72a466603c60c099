"""Drives the real X-AnyLabeling client without a window; run by its own Python, never by Keepsight's.

    python drive.py SCENARIO URL KEY IMAGES

Prints what the client knew after each step as one line of JSON. It calls what the client's window calls, and hands it a widget
that has what a window has.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import anylabeling.config as client_config
import requests
from PyQt6 import QtGui, QtWidgets


class Dialog:
    """The progress dialog; ``at_tick`` is called whenever the client repaints it."""

    def __init__(self, at_tick=lambda: None):
        self.ticks, self.at_tick = 0, at_tick

    def setValue(self, value):
        self.ticks += 1
        self.at_tick()

    def __getattr__(self, name):
        return lambda *_: None


class Window:
    """What Auto Run asks of the window."""

    def __init__(self, images):
        self.image_list = [str(path) for path in images]
        self.output_dir = None
        self.cancel_processing = False
        self._progress_dialog = Dialog()
        self._config = {"store_data": False}
        self._batch_processing_active = True


class Client:
    def __init__(self, url, key, folder):
        self.images = sorted(Path(folder).glob("*.png"))
        self.said = []
        self.window = Window(self.images)
        client_config.current_config_file = str(Path.home() / ".xanylabelingrc")
        settings = client_config.get_config(client_config.current_config_file)
        settings["remote_server_settings"] = {"server_url": url, "api_key": key or None}
        client_config.save_config(settings)
        from anylabeling.services.auto_labeling.remote_server import RemoteServer

        names = {"type": "remote_server", "name": "remote_server", "display_name": "Remote-Server"}
        self.model = RemoteServer(names, self.said.append)
        self.model._widget = self.window

    def models(self):
        found = self.model.get_available_models()
        return {id: entry["display_name"] for id, entry in found.items()}

    def choose(self, what="video_masks"):
        id = next(id for id in self.models() if id.endswith(what))
        self.model.set_model_id(id)
        self.model.set_auto_labeling_conf(0.25)
        self.model.set_mask_fineness(0.001)
        return self.model.get_batch_processing_mode()

    def send(self, text, frame=0):
        return self._predict(frame, text_prompt=text)

    def click(self, *marks, frame=0):
        self.model.set_auto_labeling_marks([{"type": "point", "data": [x, y], "label": on} for x, y, on in marks])
        return self._predict(frame)

    def finish(self, label, group_id):
        self.model.set_cache_auto_label(label, group_id)

    def auto_run(self, first=0, last=None):
        window = self.window
        window.cancel_processing = False
        window._batch_start_index = first
        window._batch_end_index = len(self.images) if last is None else last + 1  # exclusive
        self._predict(first, run_tracker=True)
        return window._progress_dialog.ticks

    def _predict(self, frame, **how):
        path = str(self.images[frame])
        result = self.model.predict_shapes(QtGui.QImage(path), path, **how)
        return [[shape.label, shape.group_id, len(shape.points)] for shape in (result.shapes if result else [])]


def discover(client):
    return [client.models(), client.choose(), client.choose("image_masks")]


def text(client):
    client.choose()
    return [client.send("red, blue"), client.auto_run()]


def ranged(client):
    client.choose("video_boxes")
    return [client.send("red", 5), client.auto_run(2, 8)]


def points(client):
    client.choose()
    steps = [client.click((30, 25, 1)), client.click((30, 25, 1), (50, 60, 0))]
    client.finish("cow", 7)
    return [*steps, client.auto_run()]


def cancelled(client):
    client.choose()
    steps = [client.send("red")]
    dialog = client.window._progress_dialog

    def at_tick():
        client.window.cancel_processing = dialog.ticks >= 5

    dialog.at_tick = at_tick
    steps += [client.auto_run(), [file.name for file in client.images[0].parent.glob("*.json")]]
    dialog.at_tick = lambda: None
    return [*steps, client.send("red"), client.auto_run()]


def lost(client):
    client.choose()
    steps = [client.send("red")]
    address = f"{client.model.server_url}/v1/video/cleanup/{client.model.video_session_id}"
    requests.post(address, params={"model": client.model.current_model_id}, timeout=10).raise_for_status()
    return [*steps, client.send("red"), client.send("red"), client.auto_run()]


def refused(client):
    return [client.models()]


def picture(client):
    client.choose("image_masks")
    return [client.send("red, blue"), client.click((30, 25, 1))]


def main():
    scenario, url, key, folder = sys.argv[1:]
    _app = QtWidgets.QApplication([])
    client = Client(url, key, folder)
    steps = globals()[scenario](client)
    print(json.dumps({"steps": steps, "said": [str(line) for line in client.said]}))


if __name__ == "__main__":
    main()
