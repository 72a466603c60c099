"""The real X-AnyLabeling desktop client works with this server.

Wants the Python of a virtual environment that holds it, and is left out otherwise; ``.ci/x-anylabeling`` makes one:

    KEEPSIGHT_XANYLABELING=.../bin/python pytest tests/server/test_real_client.py
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from remote_client import FRAMES, clip_of, frames_tracked, jobs, pictures, understand_colours

from keepsight.annotation.live import LiveSession

PYTHON = os.environ.get("KEEPSIGHT_XANYLABELING")
SCRIPTS = Path(__file__).parent / "real_client"
_KEPT = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")

pytestmark = pytest.mark.skipif(not PYTHON, reason="KEEPSIGHT_XANYLABELING does not name a Python with X-AnyLabeling")


@pytest.fixture
def drive(start, tmp_path, monkeypatch):
    """Runs a scenario of the driver, or the whole window; gives what came, and then the files that the client wrote."""
    understand_colours(monkeypatch)
    folder = tmp_path / "images"
    folder.mkdir()
    for index, data in enumerate(pictures()):
        (folder / f"{index:05d}.png").write_bytes(data)
    home = tmp_path / "home"
    home.mkdir()

    def call(script, *words):
        kept = {name: value for name, value in os.environ.items() if name in _KEPT}
        done = subprocess.run(
            [str(PYTHON), str(SCRIPTS / script), *words],
            env=kept | {"HOME": str(home), "QT_QPA_PLATFORM": "offscreen"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    def begin(**settings):
        # The tiny model follows nothing well, so that what it lost would be found again.
        run.http = start(anylabeling={"look_every": 0}, **settings)
        return str(run.http.base_url).rstrip("/")

    def run(scenario, key="", **settings):
        answer = call("drive.py", scenario, begin(**settings), key, str(folder))
        return answer["steps"], answer["said"]

    run.window = lambda text: call("window.py", begin(), str(folder), text)
    run.files = lambda: {int(file.stem): json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    return run


def shapes(files):
    return {frame: {(shape["label"], shape["group_id"]) for shape in data["shapes"]} for frame, data in files.items()}


def test_it_discovers_the_models(drive):
    (menu, video, picture), _ = drive("discover")
    assert next(iter(menu.values())).startswith("Masks, ")
    assert (len(menu), video, picture) == (4, "video", "text_prompt")


def test_text_and_auto_run(drive):
    (sent, _), _ = drive("text")
    assert [shape[:2] for shape in sent] == [["red", 1], ["blue", 2]]
    assert shapes(drive.files()) == {key: {("red", 1), ("blue", 2)} for key in range(FRAMES)}
    first = drive.files()[0]["shapes"][0]
    assert (first["shape_type"], first["score"]) == ("polygon", 0.9)
    # The client takes away the last point, which repeats the first one.
    assert first["points"][0] != first["points"][-1]


def test_a_range_around_the_prompted_frame(drive):
    drive("ranged")
    files = drive.files()
    assert shapes(files) == {key: {("red", 1)} for key in range(2, 9)}
    assert {shape["shape_type"] for data in files.values() for shape in data["shapes"]} == {"rectangle"}


def test_points_finish_and_auto_run(drive):
    (first, second, _), _ = drive("points")
    assert {shape[0] for shape in first + second} == {"AUTOLABEL_OBJECT"}
    assert shapes(drive.files()) == {key: {("cow", 7)} for key in range(FRAMES)}
    # Auto Run has said all points once more, and they are not there twice.
    assert len(drive.http.get(clip_of(drive.http)).json()["prompts"]) == 2
    assert frames_tracked(drive.http) == FRAMES - 1


def test_a_cancel_in_the_middle_loses_nothing(drive, monkeypatch):
    follow = LiveSession.follow

    def slowly(*args, **more):
        time.sleep(0.2)
        return follow(*args, **more)

    monkeypatch.setattr(LiveSession, "follow", slowly)
    (_, _, files, again, _), said = drive("cancelled")
    assert files == []  # the client throws away what it has
    assert [shape[:2] for shape in again] == [["red", 1]]
    assert shapes(drive.files()) == {key: {("red", 1)} for key in range(FRAMES)}
    second, first = jobs(drive.http)
    assert (first["state"], second["state"]) == ("cancelled", "finished")
    assert 0 < first["done"] < FRAMES - 1
    assert frames_tracked(drive.http) == FRAMES - 1
    assert len([line for line in said if "initializing video session" in line]) == 2


def test_a_lost_session_is_begun_anew(drive):
    (before, during, after, _), said = drive("lost")
    assert (before, during, after) == (before, [], before)
    assert any("404" in line for line in said)
    assert len(drive.files()) == FRAMES


def test_a_key_opens_and_a_wrong_one_shows_an_empty_menu(drive):
    assert drive("refused", key="a wrong key", api_key="the right key")[0] == [{}]
    assert len(drive("refused", key="the right key", api_key="the right key")[0][0]) == 4


def test_single_pictures_by_words_and_points(drive):
    (found, clicked), _ = drive("picture")
    assert [shape[:2] for shape in found] == [["red", 1], ["blue", 2]]
    assert {shape[0] for shape in clicked} == {"AUTOLABEL_OBJECT"}


def test_its_window_asks_for_the_server_sends_words_and_runs(drive):
    dialogs = drive.window("red, blue")
    assert dialogs[0] == "RemoteServerDialog"
    assert dialogs[1].startswith("Masks, ")
    assert dialogs[2] == "BatchRangeDialog"
    assert shapes(drive.files()) == {key: {("red", 1), ("blue", 2)} for key in range(FRAMES)}
