"""The benchmark of the policies: its clips are what they say they are, and its numbers are what they are called."""

from __future__ import annotations

import json

import numpy as np
import pytest

import policies
from long_clips import LongClip
from sprites import Pictures


@pytest.fixture(scope="module")
def pictures():
    return Pictures.made_up(0)


def test_a_clip_is_a_function_of_its_seed(pictures):
    first, second, other = (LongClip(pictures, seed, 90, 1, 120, 200) for seed in (3, 3, 4))
    for t in (0, 40, 89):
        assert (first.read(t).rgb == second.read(t).rgb).all()
        assert first.truth(t, 1) == second.truth(t, 1)
    assert not (first.read(40).rgb == other.read(40).rgb).all()
    assert first.read(0).rgb.shape == (120, 200, 3)


def test_targets_go_and_come_back(pictures):
    clip = LongClip(pictures, 5, 200, 2, 120, 200)
    assert clip.targets == [1, 2]
    assert clip.distractors == [3, 4]
    gone = 0
    for number, events in zip(clip.targets, clip.events, strict=True):
        assert clip.truth(0, number).area > 0
        for event in events:
            if event.kind == "exit":
                gone += 1
                assert clip.truth((event.first + event.last) // 2, number).area == 0
                assert event.last < 199
    assert gone


def test_frames_after_a_return():
    area = [100] * 10 + [0] * 6 + [50] * 30 + [0] * 3 + [50] * 5
    back = policies.back_frames(area)
    # Six frames away count, three do not.
    assert back == list(range(16, 16 + policies.BACK_FRAMES))
    assert policies.back_frames([100] * 20) == []


def test_bootstrap_holds_the_mean():
    values = np.array([0.2, 0.4, 0.6, np.nan])
    interval = policies.bootstrap(values)
    assert interval.mean == pytest.approx(0.4)
    assert 0.2 <= interval.low < 0.4 < interval.high <= 0.6
    assert np.isnan(policies.bootstrap(np.array([np.nan])).mean)


def test_a_clip_is_followed_kept_and_shown(pictures, tmp_path, capsys):
    import keepsight

    tracker = keepsight.load("builtin", device="cpu", zoom=False)
    clip = LongClip(pictures, 6, 8, 1, 96, 128)
    found = policies.follow(clip, ["sam2", "sam2long"], tracker)
    assert set(found["tracks"]) == {"sam2", "sam2long", policies.LIVE}
    assert len(found["tracks"]["sam2"][0]["j"]) == 8
    assert found["tracks"]["sam2"][0]["j"][0] > 0.8
    assert found["usage"]["sam2"]["units"] == 7
    # A line that a kill has cut off is left out.
    (tmp_path / policies.RESULTS).write_text(
        json.dumps({"policies": ["sam2", "sam2long"]}) + "\n" + json.dumps(found)[:50] + "\n" + json.dumps(found) + "\n"
    )
    assert [one["seed"] for one in policies.load(tmp_path)[1]] == [6]
    policies.show(tmp_path)
    assert "sam2long against sam2" in capsys.readouterr().out
    assert (tmp_path / "policies.png").exists()
    assert "**Quality**" in (tmp_path / "report.md").read_text()
