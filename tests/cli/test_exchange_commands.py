"""`keepsight export` and `keepsight import` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_jobs import FRAMES, write_clip

from keepsight.cli.main import run
from keepsight.core import Source
from keepsight.formats import load_prompts
from keepsight.formats.registry import FORMATS
from keepsight.store import Project


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `clip.mp4` and a text of boxes, which is the current one."""
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4")
    (tmp_path / "gt.txt").write_text("".join(f"{f + 1},7,{10 + f},15,25,23,1,1,1\n" for f in range(10)))
    return tmp_path


def test_from_boxes_to_a_project_to_a_dataset_with_pictures(desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["import", "gt.txt", "-f", "mot", "--project", "run", "--video", "clip.mp4"]) == 0
    printed = capfd.readouterr().out
    assert "note: boxes that became filled rectangles: 10\nImported 10 masks of 1 object on 10 frames." in printed
    with Project.open(desk / "run" / "project.keepsight") as project:
        (stored,) = project.videos()
        assert stored.frame_count == FRAMES
        item = project.result(1, 3)[7]
        assert (item.mask.box, item.source) == ((13, 15, 38, 38), Source.IMPORTED)
        assert [kept.state for kept in project.runs(1)] == ["finished"]
    command = ["export", "run", "-f", "yolo", "--out", "set", "--images", "--start", "2", "--stop", "5"]
    assert run(command) == 0
    assert sorted(path.name for path in (desk / "set" / "images").iterdir()) == [f"0000{f}.jpg" for f in (2, 3, 4)]
    assert len((desk / "set" / "labels" / "00002.txt").read_text().split()) == 1 + 2 * 4
    capfd.readouterr()
    assert run(command) == 2
    assert "set already exists; replace it by --overwrite" in capfd.readouterr().err
    assert run([*command, "--overwrite"]) == 0
    assert run(["export", "run", "-f", "alpha-png", "--out", "cut"]) == 0
    assert len(list((desk / "cut" / "7").iterdir())) == 10
    assert run(["import", "gt.txt", "-f", "mot", "--video", "clip.mp4", "--prompts", "p.json", "--frames", "0,5"]) == 0
    assert [(p.object_id, p.frame, p.box) for p in load_prompts(desk / "p.json")] == [
        (7, 0, (10, 15, 35, 38)),
        (7, 5, (15, 15, 40, 38)),
    ]


def test_labelme_that_was_imported_is_found_again(desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (desk / "notes").mkdir()
    shape = {"label": "red", "points": [[9, 9], [30, 30]], "shape_type": "rectangle", "group_id": 1, "by": "Ada"}
    text = json.dumps({"imageHeight": 72, "imageWidth": 96, "shapes": [shape], "barn": 4})
    (desk / "notes" / "00002.json").write_text(text)
    assert run(["import", "notes", "-f", "labelme", "-p", "p.keepsight", "--video", "clip.mp4"]) == 0
    assert run(["export", "p.keepsight", "-f", "labelme", "--out", "back"]) == 0
    assert "taken over from" in capfd.readouterr().out
    data = json.loads((desk / "back" / "00002.json").read_text())
    assert (data["barn"], data["shapes"][0]["by"], data["shapes"][0]["shape_type"]) == (4, "Ada", "polygon")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("export nowhere -f coco --out o", "does not exist"),
        ("export p.keepsight -f cocoa --out o", "no format 'cocoa'. There are: davis"),
        ("export p.keepsight -f coco --out o --start 5 --stop 5", "must come after"),
        ("export p.keepsight -f coco --out o --start 30", "no results on these frames"),
        ("export p.keepsight -f coco --out o --base .", "Only labelme"),
        ("export p.keepsight -f coco --out o --of other", "has no video 'other'; it has: clip"),
        ("export p.keepsight -f coco --out o --images --video gone.mp4", "gone.mp4 is gone"),
        ("import gone.txt -f mot -p p.keepsight", "gone.txt does not exist"),
        ("import gt.txt -f mot", "Give --project for finished tracks, or --prompts"),
        ("import gt.txt -f mot -p new.keepsight", "give the video by --video"),
        ("import gt.txt -f mot -p p.keepsight", "--new-ids"),
        ("import gt.txt -f cvat -p new.keepsight --video clip.mp4", "is not XML"),
        ("import gt.txt -f mot --prompts p.json", "How large are the frames"),
        ("import gt.txt -f mot --prompts p.json --video clip.mp4 --frames x", "frame numbers separated by commas"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(desk: Path, capfd: pytest.CaptureFixture[str], command, says) -> None:
    assert run(["import", "gt.txt", "-f", "mot", "-p", "p.keepsight", "--video", "clip.mp4"]) == 0
    before = _files(desk)
    capfd.readouterr()
    assert run(command.split()) == 2
    printed = capfd.readouterr().err
    assert says in printed
    assert printed.count("\n") == 1
    assert _files(desk) == before


def _files(folder: Path) -> set[str]:
    # A reader of a project leaves SQLite's log files where they are.
    return {path.name for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm"))}


def test_help_names_every_format(capfd: pytest.CaptureFixture[str]) -> None:
    from keepsight.pipeline.exchange import formats

    assert set(FORMATS) < set(formats())
    for command, names in (("export", formats()), ("import", FORMATS)):
        assert run([command, "--help"]) == 0
        printed = capfd.readouterr().out
        assert all(name in printed for name in names)
