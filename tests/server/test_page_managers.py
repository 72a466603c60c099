"""Label and track manager, clicked through in a real browser: what each change says beforehand, does, and undoes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from page_driver import PageDriver, expect
from server_process import ServerProcess

from keepsight.core import Mask
from keepsight.store import Project
from keepsight.video import VideoWriter

HEIGHT, WIDTH, FRAMES = 180, 320, 12
NAMES = ("labels", "labels_in_range", "tracks")


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[ServerProcess, Path]]:
    folder, projects = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("projects")
    for name in NAMES:
        with VideoWriter(folder / f"{name}.mp4", height=HEIGHT, width=WIDTH, fps=25) as writer:
            for frame in range(FRAMES):
                writer.write(np.full((HEIGHT, WIDTH, 3), 40 + 10 * frame, np.uint8))
    server = ServerProcess(folder, projects)
    yield server, projects
    server.stop()


class Manager:
    """A dialog at work, beside what the project file says."""

    def __init__(self, page: PageDriver, projects: Path, key: str, title: str) -> None:
        self._title = title.lower()
        self.page, self.path = page, projects / page.id / "project.keepsight"
        page.press(key)
        self.dialog = page.page.get_by_role("dialog", name=title)
        self.states = [self.state()]

    def state(self):
        """Objects and masks, from the file."""
        with Project.open(self.path, read_only=True) as project:
            objects = {o.object_id: (o.label, o.colour, o.hidden, o.locked) for o in project.objects(1)}
            masks = {one: {at: item.mask for at, item in project.masklet(1, one)} for one in objects}
        return objects, masks

    def do(self, verb: str, says: str) -> None:
        """Reads what would change, sees that nothing has yet, makes it, sees that something has."""
        expect(self.dialog.get_by_role("status")).to_contain_text(says)
        assert self.state() == self.states[-1]
        warning = self.dialog.get_by_role("checkbox")
        if warning.count():
            warning.check()
        self.page.picture(f"{self._title}_{verb.lower().replace(' ', '_')}_{len(self.states)}")
        self.dialog.get_by_role("button", name=verb, exact=True).click()
        expect(self.dialog.locator(".done")).to_contain_text(says)
        self.states.append(self.state())
        assert self.states[-1] != self.states[-2]

    def back_and_forth(self) -> None:
        """Takes everything back, does it again."""
        self.page.steps("undo", self.dialog.locator(".done").get_by_role("button", name="Undo").click)
        assert self.state() == self.states[-2]
        self.page.escape()
        for expected in reversed(self.states[:-2]):
            self.page.undo()
            assert self.state() == expected
        for expected in self.states[1:]:
            self.page.redo()
            assert self.state() == expected

    def in_frames(self, first: int, last: int) -> None:
        where = self.dialog.get_by_label("Where")
        if where.count():
            where.select_option("range")
        for name, value in (("First frame", first), ("Last frame", last)):
            field = self.dialog.get_by_label(name)
            field.fill(str(value))
            field.press("Tab")


def rectangle(number: int, frame: int) -> Mask:
    return Mask.from_box(HEIGHT, WIDTH, 10 + 90 * number, 40 + frame, 70 + 90 * number, 120 + frame)


def furnish(page: PageDriver, labels: dict[str, range]) -> None:
    """Objects 1, 2, ... with rectangles on frames."""
    for number, (label, frames) in enumerate(labels.items(), 1):
        page.client.post(f"{page.at}/objects", json={"label": label.strip()})
        for frame in frames:
            page.put_mask(frame, number, rectangle(number - 1, frame).counts.decode())
    expect(page.page.locator("button.object-name")).to_have_count(len(labels))


def test_labels_everywhere(served, visit):
    server, projects = served
    page = visit(server.address, "labels")
    furnish(page, {"cow": range(12), "cow ": range(6), "dog": range(3, 9)})
    made = Manager(page, projects, "Alt+l", "Labels")
    dialog = made.dialog

    dialog.get_by_label("New label for cow").fill("ox")
    made.do("Rename", "Objects 1, 2, called 'cow', are now called 'ox'")
    assert [row[0] for row in made.states[-1][0].values()] == ["ox", "ox", "dog"]
    dialog.get_by_label("Colour of all ox").fill("#ff0080")
    made.do("Colour", "Objects 1, 2, called 'ox', are coloured #ff0080")
    assert [row[1] for row in made.states[-1][0].values()] == ["#ff0080", "#ff0080", None]
    dialog.get_by_role("button", name="Hide all ox").click()
    made.do("Hide", "Objects 1, 2, called 'ox', are hidden")
    page.paints(0)
    assert [row[2] for row in made.states[-1][0].values()] == [True, True, False]
    dialog.get_by_role("button", name="Show all ox").click()
    made.do("Show", "are shown")
    page.paints(2)
    dialog.get_by_role("button", name="Lock all dog").click()
    made.do("Lock", "Object 3, called 'dog', is locked")
    expect(dialog.get_by_role("button", name="Delete all dog")).to_be_disabled()
    dialog.get_by_role("button", name="Delete all ox").click()
    made.do("Delete", "Objects 1, 2, called 'ox', are removed")
    assert list(made.states[-1][0]) == [3]
    made.back_and_forth()
    expect(page.page.locator("button.object-name")).to_have_count(1)


def test_labels_in_frames(served, visit):
    server, projects = served
    page = visit(server.address, "labels_in_range")
    furnish(page, {"cow": range(12), "cow ": range(6), "dog": range(3, 9)})
    made = Manager(page, projects, "Alt+l", "Labels")
    dialog, (_, masks) = made.dialog, made.states[0]

    # Only the first cow is there; it goes on outside of the frames, so that a part of it becomes an object.
    made.in_frames(7, 8)
    dialog.get_by_label("New label for cow").fill("ox")
    made.do("Rename", "Object 1, called 'cow', is now called 'ox' on frames 7 to 8")
    objects, after = made.states[-1]
    assert [objects[one][0] for one in (1, 2, 3, 4)] == ["cow", "cow", "dog", "ox"]
    assert after[4] == {at: masks[1][at] for at in (7, 8)}
    assert after[1] == {at: masks[1][at] for at in range(12) if at not in (7, 8)}

    dialog.get_by_role("button", name="Delete all dog").click()
    made.do("Delete", "2 masks of object 3 on frames 7 to 8 are deleted")
    assert list(made.states[-1][1][3]) == [3, 4, 5, 6]
    made.in_frames(9, 11)
    dialog.get_by_role("button", name="Hide all cow").click()
    made.do("Hide", "Object 1, called 'cow' and seen on frames 9 to 11, is hidden on all frames")
    assert [row[2] for row in made.states[-1][0].values()] == [True, False, False, False]
    made.in_frames(7, 8)
    dialog.get_by_label("Colour of all ox").fill("#00ff00")
    made.do("Colour", "Object 4, called 'ox' and seen on frames 7 to 8, is coloured #00ff00")
    made.in_frames(3, 4)
    dialog.get_by_role("button", name="Lock all dog").click()
    made.do("Lock", "Object 3, called 'dog' and seen on frames 3 to 4, is locked")
    made.back_and_forth()


def test_tracks(served, visit):
    server, projects = served
    page = visit(server.address, "tracks")
    furnish(page, {"cow": range(12), "cow ": range(12), "dog": range(3, 9)})
    made = Manager(page, projects, "Alt+g", "Tracks")
    dialog, (_, masks) = made.dialog, made.states[0]

    dialog.get_by_role("tab", name="Swap").click()
    dialog.get_by_label(re.compile("^Track")).select_option("1")
    dialog.get_by_label(re.compile("^and")).select_option("2")
    dialog.get_by_label("From frame").fill("5")
    dialog.get_by_label("From frame").press("Tab")
    made.do("Swap", "Objects 1 and 2 change places from frame 5 on")
    after = made.states[-1][1]
    for one, other in ((1, 2), (2, 1)):
        assert after[one] == {at: masks[one if at < 5 else other][at] for at in range(12)}

    dialog.get_by_role("tab", name="Delete in frames").click()
    dialog.get_by_label(re.compile("^Track")).select_option("3")
    made.in_frames(4, 6)
    made.do("Delete", "3 masks of object 3 on frames 4 to 6 are deleted")
    assert list(made.states[-1][1][3]) == [3, 7, 8]

    dialog.get_by_role("tab", name="Change id").click()
    dialog.get_by_label(re.compile("^Track")).select_option("3")
    dialog.get_by_label("New id").fill("40")
    made.do("Change id", "Object 3 becomes object 40")
    objects, after = made.states[-1]
    assert (list(objects), after[40], objects[40][0]) == ([1, 2, 40], made.states[-2][1][3], "dog")

    # An id that was used cannot be had again, and the page says so before anything is done.
    dialog.get_by_label(re.compile("^Track")).select_option("1")
    dialog.get_by_label("New id").fill("3")
    expect(dialog).to_contain_text("Id 3 is or was another object's")
    expect(dialog.get_by_role("button", name="Change id", exact=True)).to_be_disabled()
    page.complaints.clear()  # the refusal of that preview
    dialog.get_by_label(re.compile("^Track")).select_option("")

    dialog.get_by_role("tab", name="Split").click()
    dialog.get_by_label(re.compile("^Track")).select_option("2")
    dialog.get_by_label("First frame of the second part").fill("6")
    dialog.get_by_label("First frame of the second part").press("Tab")
    made.do("Split", "Object 2 is object 41 from frame 6 on")
    dialog.get_by_role("tab", name="Merge").click()
    dialog.get_by_label(re.compile("^This track")).select_option("41")
    dialog.get_by_label(re.compile("^becomes part of")).select_option("1")
    expect(dialog.get_by_role("checkbox")).to_be_visible()
    expect(dialog.get_by_role("button", name="Merge", exact=True)).to_be_disabled()
    made.do("Merge", "Object 41 becomes part of object 1")
    assert list(made.states[-1][0]) == [1, 2, 40]
    made.back_and_forth()
