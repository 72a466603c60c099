"""`keepsight eval concepts` from the command line: going on, shards, what is refused; once with a real (tiny, random) SAM 3."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from concept_eval_sets import SIZE, annotation, set_of, still, write, write_pictures
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "concepts"))

from keepsight.cli.main import run
from keepsight.core import Mask
from keepsight.evaluation.concepts import Tube
from keepsight.evaluation.concepts import run as running
from keepsight.evaluation.report import read_run
from keepsight.pipeline.settings import Settings

pytest.importorskip("trackeval")

TRUTH = [annotation(number, 1, still(20, 3), 3) for number in (1, 2, 3)]
SACO = set_of([3, 3, 3], ["dog", "cup"], TRUTH, pairs=[(1, 1), (1, 2), (2, 1), (3, 1), (3, 2)])


class Fake:
    """Finds a dog in every video, in the truth's place but in the third one; a model that is worked at once."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.remarks: dict[str, list[str]] = {"The light changed.": ["v1", "v2"]}
        self.asked: list[tuple[str, list[str]]] = []
        self.stop_at, self.everything = stop_at, False

    def follow(self, footage, phrases, tell):
        name = footage.source.name
        if name == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append((name, list(phrases)))
        tell(3, 3)
        left = 30 if name == "v3" else 0
        dog = Tube({place: Mask.from_box(*SIZE, left, 0, left + 20, 10) for place in range(3)}, 0.9)
        return [(dog,) if phrase == "dog" or self.everything else () for phrase in phrases]


@pytest.fixture
def studio(tmp_path, monkeypatch):
    """A set with pictures; the follower that is used comes back."""
    write(tmp_path / "set.json", SACO)
    for number in (1, 2, 3):
        write_pictures(tmp_path / "media", f"v{number}", 9)
    used = Fake()

    def load(asked, tell):
        return used, Settings(model=asked.model, policy=asked.policy, detector="fake", device="cpu", dtype="float32")

    monkeypatch.setattr(running, "load_follower", load)
    return tmp_path, used


def evaluate(folder, *options, out="run"):
    arguments = [str(folder / "set.json"), "--media", str(folder / "media"), "--out", str(folder / out), *options]
    return run(["eval", "concepts", *arguments])


def test_a_set_is_followed_scored_and_reported(studio, capsys):
    folder, used = studio
    assert evaluate(folder) == 0
    said = capsys.readouterr().out
    assert used.asked == [("v1", ["dog", "cup"]), ("v2", ["dog"]), ("v3", ["dog", "cup"])]
    assert "v1 and 1 other videos: The light changed." in said
    assert "cgF1" in said
    results = read_run(folder / "run")
    # Two of three dogs; no cup was found, and there is none.
    assert results.summary["pmF1"] == pytest.approx(2 / 3, abs=1e-3)
    assert results.summary["IL_MCC"] == pytest.approx(1, abs=1e-3)
    assert results.settings["detector"] == "fake"
    assert results.columns[:2] == ("F1", "HOTA")
    handed_in = json.loads((folder / "run" / "results.json").read_text())
    assert [entry["video_id"] for entry in handed_in] == [1, 2, 3]
    # The same predictions, scored alone, are the same figures.
    assert (
        run(
            [
                "eval",
                "concepts",
                str(folder / "set.json"),
                "--pred",
                str(folder / "run" / "results.json"),
                "-o",
                str(folder / "again"),
            ]
        )
        == 0
    )
    assert read_run(folder / "again").summary == results.summary


def test_pictures_show_the_worst_pairs(studio, monkeypatch):
    folder, used = studio
    used.everything = True
    shown = []
    monkeypatch.setattr(running, "write_run", lambda results, out, pictures: shown.extend(pictures))
    assert evaluate(folder) == 0
    by_row = {picture.row_name: picture for picture in reversed(shown)}
    assert by_row.keys() == {"v3/dog", "v1/cup", "v3/cup"}
    assert by_row["v1/cup"].caption.startswith("00000.jpg: 0 true, 1 found; green is true")
    picture = by_row["v3/dog"]
    assert "1 true, 1 found; IoU 0.00" in picture.caption
    assert picture.rgb.shape == (*SIZE, 3)
    # What is missed is filled with green, what is false with orange.
    green, orange = picture.rgb[5, 10].astype(int), picture.rgb[5, 40].astype(int)
    assert green[1] > green[0] + 40
    assert orange[0] > orange[2] + 40
    assert picture.rgb[30, 10].max() < 20


def test_stopped_it_goes_on_with_what_is_missing(studio, capsys):
    folder, used = studio
    used.stop_at = "v2"
    assert evaluate(folder) == 130
    assert "1 of 3 videos are done" in capsys.readouterr().err
    used.stop_at, used.asked = None, []
    assert evaluate(folder) == 0
    assert [name for name, _ in used.asked] == ["v2", "v3"]
    used.asked = []
    assert evaluate(folder, "--overwrite") == 0
    assert len(used.asked) == 3


