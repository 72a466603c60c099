"""Whatever is wrong with the input: one clear line, exit code 2, earlier results intact."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keepsight.cli.main import run

POINT = ["--point", "0:20,20"]
MOVERS = ["--text", "mover", "--detector", "motion"]


@pytest.fixture(scope="session")
def earlier(studio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with results of an earlier run, which every test here must leave as it is."""
    out = tmp_path_factory.mktemp("earlier") / "out"
    arguments = [
        "segment",
        str(studio / "clip.mp4"),
        "--model",
        str(studio / "model"),
        *POINT,
        "--stop",
        "2",
        "--out",
        str(out),
    ]
    assert run([*arguments, "--no-overlay", "--no-crops", "--no-report"]) == 0
    return out


@pytest.fixture(scope="session")
def material(studio: Path) -> Path:
    """Files that are wrong in one way each, beside the good ones."""
    whole = (studio / "clip.mp4").read_bytes()
    (studio / "truncated.mp4").write_bytes(whole[: len(whole) // 20])
    (studio / "no_index.mp4").write_bytes(whole[:200])
    (studio / "text.mp4").write_text("This is not a video.\n" * 50)
    (studio / "empty.mp4").touch()
    (studio / "empty_folder").mkdir()
    pixels = np.zeros((72, 96), np.uint8)
    Image.fromarray(pixels).save(studio / "empty.png")
    pixels[10:20, 10:20] = 1
    Image.fromarray(pixels).save(studio / "one.png")
    Image.fromarray(pixels[:50]).save(studio / "small.png")
    (studio / "text.png").write_text("no picture")
    (studio / "nan.json").write_text('{"version": 1, "prompts": [{"object": 1, "points": [[NaN, 2]]}]}')
    (studio / "concept.json").write_text('{"version": 1, "concepts": [{"text": " "}]}')
    (studio / "broken.json").write_text('{"version": 1, "prompts": [')
    return studio


@pytest.mark.parametrize(
    ("video", "options", "says"),
    [
        ("no_index.mp4", POINT, "no_index.mp4"),
        ("truncated.mp4", POINT, "truncated.mp4"),
        ("text.mp4", POINT, "text.mp4"),
        ("empty.mp4", POINT, "empty.mp4"),
        ("empty_folder", POINT, "empty_folder"),
        ("missing.mp4", POINT, "missing.mp4"),
        ("clip.mp4", [], "Nothing to follow"),
        ("clip.mp4", ["--point", "0:96,20"], "outside the 96x72 px frame"),
        ("clip.mp4", ["--point", "36:20,20"], "no frame 36"),
        ("clip.mp4", ["--point", "0:nan,20"], "finite"),
        ("clip.mp4", ["--box", "0:5,5,inf,20"], "finite"),
        ("clip.mp4", ["--box", "0:20,20,5,5"], "X2 > X1"),
        ("clip.mp4", ["--mask", "0:empty.png"], "empty"),
        ("clip.mp4", ["--mask", "0:small.png"], "96x50 px but the frame is 96x72"),
        ("clip.mp4", ["--mask", "0:text.png"], "text.png"),
        ("clip.mp4", ["--mask", "0:missing.png"], "missing.png"),
        ("clip.mp4", ["--mask", "0:one.png@4", "--box", "0:1,1,9,9@4"], "Object 4 on frame 0"),
        ("clip.mp4", ["--mask", "0:one.png", "--mask", "0:one.png"], "Object 1 on frame 0 is given two masks"),
        ("clip.mp4", ["--prompts", "nan.json"], "nan.json"),
        ("clip.mp4", ["--prompts", "broken.json"], "broken.json"),
        ("clip.mp4", ["--prompts", "missing.json"], "missing.json"),
        ("clip.mp4", [*POINT, "--model", "sam2.1-tny"], "Did you mean sam2.1-tiny"),
        ("clip.mp4", [*POINT, "--policy", "sam"], "Did you mean 'sam"),
        ("clip.mp4", [*POINT, "--policy-option", "strid=2"], "no option 'strid'"),
        ("clip.mp4", [*POINT, "--policy-option", "stride"], "NAME=VALUE"),
        ("clip.mp4", [*POINT, "--device", "cuda"], "CUDA"),
        ("clip.mp4", [*POINT, "--start", "36"], "36"),
        ("clip.mp4", ["--text", ""], "the text is empty"),
        ("clip.mp4", ["--text", "  "], "the text is empty"),
        ("clip.mp4", ["--text", "cow " * 125], "at most 200 characters"),
        ("clip.mp4", ["--text", "cow", "--detector", "moton"], "Did you mean motion"),
        ("clip.mp4", ["--text", "cow"], "keepsight models download grounding-dino"),
        ("clip.mp4", ["--text", "cow", "--model", "builtin"], "--detector motion (a fixed camera: whatever moves)"),
        ("clip.mp4", ["--text", "cow", "--model", "builtin"], "hf auth login"),
        ("clip.mp4", ["--text", "cow", "--detector", "owlv2"], "keepsight models download owlv2"),
        ("clip.mp4", ["--text", "cow", "--detector", "sam3"], "gated"),
        ("clip.mp4", ["--text", "cow", "--model", "sam3"], "gated"),
        ("clip.mp4", ["--detector", "model"], "no detector 'model'"),
        ("clip.mp4", [*MOVERS, "--text", "dog"], "cannot tell 2 concepts apart"),
        ("clip.mp4", [*MOVERS, "--rule", "new_scre=0.5"], "Did you mean 'new_score'"),
        ("clip.mp4", [*MOVERS, "--rule", "new_score=2"], "new_score must be in [0, 1]"),
        ("clip.mp4", [*MOVERS, "--rule", "detect_every=2", "--detect-every", "3"], "not both"),
        ("clip.mp4", [*MOVERS, "--direction", "both"], "forward or backward"),
        ("clip.mp4", [*MOVERS, "--selection", "group", "--policy", "sam2"], "give one of the two"),
        ("clip.mp4", [*MOVERS, "--exemplar", "0:1,1,9,9"], "cannot be shown examples"),
        ("clip.mp4", [*MOVERS, "--exemplar", "-0:1,1,9"], "X1,Y1,X2,Y2"),
        ("clip.mp4", [*MOVERS, "--exemplar", "0:9,9,1,1"], "X2 > X1"),
        ("clip.mp4", [*MOVERS, "--exemplar", "0:200,9,210,11"], "outside the 96x72 px frame"),
        ("clip.mp4", [*MOVERS, "--exemplar", "36:1,1,9,9"], "frames 0 to 35"),
        ("clip.mp4", ["--exemplar", "0:1,1,9,9"], "Add =CONCEPT"),
        ("clip.mp4", [*MOVERS, "--point", "40:1,1@3"], "no frame 40"),
        ("clip.mp4", [*POINT, "--remove", "3"], "--text"),
        ("clip.mp4", [*POINT, "--detect-every", "3"], "--text"),
        ("clip.mp4", ["--like", "0:10,10,30,30"], "cannot find look-alikes; use --model builtin or sam3"),
        ("clip.mp4", ["--like", "0:10,10,30"], "--like 0:10,10,30: expected four numbers"),
        ("clip.mp4", ["--text", "cow", "--detector", "like"], "needs an example of 'cow'"),
        ("clip.mp4", ["--prompts", "concept.json"], "concept 1: A concept needs a word"),
        ("clip.mp4", [*POINT, "--overwrite", "--resume"], "not both"),
        ("clip.mp4", [*POINT, "--camera", "--stride", "2"], "live source"),
    ],
)
def test_refused_with_one_line(
    video: str,
    options: list[str],
    says: str,
    material: Path,
    earlier: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(material)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before = {path: path.read_bytes() for path in earlier.rglob("*") if path.is_file()}
    capfd.readouterr()
    model = [] if "--model" in options else ["--model", "model"]
    overwrite = [] if "--resume" in options else ["--overwrite"]
    assert run(["segment", video, *options, *model, *overwrite, "--out", str(earlier)]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("keepsight: ")
    assert says in lines[0]
    assert {path: path.read_bytes() for path in earlier.rglob("*") if path.is_file()} == before


def test_unwritable_output_is_refused_before_any_work(
    studio: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(["segment", str(studio / "clip.mp4"), *POINT, "--out", str(tmp_path / "file" / "out")]) == 2
    assert "is not a folder; choose another --out" in capfd.readouterr().err
    (tmp_path / "masks").mkdir()
    assert run(["segment", str(studio / "clip.mp4"), *POINT, "--out", str(tmp_path)]) == 2
    assert "holds masks but no project" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "masks"]


def test_disk_full_in_the_project_file(
    studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """SQLite itself runs out of pages, as it does on a full disk."""
    from keepsight.store.project import Project

    create = Project.create.__func__  # type: ignore[attr-defined]

    def small(cls: type[Project], *arguments: object, **options: object) -> Project:
        project: Project = create(cls, *arguments, **options)
        connection: sqlite3.Connection = project._db.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return project

    arguments = [
        "segment",
        str(studio / "clip.mp4"),
        "--model",
        str(studio / "model"),
        *POINT,
        "--out",
        str(tmp_path / "out"),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(Project, "create", classmethod(small))
        assert run(arguments) == 2
    error = capfd.readouterr().err
    assert "disk is full" in error
    assert "Traceback" not in error
    assert run([*arguments, "--resume", "--no-overlay", "--no-crops", "--no-report"]) == 0
    assert len(list((tmp_path / "out" / "masks").glob("*.png"))) == 36
