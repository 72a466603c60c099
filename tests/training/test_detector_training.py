"""A detector learns generated pictures: better on held-out ones, the same after a kill, refused when worse, loadable anywhere."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from shape_pictures import save_tiny, tokenizer, write_shapes

import keepsight
from keepsight.cli.main import run
from keepsight.concepts import Concept
from keepsight.concepts.choosing import choose, pick
from keepsight.concepts.sam3 import Sam3Detector
from keepsight.core import InputError, ModelError, StoreError
from keepsight.evaluation.report import open_run
from keepsight.models.builtin.backbone import load_builtin
from keepsight.models.registry import resolve
from keepsight.tracking import Sight, Tracker
from keepsight.training.detector.album import Album
from keepsight.training.detector.coco import read_coco
from keepsight.training.detector.features import Looker
from keepsight.training.detector.finding import find
from keepsight.training.detector.learner import DetectorLearner
from keepsight.training.detector.run import Outcome, Place, Sources, train_detector
from keepsight.training.detector.settings import DetectorSettings, Matching, Weights
from keepsight.training.detector.trainee import load_trainee
from keepsight.training.detector.words import Words
from keepsight.training.tracker.budget import SLACK, weigh
from keepsight.training.trainer import Schedule, Trainer
from tiny_models import sam3_video

CPU = Place(device="cpu", memory_gb=8.0)
QUICK = DetectorSettings(batch=8, accumulate=1, phrases=3, rate=2e-3, clip=1.0, schedule="cosine", rounds=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny base, pictures to learn from and pictures to measure on."""
    root = tmp_path_factory.mktemp("detector")
    save_tiny(root / "base")
    write_shapes(root / "data", 120)
    write_shapes(root / "held", 24, seed=9)
    write_shapes(root / "few", 10, seed=5)
    return root


def quick(folder: Path, **changes) -> DetectorSettings:
    return replace(QUICK, base=str(folder / "base"), **changes)


def train(sources: Sources, out: Path, settings: DetectorSettings, **how) -> Outcome:
    outcome = train_detector(sources, out, settings, CPU, **{"log": lambda _: None, **how})
    assert outcome is not None
    return outcome


@pytest.fixture(scope="module")
def learned(folder) -> Outcome:
    sources = Sources((folder / "data",), held_out=(folder / "held",))
    return train(sources, folder / "out", quick(folder, steps=200))


# -- it learns -------------------------------------------------------------------------------------------------------
def test_the_loss_falls_and_average_precision_rises_on_pictures_it_never_saw(learned, folder):
    curve = [row for row in csv.DictReader((folder / "out" / "curve.csv").open()) if row["key"] == "loss"]
    assert float(curve[-1]["value"]) < 0.5 * float(curve[0]["value"])
    before, after = learned.before.summary, learned.after.summary
    assert after["box AP50"] > before["box AP50"] + 0.2
    assert after["mask AP"] > before["mask AP"] + 0.02
    assert after["IL_MCC"] > 0.4
    assert learned.better
    assert learned.gain.low > 0
    assert "Better: use it as --detector" in learned.lines()[-1]


def test_the_run_is_on_the_disk_for_people_and_programs(learned, folder):
    out = folder / "out"
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["better"]
    assert verdict["measures"]["mask AP"]["gain"] == pytest.approx(learned.gain.value)
    told = json.loads((out / "settings.json").read_text())
    assert told["settings"]["weights"]["focal"] == 200.0
    assert told["steps"] == 200
    assert len(told["held_out"]) == 24
    assert (out / "checkpoint.pt").is_file()
    with Image.open(out / "samples.jpg") as sheet:
        assert sheet.size[0] == 1112
    truth, found = (json.loads((out / "held-out" / f"{name}.json").read_text()) for name in ("truth", "after"))
    assert {entry["image_id"] for entry in found} <= {entry["id"] for entry in truth["images"]}
    report = open_run(out / "after")
    assert report.pictures
    assert {picture.row_name for picture in report.pictures} <= {row.name for row in report.results.rows}
    # The encoder stays as it is, so only what learned is in the checkpoint, and the encoder is that of the base.
    state = torch.load(out / "checkpoint.pt", weights_only=True)["model"]
    assert not [name for name in state if name.startswith(("vision_encoder", "text_encoder", "geometry_encoder"))]
    base, made = (load_file(path / "model.safetensors") for path in (folder / "base", out))
    assert base.keys() == made.keys()
    changed = {name.split(".")[0] for name in base if not torch.equal(base[name], made[name])}
    assert changed == {"detr_encoder", "detr_decoder", "dot_product_scoring", "mask_decoder"}


