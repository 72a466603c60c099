"""`keepsight train tracker` from data to a model: it helps, it goes on, it says no."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tracker_projects import make_project, wandering

import keepsight
import tiny_models
from keepsight.cli.main import run
from keepsight.core import InputError, ModelError, StoreError
from keepsight.evaluation.report import read_run
from keepsight.evaluation.results import Results, Row
from keepsight.models.builtin.weights import load_network
from keepsight.models.registry import resolve
from keepsight.training.run_folder import REFUSED
from keepsight.training.tracker.job import TrackerTraining
from keepsight.training.tracker.judge import gains
from keepsight.training.tracker.learner import Sam2Learner
from keepsight.training.tracker.run import train_tracker
from keepsight.video import ArrayVideo


def quiet(line: str) -> None:
    """Takes a line."""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three films in projects, and a model that knows nothing."""
    folder = tmp_path_factory.mktemp("studio")
    for seed in range(3):
        make_project(folder / "films", frames=10, seed=seed)
    tiny_models.sam2().save_pretrained(folder / "base")
    return folder


def job(studio: Path, out: Path, **changes: object) -> TrackerTraining:
    plain = TrackerTraining(
        data=(studio / "films",),
        out=out,
        base=str(studio / "base"),
        steps=4,
        rate=1e-3,
        frames=3,
        clicks=1,
        device="cpu",
        cache=studio / "cache",
        held_out=0.34,
        kinds=("mask",),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def learned(studio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has come to know red squares, by way of the command."""
    out = tmp_path_factory.mktemp("runs") / "learned"
    arguments = ["--base", str(studio / "base"), "--steps", "36", "--rate", "2e-3", "--frames", "4", "--clicks", "1"]
    arguments += ["--held-out", "0.34", "--device", "cpu", "--cache", str(studio / "cache"), "--out", str(out)]
    assert run(["train", "tracker", "--data", str(studio / "films"), *arguments]) == 0
    return out


def test_it_learns_and_the_folder_is_a_model(learned: Path, studio: Path) -> None:
    verdict = json.loads((learned / "verdict.json").read_text())
    j = verdict["measures"]["J"]
    assert verdict["better"]
    assert j["after"] > 0.5
    assert j["gain"] > 0.3
    lines = [line.split(",") for line in (learned / "curve.csv").read_text().splitlines()[1:]]
    losses = [float(value) for _, _, _, key, value in lines if key == "loss"]
    assert np.mean(losses[-3:]) < 0.4 * np.mean(losses[:3])
    assert (learned / "curve.png").stat().st_size > 1000
    after = read_run(learned / "after")
    assert after.summary["J"] == j["after"]
    by = [after.summary[f"J&F@{kind}"] for kind in ("mask", "click")]
    assert after.summary["J&F"] == pytest.approx(np.mean(by))
    assert {row.item for row in after.rows} == {"1 by mask", "1 by click"}
    assert len(list((learned / "after" / "pictures").iterdir())) >= 2
    settings = json.loads((learned / "settings.json").read_text())
    assert settings["settings"]["keep"] == 0.0
    assert "3 videos" in settings["split"]
    # What is loaded by name is what was trained, and nothing is left over or missing.
    average = torch.load(learned / "checkpoint.pt", weights_only=True)["average"]
    saved = load_file(learned / "model.safetensors")
    assert set(saved) == set(load_file(studio / "base" / "model.safetensors"))
    tracker = keepsight.load(learned, device="cpu", dtype="float32")
    loaded = tracker.backbone.model.state_dict()  # type: ignore[attr-defined]
    for name, value in average.items():
        assert torch.equal(loaded[name], value), name
    pictures, masks = wandering(6, 77)
    session = tracker.open(ArrayVideo(pictures))
    session.add(object_id=1, frame=0, mask=masks[0, 0])
    *_, last = session.propagate()
    assert last[1].mask.iou(keepsight.Mask.from_array(masks[5, 0])) > 0.4


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_tracker(job(studio, tmp_path / "whole", lora=2), log=quiet)
    step = Sam2Learner.step
    asked: list[int] = []

    def stopped(self: Sam2Learner, number: int, progress: float) -> tuple[torch.Tensor, dict[str, float]]:
        asked.append(number)
        if number == 2:
            raise KeyboardInterrupt
        return step(self, number, progress)

    broken = job(studio, tmp_path / "broken", lora=2)
    monkeypatch.setattr(Sam2Learner, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_tracker(broken, log=quiet)
    with pytest.raises(ModelError):
        resolve(str(tmp_path / "broken"))
    with pytest.raises(StoreError, match="--resume"):
        train_tracker(broken, log=quiet)
    with pytest.raises(InputError, match="seed"):
        train_tracker(replace(broken, seed=1), resume=True, log=quiet)
    monkeypatch.setattr(Sam2Learner, "step", lambda self, n, p: asked.append(n) or step(self, n, p))
    # What decides nothing may be another.
    resumed = train_tracker(replace(broken, memory_gb=99.0), resume=True, log=quiet)
    assert asked == [0, 1, 2, 2, 3]
    assert whole is not None
    assert resumed is not None
    first, second = load_file(whole.weights), load_file(resumed.weights)
    assert set(first) == set(second)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("rate", [0.3, 1e30])
def test_what_makes_it_worse_is_no_model(
    rate: float, learned: Path, studio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "worse"
    arguments = ["--base", str(learned), "--steps", "4", "--rate", str(rate), "--frames", "3", "--clicks", "1"]
    arguments += ["--held-out", "0.34", "--device", "cpu", "--cache", str(studio / "cache"), "--out", str(out)]
    assert run(["train", "tracker", "--data", str(studio / "films"), *arguments]) == 3
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "--rate" in said[0]
    assert (out / REFUSED / "model.safetensors").is_file()
    assert not list(out.glob("**/config.json"))
    for folder in (out, out / REFUSED):
        with pytest.raises(ModelError):
            resolve(str(folder))
    assert not json.loads((out / "verdict.json").read_text())["better"]


def test_the_builtin_model_takes_the_same_road(studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    quick = job(studio, tmp_path / "run", base="builtin", steps=3, keep=0.25, objects=1)
    outcome = train_tracker(quick, log=told.append)
    assert outcome is not None
    average = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["average"]
    base, made = load_network().state_dict(), load_network(outcome.weights).state_dict()
    moved = 0
    for name, value in average.items():
        if name.startswith("backbone."):
            assert torch.equal(made[name], base[name])
        else:
            wanted = torch.lerp(value, base[name], 0.25).half().float()
            assert torch.allclose(made[name], wanted, atol=1e-6)
            moved += not torch.equal(value, base[name])
    assert moved > 50
    assert any(line.startswith("memory: about") for line in told)
    train_tracker(replace(quick, out=tmp_path / "again"), log=told.append)
    assert sum(line.startswith("making") for line in told) == 1  # the clips were there


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"data": (Path("nowhere"),)}, "does not exist"),
        ({"base": "builtin", "lora": 4}, "--lora"),
        ({"base": "builtin", "image_size": 512}, "--image-size"),
        ({"minutes": 1.0}, "--steps or --minutes"),
        ({"parts": ("encoder",)}, "--parts"),
        ({"keep": 1.5}, "--keep"),
        ({"kinds": ("word",)}, "--judge"),
        ({"memory_gb": 0.0}, "--image-size"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(changes: dict[str, object], line: str, studio: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=line) as caught:
        train_tracker(job(studio, tmp_path / "run", **changes), log=quiet)
    assert "\n" not in str(caught.value)


def test_a_folder_of_others_is_left_alone(studio: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="not empty"):
            train_tracker(job(studio, tmp_path), overwrite=overwrite, log=quiet)
    assert [item.name for item in tmp_path.iterdir()] == ["letter.txt"]


def test_one_video_gives_an_interval_over_its_stretches() -> None:
    def results(shift: Callable[[int], float]) -> Results:
        values = tuple(0.5 + shift(t) for t in range(120))
        series = dict.fromkeys(("J&F", "J", "F"), values)
        means = dict.fromkeys(("J&F", "J", "F"), float(np.mean(values)))
        row = Row("film", "1", means, ("click",), tuple(range(120)), series)
        return Results("vos", (), {**means, "J&F@click": means["J&F"]}, ("J&F",), (row,), {})

    plain = results(lambda t: 0.0)
    steady, said = gains(plain, results(lambda t: 0.1 + 0.01 * (t % 2)))
    assert steady["J&F"].certain
    assert steady["J&F@click"].certain
    assert steady["J&F"].value == pytest.approx(0.105)
    assert "one video" in said
    torn, _ = gains(plain, results(lambda t: 0.2 if t < 60 else -0.19))
    assert not torn["J&F"].certain
