"""A short training run on generated clips: it learns, and resumes bit-equal after a kill."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from keepsight.models.builtin.network import BuiltinNetwork
from keepsight.models.builtin.weights import load_network
from keepsight.training import builtin as recipe
from keepsight.training.builtin import set_statistics
from keepsight.training.cache import ClipCache, chunk_folders, write_chunk, write_chunks
from keepsight.training.clips import procedural_assets
from keepsight.training.episodes import EpisodeOptions, EpisodeTrainer
from keepsight.training.evaluate import evaluate, table
from keepsight.training.trainer import Group, Schedule, Trainer

OPTIONS = EpisodeOptions(clips=1, frames=2, objects=2, corrected=0.5)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    root = tmp_path_factory.mktemp("cache")
    write_chunk(root / "chunk_00000", load_network().backbone, procedural_assets(3), 50, clips=4, length=4)
    return ClipCache(root)


def fresh(cache: ClipCache) -> BuiltinNetwork:
    """Pretrained backbone, everything else untrained."""
    torch.manual_seed(0)
    network = BuiltinNetwork()
    network.backbone.load_state_dict(load_network().backbone.state_dict())
    set_statistics(network, cache)
    network.backbone.requires_grad_(False)
    return network.train()


def trainer(cache: ClipCache, folder: Path, steps: int) -> tuple[Trainer, EpisodeTrainer]:
    network = fresh(cache)
    heads = [p for p in network.parameters() if p.requires_grad]
    schedule = Schedule(peak=1e-3, steps=steps, warmup=1)
    return (
        Trainer(network, [Group(heads)], schedule, folder, save_every_s=0, log=lambda _: None),
        EpisodeTrainer(network, cache, 0),
    )


class _Killed(Exception):
    pass


def killed_at(step: int, episodes: EpisodeTrainer) -> Callable[[int, float], tuple[torch.Tensor, dict[str, float]]]:
    def function(number: int, progress: float) -> tuple[torch.Tensor, dict[str, float]]:
        if number == step:
            raise _Killed
        return episodes(number, OPTIONS)

    return function


def test_episodes_see_flow_and_the_views_they_were_made_through(cache: ClipCache) -> None:
    clip = next(i for i in range(len(cache)) if len(np.unique(cache.views(i), axis=0)) > 1)
    episodes = EpisodeTrainer(fresh(cache), cache, 1)
    picks, masks, where = episodes._draw(np.random.default_rng(0), EpisodeOptions(clips=2, frames=3, objects=2))
    assert len(picks) == 6
    assert masks.shape == (3, 2, 2, 256, 256)
    assert torch.equal(where[1, 1], torch.tensor([[1.0, 1, 0, 0]] * 2))
    there, back = where[2, 0, 0], where[0, 2, 0]
    assert torch.allclose(there[:2] * back[:2], torch.ones(2), atol=1e-5)
    assert torch.allclose(there[:2] * back[2:] + there[2:], torch.zeros(2), atol=1e-4)
    assert cache.flow(clip, 1, 1).shape == (64, 64, 2)
    assert np.abs(cache.flow(clip, 0, 1)).max() == 0  # nothing before the first frame
    _, figures = episodes(0, EpisodeOptions(clips=2, frames=3, objects=2, flow=1.0, gate=1.0))
    assert 0 <= figures["flow"] <= 1


def test_only_the_newest_chunks_stay_and_the_cache_lets_go_of_the_others(tmp_path: Path) -> None:
    backbone, assets = load_network().backbone, procedural_assets(3)
    for number in range(2):
        write_chunk(tmp_path / f"chunk_{number:05d}", backbone, assets, number, clips=1, length=2)
    rolling = ClipCache(tmp_path)
    before = rolling.labels(0).copy()
    write_chunks(tmp_path, backbone, assets, [0, 2], lambda _: None, keep=1, clips=1)
    rolling.refresh()
    assert [p.name for p in chunk_folders(tmp_path)] == ["chunk_00001", "chunk_00002"]
    assert len(rolling) == 2
    assert not np.array_equal(rolling.labels(0), before)


def test_ten_steps_learn_something(cache: ClipCache, tmp_path: Path) -> None:
    run, episodes = trainer(cache, tmp_path, 10)
    losses = []

    def function(number: int, progress: float) -> tuple[torch.Tensor, dict[str, float]]:
        loss, figures = episodes(0, OPTIONS)  # the same episode again and again
        losses.append(float(loss.detach()))
        return loss, figures

    run.run(function, every=5)
    assert losses[-1] < 0.7 * losses[0]
    assert (tmp_path / "curve.csv").read_text().count("\n") > 5


def test_a_killed_run_continues_bit_equal(cache: ClipCache, tmp_path: Path) -> None:
    straight, episodes = trainer(cache, tmp_path / "a", 4)
    straight.run(lambda number, _: episodes(number, OPTIONS))
    broken, episodes = trainer(cache, tmp_path / "b", 4)
    with pytest.raises(_Killed):
        broken.run(killed_at(2, episodes))
    resumed, episodes = trainer(cache, tmp_path / "b", 4)
    assert resumed.resume()
    assert resumed.step == 2
    resumed.run(lambda number, _: episodes(number, OPTIONS))
    for name, value in straight.average.items():
        assert torch.equal(value, resumed.average[name]), name


def test_the_shipped_weights_beat_showing_the_first_mask_for_ever() -> None:
    scores = evaluate(load_network(), procedural_assets(99), 2, 8, modes=("copy", "mask", "box"))
    assert scores["mask"].later > scores["copy"].later + 0.1
    assert scores["box"].later > scores["copy"].later
    assert scores["box"].by_frame[0] > 0.5
    assert "| mask |" in table(scores)


def test_one_call_runs_both_phases_and_leaves_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[Path | None] = []

    def makers(data: Path, root: Path, weights: Path | None, workers: int) -> list[object]:
        starts.append(weights)
        write_chunk(root / "chunk_00000", load_network(weights).backbone, procedural_assets(3), 50, clips=2, length=4)
        return []

    def network(data: Path, seed: int, log: Callable[[str], None]) -> BuiltinNetwork:
        made = BuiltinNetwork()
        made.backbone.load_state_dict(load_network().backbone.state_dict())
        return made

    monkeypatch.setattr(recipe.sources, "fetch_all", lambda *_: None)
    monkeypatch.setattr(recipe, "_start_makers", makers)
    monkeypatch.setattr(recipe, "_FIRST_CHUNKS", 1)
    monkeypatch.setattr(recipe, "new_network", network)
    phases = tuple(replace(p, stages=(recipe.Stage("only", 0.0, OPTIONS),)) for p in recipe.PHASES)
    weights = recipe.train_builtin(
        tmp_path / "out", data=tmp_path, minutes=0.01, device="cpu", phases=phases, log=lambda _: None
    )
    first = tmp_path / "out" / "first" / "weights.safetensors"
    assert starts == [None, first]
    assert not (tmp_path / "out" / "second" / "cache").exists()
    before, after = load_network(first), load_network(weights)
    state = torch.load(tmp_path / "out" / "second" / "checkpoint.pt", weights_only=True)["average"]
    middle = (state["neck.key.weight"] + before.neck.key.weight) / 2
    assert torch.allclose(after.neck.key.weight, middle, atol=1e-3)
    assert (weights.parent / "config.json").exists()
    assert not torch.equal(before.neck.key.weight, after.neck.key.weight)
    recipe.train_builtin(tmp_path / "out", data=tmp_path, minutes=0.01, phases=phases, log=lambda _: None)
    assert len(starts) == 2  # both were finished