def test_the_folder_is_a_detector_and_finds_what_the_run_found(learned, folder):
    out = folder / "out"
    assert resolve(str(out)).detects
    assert choose(str(out), "builtin") == str(out)
    detector = pick(str(out), Tracker(load_builtin()))
    assert isinstance(detector, Sam3Detector)
    numbers = {"red": 1, "green": 2, "blue": 3}
    found = json.loads((out / "held-out" / "after.json").read_text())
    truth = {
        entry["id"]: entry["file_name"] for entry in json.loads((out / "held-out" / "truth.json").read_text())["images"]
    }
    order = {
        entry["name"]: entry["id"] for entry in json.loads((out / "held-out" / "truth.json").read_text())["categories"]
    }
    detector = Sam3Detector.load(out, device="cpu", dtype="float32", least=0.01)
    sure = 0
    for image in range(1, 6):
        rgb = np.array(Image.open(folder / "held" / "images" / truth[image]))
        [seen] = detector.detect([Sight(load_builtin(), rgb)], [Concept(n, name) for name, n in numbers.items()])
        for name, number in numbers.items():
            mine = seen.only(seen.concepts == number)
            theirs = [e for e in found if e["image_id"] == image and e["category_id"] == order[name]]
            assert sorted(mine.scores.tolist()) == pytest.approx(sorted(e["score"] for e in theirs), abs=1e-5)
            sure += sum(score > 0.3 for score in mine.scores)
    assert sure
    with pytest.raises(ModelError, match="cannot follow them; give it as --detector"):
        keepsight.load(out)


# -- it goes on, and says no -----------------------------------------------------------------------------------------
class _Killed(Exception):
    pass


def test_a_killed_run_goes_on_bit_equal(folder, tmp_path):
    sources = Sources((folder / "few",))
    settings = quick(folder, steps=6, batch=2, accumulate=2, flip=True, phrases=2)
    straight = train(sources, tmp_path / "a", settings)

    def killing(line: str) -> None:
        if line.startswith("3 "):
            raise _Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_report", _after_saving(Trainer._report))
        with pytest.raises(_Killed):
            train(sources, tmp_path / "b", settings, log=killing)
    assert not (tmp_path / "b" / "config.json").exists()
    resumed: list[str] = []
    again = train(sources, tmp_path / "b", settings, resume=True, log=resumed.append)
    assert [line for line in resumed if line.startswith("resuming at step 3")]
    one, two = (load_file(outcome.weights / "model.safetensors") for outcome in (straight, again))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert again.after.summary == straight.after.summary
    with pytest.raises(InputError, match=r"has rate 0\.002, not 0\.1"):
        train(sources, tmp_path / "b", replace(settings, rate=0.1), resume=True)
    with pytest.raises(StoreError, match="--resume, replace it by --overwrite"):
        train(sources, tmp_path / "b", settings)


def _after_saving(report):
    def saving(self, rate: float) -> None:
        self.save()
        report(self, rate)

    return saving


