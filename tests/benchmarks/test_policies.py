"""The benchmark of the policies: its clips are what they say they are, and its numbers are what they are called."""

from __future__ import annotations

import json

import pytest

import policies
import policy_report
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
    back = policy_report.back_frames(area)
    # Six frames away count, three do not.
    assert back == list(range(16, 16 + policy_report.BACK_FRAMES))
    assert policy_report.back_frames([100] * 20) == []


def _made_up_clips():
    """Two policies on three clips with two objects: J .5 and .7 throughout; the second object is away for ten frames."""
    area = ([40] * 30, [40] * 10 + [0] * 10 + [40] * 10)

    def track(value, pixels):
        return {"j": [value] * 30, "f": [value + 0.1] * 30, "area": pixels, "wrong": [0] * 30, "empty": [0] * 30}

    usage = {"seconds": 10.0, "own_s": 5.0, "units": 60, "peak_bytes": 2**20, "uncertain": {}}
    doubtful = {**usage, "seconds": 12.0, "uncertain": {"1": 0.1, "2": 0.3}}
    return [
        {
            "seed": seed,
            "usage": {"sam2": usage, "sam2long": doubtful},
            "tracks": {
                "sam2": [track(0.5, pixels) for pixels in area],
                "sam2long": [track(0.7 + 0.01 * seed, pixels) for pixels in area],
            },
        }
        for seed in (1, 2, 3)
    ]


def test_a_policy_is_a_run_of_the_evaluation(tmp_path):
    clips = _made_up_clips()
    runs = {name: policy_report.results_of({"frames": 30}, clips, name) for name in ("sam2", "sam2long")}
    assert runs["sam2"].summary["J&F"] == pytest.approx(0.55)
    rows = runs["sam2long"].rows
    assert [row.name for row in rows[:3]] == ["clip 1/1", "clip 1/2", "clip 2/1"]
    assert "J after return" not in rows[0].values
    assert rows[1].values["J after return"] == pytest.approx(0.71)
    assert rows[1].values["uncertain"] == 0.3
    assert sum(row.values["seconds"] for row in rows) == pytest.approx(36)
    policy_report.write_runs(runs, tmp_path, None)
    found = json.loads((tmp_path / "sam2long-against-sam2" / "diff.json").read_text())
    assert found["figures"]["J"]["difference"] == pytest.approx(0.22)
    assert found["figures"]["J"]["low"] == pytest.approx(0.21)
    assert found["settings"] == {"policy": {"a": "sam2", "b": "sam2long"}}
    [plain, long] = policy_report.quality_rows(runs)
    assert plain[1:3] == ["0.550 [0.550, 0.550]", ""]
    assert long[2] == "+0.220 [+0.210, +0.230]"
    assert policy_report.cost_rows(clips)[1][1] == "1.20x"


def test_a_clip_is_followed_kept_and_shown(pictures, tmp_path, capsys):
    import keepsight

    tracker = keepsight.load("builtin", device="cpu", zoom=False)
    clip = LongClip(pictures, 6, 8, 1, 96, 128)
    variant = "sam2long:pathways=1"
    found = policies.follow(clip, ["sam2", "sam2long", variant], tracker, {variant: {"pathways": 1}})
    assert set(found["tracks"]) == {"sam2", "sam2long", variant, policies.LIVE}
    assert found["usage"][variant]["units"] == 7
    assert len(found["tracks"]["sam2"][0]["j"]) == 8
    assert found["tracks"]["sam2"][0]["j"][0] > 0.8
    assert found["usage"]["sam2"]["units"] == 7
    # A line that a kill has cut off is left out.
    (tmp_path / policy_report.RESULTS).write_text(
        json.dumps({"policies": ["sam2", "sam2long"]}) + "\n" + json.dumps(found)[:50] + "\n" + json.dumps(found) + "\n"
    )
    assert [one["seed"] for one in policy_report.load(tmp_path)[1]] == [6]
    policy_report.show(tmp_path)
    assert "sam2long against sam2" in capsys.readouterr().out
    assert (tmp_path / "policies.png").exists()
    assert "**Quality**" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "runs" / "sam2long-live-against-sam2" / "diff.html").exists()


def test_options_are_not_tried_on_the_test():
    asked = ["sam2", "sam2long"], ["sam2long:pathways=2,revise=false"]
    for seeds in (range(5000, 5060), range(4990, 5001), range(5999, 6100)):
        with pytest.raises(SystemExit, match="are the test"):
            policies.chosen_options(*asked, seeds)
        assert policies.chosen_options(asked[0], [], seeds) == {}
    for seeds in (range(1000, 1060), range(4990, 5000), range(6000, 6001)):
        assert policies.chosen_options(*asked, seeds) == {
            "sam2long:pathways=2,revise=false": {"pathways": 2, "revise": False}
        }
