"""A real browser works the real page of a real server with the built-in model, on frames of the sample clip.

``KEEPSIGHT_SCREENSHOTS`` names a folder for the screenshots; with ``KEEPSIGHT_NEED_CHROMIUM`` a missing browser is a failure.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from page_driver import PageDriver, changed, expect
from server_process import ServerProcess

from keepsight.core import Mask
from keepsight.store import Project
from keepsight.video import VideoWriter, open_video

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "bigbuckbunny.mp4"
RABBIT, SKY, FAR_ROCK = (450, 330), (1150, 150), (900, 360)  # px, on frame 10 of the clips
ROCK = (92, 424), (150, 500), (257, 573)
NAMES, LENGTH = ("story", "identities", "together", "at_once", "keyboard", "power"), 20


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """The sample clip from frame 90 on, once for each test."""
    folder = tmp_path_factory.mktemp("videos")
    first, *others = (folder / f"{name}.mp4" for name in NAMES)
    with open_video(SAMPLE) as source, VideoWriter(first, height=720, width=1280, fps=25) as writer:
        for frame in source.frames(90, 90 + LENGTH):
            writer.write(frame.rgb)
    for path in others:
        shutil.copy(first, path)
    return folder


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("projects")


@pytest.fixture(scope="module")
def server(videos, projects) -> Iterator[ServerProcess]:
    process = ServerProcess(videos, projects)
    yield process
    process.stop()


@pytest.fixture(autouse=True)
def let_go(server) -> Iterator[None]:
    """A test that fails while it holds jobs back must not hold those of the next one."""
    yield
    server.let_go()


def point_at_two(page: PageDriver) -> None:
    """A click on the rabbit, a box around the rock, a name for each."""
    page.click(*RABBIT)
    page.paints(1)
    page.finish("rabbit")
    page.press("r")
    page.drag(*ROCK)
    page.paints(2)
    page.finish("rock")


def test_from_two_objects_to_an_export(server, projects, visit, tmp_path):
    page = visit(server.address, "story", 10)
    page.picture("opened")
    point_at_two(page)
    page.picture("two_objects")
    assert [item["label"] for item in page.get()["objects"]] == ["rabbit", "rock"]

    # Both ways, cancelled in the middle: what was tracked stays, and is not tracked again.
    page.button("Track: both ways").click()
    server.hold(3)
    page.press("m")
    page.has_done(3)
    page.picture("tracking")
    page.press("x")
    page.says("Cancelled")
    server.let_go()
    job = page.newest_job()
    assert (job["state"], job["done"], job["total"]) == ("cancelled", 3, 19)
    kept = {number: page.masks(number) for number in (1, 2)}
    assert len(kept[1]) == len(kept[2]) == 1 + job["done"]
    page.picture("cancelled")
    page.button("Continue").click()
    page.runs_to_its_end()
    again = page.newest_job()
    assert (again["id"], again["state"], again["done"]) == (job["id"], "finished", 19)
    first = {number: page.masks(number) for number in (1, 2)}
    for number in (1, 2):
        assert list(first[number]) == list(range(20))
        assert changed(kept[number], first[number]).isdisjoint(kept[number])
    page.go_to(19)
    page.paints(2)
    page.picture("tracked")

    # A correction reaches as far as the next accepted frame and no farther, and one object only.
    page.go_to(16)
    page.press("v")
    page.says("Frame 16 accepted")
    page.go_to(13)
    page.select("rabbit")
    page.press("e")
    page.click(*SKY)
    page.says("Corrected rabbit 1")
    page.button("Close this line").click()
    assert page.masks(1) == first[1], "where it is not, nothing is taken away"
    page.click(*tip_of(first[1][13]))
    page.says("Corrected rabbit 1")
    page.picture("corrected")
    corrected = page.masks(1)
    assert changed(first[1], corrected) == {13}
    page.press("y")
    page.runs_to_its_end()
    job = page.newest_job()
    assert (job["done"], job["total"], job["objects"]) == (2, 2, [1])
    second = page.masks(1)
    assert changed(corrected, second) <= {14, 15}
    assert changed(corrected, second)
    assert page.masks(2) == first[2]
    lane = page.lane(1)
    assert (lane["corrected"], lane["accepted"]) == ([13], [16])
    page.picture("tracked_again")

    # What was tracked and what was said goes back, the latest first, and comes again.
    steps = [
        ("track 2 frames", second, [16]),
        ("point at object 1 on frame 13", corrected, [16]),
        ("point at object 1 on frame 13", first[1], [16]),
        ("accept frame 16", first[1], [16]),
        ("track 19 frames", first[1], []),
    ]
    for (name, _, _), (_, masks, accepted) in pairwise(steps):
        expect(page.button(f"Undo: {name}")).to_be_enabled()
        page.undo()
        assert (page.masks(1), page.lane(1)["accepted"]) == (masks, accepted)
    expect(page.button(f"Undo: {steps[-1][0]}")).to_be_enabled()
    for name, masks, accepted in reversed(steps[:-1]):
        expect(page.button(f"Do again: {name}")).to_be_enabled()
        page.redo()
        assert (page.masks(1), page.lane(1)["accepted"]) == (masks, accepted)

    # A range is tracked again: a hole in it is filled, nothing outside is touched.
    page.go_to(6)
    page.select("rock")
    page.press("Delete")
    page.paints(1)
    assert 6 not in page.masks(2)
    page.go_to(7)
    page.press("]")
    page.go_to(4)
    page.press("[")
    expect(page.page.get_by_text("frames 4–7")).to_be_visible()
    page.press(".")
    page.runs_to_its_end()
    assert page.newest_job()["total"] == 3
    rock = page.masks(2)
    assert 6 in rock
    for number, before in ((1, second), (2, first[2])):
        assert changed(before, page.masks(number)) <= {5, 6, 7}
    page.go_to(6)
    page.paints(2)

    # What the browser saved is what the project holds.
    with zipfile.ZipFile(page.export("ytvis", tmp_path)) as archive:
        tracks = json.loads(archive.read("annotations.json"))["annotations"]
    stored = stored_masks(projects / page.id / "project.keepsight")
    assert {track["id"] for track in tracks} == set(stored) == {1, 2}
    for track in tracks:
        exported = {at: Mask.from_coco(item) for at, item in enumerate(track["segmentations"]) if item is not None}
        assert exported == {at: mask for at, mask in stored[track["id"]].items() if mask.area}
    assert {frame: mask.counts.decode() for frame, mask in stored[2].items()} == rock


def tip_of(counts: str) -> tuple[float, float]:
    """A place inside of a mask near its top."""
    rows, columns = Mask(720, 1280, counts.encode()).to_array().nonzero()
    row = rows.min() + 12
    here = columns[rows == row]
    return float(here[len(here) // 2]), float(row)


def stored_masks(path: Path) -> dict[int, dict[int, Mask]]:
    """Masks by object and frame, read from a project file."""
    found: dict[int, dict[int, Mask]] = {}
    with Project.open(path, read_only=True) as project:
        for result in project.results(1):
            for item in result.objects:
                found.setdefault(item.object_id, {})[result.frame] = item.mask
    return found


def test_identities_are_mended_in_the_track_manager(server, visit):
    page = visit(server.address, "identities")
    for number, frames in ((1, range(10)), (2, range(9, 20))):
        page.client.post(f"{page.at}/objects", json={"label": "cow"})
        for frame in frames:
            box = (300 + 20 * frame, 200, 420 + 20 * frame, 300)
            page.put_mask(frame, number, Mask.from_box(720, 1280, *box).counts.decode())
    expect(page.page.locator("button.object-name")).to_have_count(2)  # another program's objects appear by themselves
    page.paints(1)
    states = [objects(page)]

    page.press("Alt+g")
    tracks = page.page.get_by_role("dialog", name="Tracks")

    def make(tab: str, verb: str) -> None:
        button = tracks.get_by_role("button", name=verb, exact=True)
        expect(button).to_be_enabled()
        page.picture(f"tracks_{tab.lower()}")
        button.click()
        expect(tracks.locator(".done")).to_be_visible()
        states.append(objects(page))

    tracks.get_by_role("tab", name="Split").click()
    tracks.get_by_label(re.compile("^Track")).select_option("1")
    # As a slow hand does it: before the first frame there is nothing, so nothing is asked about.
    page.page.wait_for_timeout(500)
    expect(tracks.get_by_role("button", name="Split", exact=True)).to_be_disabled()
    tracks.get_by_label("First frame of the second part").fill("5")
    tracks.get_by_label("First frame of the second part").press("Tab")
    make("Split", "Split")
    assert {number: list(masks) for number, masks in states[-1].items()} == {
        1: list(range(5)),
        2: list(range(9, 20)),
        3: list(range(5, 10)),
    }

    tracks.get_by_role("tab", name="Merge").click()
    tracks.get_by_label(re.compile("^This track")).select_option("3")
    tracks.get_by_label(re.compile("^becomes part of")).select_option("1")
    make("Merge", "Merge")
    assert states[-1] == states[0]

    # Where both have a mask the page warns, and does nothing before the warning is ticked.
    tracks.get_by_label(re.compile("^This track")).select_option("2")
    tracks.get_by_label(re.compile("^becomes part of")).select_option("1")
    warning = tracks.get_by_role("checkbox")
    expect(warning).to_be_visible()
    expect(tracks.get_by_role("button", name="Merge", exact=True)).to_be_disabled()
    page.picture("tracks_warning")
    warning.check()
    make("Merge", "Merge")
    assert {number: list(masks) for number, masks in states[-1].items()} == {1: list(range(20))}
    assert states[-1][1][9] == states[0][1][9]

    tracks.get_by_role("tab", name="Change id").click()
    tracks.get_by_label(re.compile("^Track")).select_option("1")
    tracks.get_by_label("New id").fill("7")
    make("Change id", "Change id")
    assert states[-1] == {7: states[-2][1]}

    page.press("Escape")
    expect(tracks).to_have_count(0)
    for name, expected in [("undo", states[i]) for i in (3, 2, 1, 0)] + [("redo", states[i]) for i in (1, 2, 3, 4)]:
        getattr(page, name)()
        assert objects(page) == expected
        expect(page.page.locator("button.object-name")).to_have_count(len(expected))
    page.go_to(15)
    page.paints(1)


def objects(page: PageDriver) -> dict[int, dict[int, str]]:
    """What every object is, by id."""
    return {item["id"]: page.masks(item["id"]) for item in page.get()["objects"]}


def test_a_first_click_shows_a_mask_before_the_frame_was_looked_at_closely(server, visit):
    page = visit(server.address, "at_once", 10)
    held = []
    page.page.route("**/look", lambda route: route.fulfill(status=202, json={}))
    page.page.route("**/prompts", lambda route: held.append(route))
    page.click(*RABBIT)
    expect(page.stage).to_have_attribute("data-preview", "shown")
    page.picture("at_once")
    page.paints(0)
    assert page.get()["objects"] == []
    held[0].continue_()
    page.paints(1)
    expect(page.stage).to_have_attribute("data-preview", "")
    assert len(page.masks(1)) == 1


def test_the_keyboard_is_enough(server, visit):
    page = visit(server.address, "keyboard", 10)
    # A box from one corner of the rock to the other, with the pointer of the keyboard, which begins in the middle.
    page.press("r", "j", *["Shift+ArrowLeft"] * 27, *["Shift+ArrowDown"] * 3, "Enter")
    page.press(*["Shift+ArrowRight"] * 8, *["Shift+ArrowDown"] * 8, "Enter", "Escape")
    page.paints(1)
    assert [item["box"] for item in page.get()["prompts"]] == [[100, 420, 260, 580]]
    page.press("f")
    expect(page.page.get_by_role("dialog", name="Finish object")).to_be_visible()
    page.page.keyboard.type("rock")
    page.press("Enter")
    page.says("Finished rock 1")
    page.press("d", "d", "]", "a", "a", "[", ".")
    page.runs_to_its_end()
    assert (list(page.masks(1)), page.get()["objects"][0]["label"]) == ([10, 11, 12], "rock")
    page.press("ArrowDown", "Shift+Delete")
    page.says("Deleted rock 1")
    page.press("u")
    page.says("Undone")
    assert list(page.masks(1)) == [10, 11, 12]
    page.press("?")
    page.picture("shortcuts")
    expect(page.page.get_by_role("dialog")).to_be_visible()
    page.press("Escape")
    page.press("Alt+l")
    expect(page.page.get_by_role("dialog")).to_contain_text("rock")
    page.picture("labels")


def test_two_people_on_one_video_see_what_the_other_does(server, visit):
    ann, ben = visit(server.address, "together", 10), visit(server.address, "together", 10, color_scheme="dark")
    for page in (ann, ben):
        expect(page.page.locator(".people")).to_contain_text("2")
    ann.click(*RABBIT)
    for page in (ann, ben):
        page.paints(1)
    ben.select("object")
    ben.press("F2")
    name = ben.page.get_by_label("New label of object 1")
    name.fill("rabbit")
    name.press("Enter")
    for page in (ann, ben):
        expect(page.page.locator("button.object-name")).to_contain_text("rabbit")
    server.hold(2)
    ann.press(".")
    ben.has_done(2)
    ben.picture("another_ones_run_dark")
    ben.button("Cancel").click()
    for page in (ann, ben):
        page.says("Cancelled")
        expect(page.button("Continue")).to_be_visible()
    server.let_go()
    assert set(ann.masks(1)) == {10, 11, 12}
    # What one takes back the other sees too: first what was tracked, then the name.
    ben.undo()
    assert set(ann.masks(1)) == {10}
    ann.go_to(11)
    ann.paints(0)
    ben.undo()
    for page in (ann, ben):
        expect(page.page.locator("button.object-name")).not_to_contain_text("rabbit")


def test_a_run_outlives_the_page_and_its_frames_the_server(videos, tmp_path, visit):
    server = ServerProcess(videos, tmp_path / "projects")
    try:
        page = visit(server.address, "power", 10)
        point_at_two(page)
        server.hold(3)
        page.press("m")
        page.has_done(3)
        page.page.reload()
        server.hold(4)
        page.has_done(4)  # it goes on
        page.press("p")
        expect(page.button("Resume")).to_be_visible()
        before = page.masks(1)
        assert len(before) == 1 + page.newest_job()["done"] == 5
        page.go_to(11)
        page.paints(2)
        page.picture("paused_after_reload")
        server.hold(6)
        page.press("p")
        page.has_done(6)
        page.alone = True
        server.kill()
        expect(page.page.get_by_text("Connection lost")).to_be_visible()
        page.click(*FAR_ROCK)
        page.picture("connection_lost")
        server.begin()
        page.is_connected()
        expect(page.page.locator("button.object-name")).to_have_count(3)  # the click waited for the server
        assert [len(item["points"]) for item in page.get()["prompts"] if item["object_id"] == 3] == [1]
        job, kept = page.newest_job(), page.masks(1)
        assert job["state"] == "interrupted"
        assert len(kept) == 1 + job["done"] == 7
        server.let_go()
        page.button("Continue").click()
        page.runs_to_its_end()
        page.picture("gone_on_after_power_loss")
        after = page.masks(1)
        assert list(after) == list(range(10, LENGTH))
        assert changed(kept, after).isdisjoint(kept)
        assert page.newest_job()["id"] == job["id"]
    finally:
        server.stop()