def test_exhausted_memory_and_damaged_pictures_are_said(studio, capsys, monkeypatch):
    folder, used = studio

    def exhausted(footage, phrases, tell):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(used, "follow", exhausted)
    assert evaluate(folder) == 2
    assert "v1: not enough memory" in capsys.readouterr().err
    (folder / "media" / "v1" / "00004.jpg").write_bytes(b"no picture")
    assert evaluate(folder) == 2
    assert "00004.jpg is not an image" in capsys.readouterr().err


def test_shards_fill_one_folder_and_the_last_one_scores(studio, capsys):
    folder, used = studio
    assert evaluate(folder, "--shard", "2/2") == 0
    assert "2 videos are left to other shards" in capsys.readouterr().out
    assert not (folder / "run" / "run.json").exists()
    assert evaluate(folder, "--shard", "1/2") == 0
    assert [name for name, _ in used.asked] == ["v2", "v1", "v3"]
    assert evaluate(folder, out="whole") == 0
    assert read_run(folder / "run").summary == read_run(folder / "whole").summary


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policy", "sam2long"], "policy (sam2 then, sam2long now)"),
        (["--frames", "all"], "frames (listed then, all now)"),
        (["--shard", "3/2"], "give I/N with I from 1 to N"),
        (["--shard", "1/2", "--overwrite"], "--overwrite would throw away other shards' predictions"),
        (["--media", "nowhere"], "no folder of pictures"),
        (["--pred", "nowhere.json"], "nowhere.json cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(studio, capsys, options, said):
    folder, _ = studio
    assert evaluate(folder) == 0
    before = (folder / "run" / "results.json").read_bytes()
    capsys.readouterr()
    assert evaluate(folder, *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert (folder / "run" / "results.json").read_bytes() == before


def test_videos_without_pictures_are_refused_or_left_out(studio, capsys):
    folder, _ = studio
    (folder / "media" / "v2").rename(folder / "media" / "elsewhere")
    assert evaluate(folder) == 2
    assert "1 of 3 videos have no pictures" in capsys.readouterr().err
    assert evaluate(folder, "--skip-missing") == 0
    assert "are not those of the whole set" in capsys.readouterr().out
    assert {row.video for row in read_run(folder / "run").rows} == {"v1", "v3"}


def test_predictions_of_another_set_do_not_pass_for_this_one(studio, capsys):
    folder, _ = studio
    assert evaluate(folder) == 0
    write(folder / "set.json", set_of([3, 3, 3], ["dog", "cat"], TRUTH, pairs=[(1, 1), (2, 1), (2, 2), (3, 1)]))
    assert evaluate(folder) == 2
    assert "other settings: the set's videos and phrases" in capsys.readouterr().err


def test_a_set_without_truth_gives_predictions_to_hand_in(studio, capsys):
    folder, _ = studio
    data = set_of([3, 3, 3], ["dog", "cup"], [], pairs=[(1, 1), (2, 1)])
    del data["annotations"]
    write(folder / "set.json", data)
    assert evaluate(folder) == 0
    assert "hand in" in capsys.readouterr().out
    assert len(json.loads((folder / "run" / "results.json").read_text())) == 2


def test_sam3_finds_by_words_and_follows(tmp_path, capsys):
    import tiny_sam3

    tiny_sam3.sam3().save_pretrained(tmp_path / "sam3")
    tiny_sam3.tokenizer().save_pretrained(tmp_path / "sam3")
    rng = np.random.default_rng(3)
    (tmp_path / "media" / "v1").mkdir(parents=True)
    for frame in range(4):
        picture = rng.integers(0, 255, (*SIZE, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / "media" / "v1" / f"{4 * frame:05d}.jpg")
    write(
        tmp_path / "set.json", set_of([4], ["cow", "dog"], [annotation(1, 1, still(20, 4), 4)], pairs=[(1, 1), (1, 2)])
    )
    options = ["--model", str(tmp_path / "sam3"), "--device", "cpu", "--rule", "hotstart_frames=0"]
    assert evaluate(tmp_path, *options, "--selection", "group") == 0
    settings = read_run(tmp_path / "run").settings
    assert (settings["detector"], settings["policy"]) == ("sam3", "sam3")
    together = json.loads((tmp_path / "run" / "results.json").read_text())
    assert together
    # Each phrase alone.
    alone = []
    for place, pair in enumerate([(1, 1), (1, 2)]):
        truth = [annotation(1, 1, still(20, 4), 4)] if place == 0 else []
        write(tmp_path / "set.json", set_of([4], ["cow", "dog"], truth, pairs=[pair]))
        assert evaluate(tmp_path, *options, out=f"alone{place}") == 0
        alone += json.loads((tmp_path / f"alone{place}" / "results.json").read_text())
    assert together == alone
