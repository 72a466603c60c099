"""Synthetic clips and simulated prompts."""

from pathlib import Path

import numpy as np
import pytest

from keepsight.training import prompts, sources
from keepsight.training.clips import make_clip, procedural_assets


def test_a_clip_is_a_function_of_its_seed() -> None:
    assets = procedural_assets(1)
    first, again, other = (make_clip(assets, seed, 4, 128) for seed in (7, 7, 8))
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.frames, other.frames)


def test_labels_tell_what_can_be_seen() -> None:
    assets = procedural_assets(2)
    absent = moved = 0
    for seed in range(12):
        clip = make_clip(assets, seed, 8, 128)
        assert clip.frames.shape == (8, 128, 128, 3)
        assert clip.labels.max() <= 5  # one label a pixel: visible masks are disjoint by construction
        for number in range(1, int(clip.labels.max()) + 1):
            areas = (clip.labels == number).sum((1, 2))
            absent += int((areas[0] > 50) and (areas[1:] == 0).any())
            if areas[0] > 50 and areas[-1] > 50:
                before, after = (np.argwhere(clip.labels[t] == number).mean(0) for t in (0, -1))
                moved += int(np.abs(before - after).max() > 4)
    assert absent >= 2
    assert moved >= 6


@pytest.mark.parametrize("kind", prompts.KINDS)
def test_prompts_fit_the_mask(kind: str) -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[20:60, 30:80] = True
    for seed in range(20):
        given = prompts.simulate(mask, kind, np.random.default_rng(seed))
        for x, y, label in given:
            assert 0 <= x <= 100
            assert 0 <= y <= 100
            if label in (0, 1):
                assert mask[int(y), int(x)] == bool(label)
        corners = [(x, y) for x, y, label in given if label in (2, 3)]
        if corners:
            assert np.allclose(corners, [(30, 20), (80, 60)], atol=13 if kind == "loose" else 6)
            assert kind != "loose" or corners[1][0] - corners[0][0] > 47


def test_corrections_go_to_the_largest_error() -> None:
    truth = np.zeros((64, 64), np.bool_)
    truth[10:40, 10:40] = True
    assert prompts.correct(truth, truth) == []
    missing = truth.copy()
    missing[10:40, 25:40] = False
    ((x, _, label),) = prompts.correct(truth, missing)
    assert label == 1
    assert 25 <= x < 40
    leaked = truth.copy()
    leaked[45:64, 45:64] = True
    ((x, _, label),) = prompts.correct(truth, leaked)
    assert label == 0
    assert x >= 45
    points, labels = prompts.collate([[(1.0, 2.0, 1)], [], [(3.0, 4.0, 2), (5.0, 6.0, 3)]])
    assert points.shape == (3, 2, 2)
    assert labels.tolist() == [[1, -1], [-1, -1], [2, 3]]


def test_a_package_that_cannot_be_fetched_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sources.SourceError, match="not installed; put the package file into"):
        sources.fetch_debian("no-such-package", tmp_path, log=lambda _: None)
    names = [Path(f"stamp{i}.png") for i in range(400)]
    held = [sources.is_held_out(n) for n in names]
    assert held == [sources.is_held_out(n) for n in names]
    assert 30 < sum(held) < 90