def test_a_run_that_makes_it_worse_is_refused(learned, folder, tmp_path, capsys):
    # Pictures in which every colour has another one's name: what was right is unlearned.
    write_shapes(tmp_path / "data", 8, seed=6)
    file = tmp_path / "data" / "annotations.json"
    data = json.loads(file.read_text())
    names = [category["name"] for category in data["categories"]]
    for category, name in zip(data["categories"], names[1:] + names[:1], strict=True):
        category["name"] = name
    file.write_text(json.dumps(data))
    out = tmp_path / "out"
    arguments = ["--base", str(folder / "out"), "--held-out-data", str(folder / "held"), "--out", str(out)]
    options = ["--steps", "12", "--batch", "8", "--rate", "5e-3", "--warmup", "1", "--device", "cpu"]
    code = run(["train", "detector", "--data", str(tmp_path / "data"), *arguments, *options])
    said = capsys.readouterr()
    assert code == 3
    assert "Not better, so this is no model" in said.err
    assert not (out / "config.json").exists()
    assert (out / "not-better" / "model.safetensors").is_file()
    assert not json.loads((out / "verdict.json").read_text())["better"]
    with pytest.raises(ModelError):
        resolve(str(out))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "gone.json"], "gone.json does not exist"),
        (["--data", "{few}", "--base", "builtin"], "no detector of words; sam3 has"),
        (["--data", "{few}"], "accept its licence"),
        (["--data", "{few}", "--base", "{base}", "--rate", "0"], "rate is more than 0"),
        (["--data", "{few}", "--base", "{base}", "--held-out-data", "{few}"], "10 pictures are both"),
        (["--data", "{few}", "--base", "{base}", "--lora", "2", "--vision-rate", "1e-5"], "give one of the two"),
        (["--data", "{few}", "--base", "{base}", "--memory-gb", "0.0001"], "Training needs about"),
    ],
)
def test_what_cannot_be_is_one_line(folder, tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    filled = [item.format(few=folder / "few", base=folder / "base") for item in arguments]
    assert run(["train", "detector", "--out", str(tmp_path / "out"), "--device", "cpu", *filled]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in last
    assert last.startswith("keepsight: ")


def test_batches_that_do_not_fit_are_made_smaller_and_the_pictures_stay(folder, tmp_path):
    settings = quick(folder, steps=1, batch=4, phrases=2)
    trainee = load_trainee(settings, torch.device("cpu"))
    looker = Looker(trainee.detector, torch.device("cpu"), None, False)
    album = _album(folder)
    names = [str(number) for number in range(len(album.pictures))]
    learner = DetectorLearner(trainee, looker, Words(trainee.detector, trainee.tokenizer, learning=False), album, names)
    step = weigh(trainee.detector, learner.fullest)
    assert learner.shrink()
    assert weigh(trainee.detector, learner.fullest) < 0.7 * step
    assert (learner.settings.batch, learner.settings.accumulate) == (2, 2)
    learns = 4 * sum(parameter.numel() for group in trainee.groups for parameter in group.parameters)
    room = Place("cpu", memory_gb=(4 * learns + 0.9 * SLACK * step) / 1e9)
    lines: list[str] = []
    train_detector(Sources((folder / "data",), held_out=(folder / "few",)), tmp_path, settings, room, log=lines.append)
    assert any("would not fit into" in line and "2 pictures of 2 phrases" in line for line in lines)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["notes"] == {"batch": 2, "accumulate": 2}


# -- what learns, and what comes out ---------------------------------------------------------------------------------
def whole(folder: Path) -> Path:
    """Detector and tracker in one folder, as SAM 3 is published."""
    sam3_video().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def finds(detector, folder: Path, count: int = 2) -> list[dict]:
    album = Album(read_coco(folder / "held").pictures[:count])
    looker = Looker(detector, torch.device("cpu"), None, False)
    words = Words(detector, tokenizer(), learning=False)
    return find(looker, words, album, [str(n) for n in range(count)], {"red": 1, "green": 2, "blue": 3})


@pytest.mark.parametrize("how", [{"lora": 2}, {"vision_rate": 1e-3, "text_rate": 1e-3}])
def test_with_a_changed_encoder_the_detector_is_saved_alone_and_is_the_trained_one(folder, tmp_path, how):
    settings = quick(folder, **how)
    if "lora" in how:  # of the whole of SAM 3
        settings = replace(settings, base=str(whole(tmp_path / "base")))
    trainee = load_trainee(settings, torch.device("cpu"))
    trainee.train()
    before = {name: value.clone() for name, value in trainee.detector.state_dict().items()}
    album = Album(_album(folder).pictures[:4])
    looker = Looker(trainee.detector, torch.device("cpu"), None, False)
    words = Words(trainee.detector, trainee.tokenizer, learning=bool(how.get("text_rate")))
    learner = DetectorLearner(trainee, looker, words, album, [str(n) for n in range(4)])
    trainer = Trainer(
        trainee.learned, trainee.groups, Schedule(5e-3, 2, warmup=1), tmp_path / "run", log=lambda _: None
    )
    trainer.run(learner.step)
    learner.close()
    changed = {name for name, value in trainee.detector.state_dict().items() if not torch.equal(value, before[name])}
    bent = {name for name in changed if name.startswith("vision_encoder")}
    if how.get("lora"):
        assert bent
        assert all("lora_" in name for name in bent)
    else:
        parts = ("vision_encoder.backbone.layers.0.", "vision_encoder.neck.", "text_encoder.")
        assert all(any(name.startswith(part) for name in changed) for part in parts)
        factors = [group.factor for group in trainee.groups]
        assert factors[1:4] == pytest.approx([0.5 * 0.9**2, 0.5 * 0.9, 0.5 * 0.9**3])
    assert not trainee.keeps_tracker
    trainee.save(tmp_path / "made")
    loaded = Sam3Detector.load(tmp_path / "made", device="cpu", dtype="float32").backbone.detector
    mine, theirs = finds(trainee.detector, folder), finds(loaded, folder)
    assert mine
    assert [entry["score"] for entry in mine] == pytest.approx([entry["score"] for entry in theirs], abs=1e-5)


def _album(folder: Path) -> Album:
    return read_coco(folder / "data")


def test_of_the_whole_of_sam3_the_tracker_comes_along_unchanged_and_both_load(folder, tmp_path):
    base = whole(tmp_path / "base")
    settings = replace(quick(folder, steps=2, batch=2), base=str(base), weights=Weights(many=0.0), matching=Matching())
    outcome = train(Sources((folder / "few",)), tmp_path / "out", settings)
    place = outcome.weights
    old, new = (load_file(path / "model.safetensors") for path in (base, place))
    assert old.keys() == new.keys()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert all(name.startswith("detector_model.") for name in changed)
    assert outcome.better, "two steps of a random detector that finds nothing are no worse"
    assert outcome.tracks
    out = str(outcome.folder)
    assert f"--model {out} or --detector {out}" in outcome.lines()[-1]
    tracker = keepsight.load(out, device="cpu", dtype="float32", with_detector=True)
    assert isinstance(pick(None, tracker, model=out), Sam3Detector)
    # Named beside its own model it shares the model's features; beside another one it comes without the tracker.
    assert choose(out, out) == "sam3"
    beside = pick(out, Tracker(load_builtin()))
    assert not hasattr(beside.backbone, "model")
