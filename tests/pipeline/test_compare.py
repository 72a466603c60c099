"""Policies compared in step give what each gives alone, on one pass of the encoder; and what a comparison leaves behind."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_jobs import PROMPTS, write_clip

from keepsight.cli.main import run
from keepsight.core import FrameResult, InputError, Mask, Source, TrackedObject
from keepsight.formats.labels import write_labels
from keepsight.memory import POLICIES, SAM2Long, policy_factory
from keepsight.models.loading import load_backbone
from keepsight.pipeline.compare import run_compare
from keepsight.pipeline.compare_job import CompareJob
from keepsight.pipeline.comparison import agreement_of, quality_of, where_to_look
from keepsight.pipeline.job import SegmentJob
from keepsight.tracking import EngineOptions, Session
from keepsight.tracking.together import Together
from keepsight.video import VideoSource, open_video
from keepsight.video.shared import SharedVideo

STOP = 15
# Every frame in doubt, so that pathways differ and frames are revised.
DOUBTING = SAM2Long(uncertainty=1000)


def _alone(backbone, policy, options, video, direction) -> list[FrameResult]:
    session = Session(backbone, policy, options, video)
    for prompt in PROMPTS:
        session.add_prompt(prompt)
    return [*session.propagate(stop=STOP, direction=direction), *session.finalize()]


def _together(backbone, policies, options, video, direction):
    together = Together(backbone, policies, options, video)
    for prompt in PROMPTS:
        together.add_prompt(prompt)
    found: dict[str, list[FrameResult]] = {name: [] for name in policies}
    for shown in together.propagate(stop=STOP, direction=direction):
        for name, result in shown.items():
            found[name].append(result)
    for name, revised in together.finalize().items():
        found[name] += revised
    return together, found


@pytest.mark.parametrize(
    ("model", "zoom", "names", "direction"),
    [
        ("tiny", False, list(POLICIES), "both"),
        ("tiny", True, list(POLICIES), "forward"),
        ("builtin", False, ["sam2", "sam2long", "mosam"], "forward"),
        ("builtin", True, ["sam2", "dms", "dam4sam"], "forward"),
    ],
)
def test_each_gives_what_it_gives_alone(
    studio: Path, monkeypatch: pytest.MonkeyPatch, model: str, zoom: bool, names: list[str], direction: str
) -> None:
    backbone = load_backbone("builtin" if model == "builtin" else str(studio / "model"), device="cpu")
    options = EngineOptions(zoom=zoom)
    policies = {name: policy_factory(name) for name in names}
    if "sam2long" in names:
        policies["doubting"] = policy_factory(DOUBTING)
    calls: list[int] = []
    encode = backbone.encode_views

    def counted(views):
        calls.append(len(views))
        return encode(views)

    with open_video(studio / "clip.mp4") as video:
        alone = {name: _alone(backbone, policy, options, video, direction) for name, policy in policies.items()}
        read: list[int] = []
        frames = video.frames

        def watched(*arguments):
            for frame in frames(*arguments):
                read.append(frame.index)
                yield frame

        monkeypatch.setattr(video, "frames", watched)
        monkeypatch.setattr(backbone, "encode_views", counted)
        together, found = _together(backbone, policies, options, video, direction)
    assert found == alone
    assert together.sights.views == sum(calls)
    visits = STOP - 4 + (STOP - 5 if direction == "both" else 0)
    if not zoom:
        # Both prompted frames are kept; every other visit is one view, whoever looks.
        expected = [result.frame for result in found[names[0]]]
        assert sum(calls) == len({4, 9}) + sum(frame not in (4, 9) for frame in expected)
        assert all(usage.views <= sum(calls) for usage in together.usage.values())
    else:
        assert sum(calls) < sum(usage.views for usage in together.usage.values())
    # One sweep a direction, whatever the number of policies.
    assert len(read) <= visits + 10
    assert len(set(read)) >= STOP - 4
    if "doubting" in found:
        assert together.usage["doubting"].units > together.usage["sam2"].units
        assert sum(together.usage["doubting"].uncertain.values()) > 0
    assert all(usage.peak_bytes > 0 and usage.own_s > 0 for usage in together.usage.values())


def test_readers_share_one_sweep_and_hold_little(tmp_path: Path) -> None:
    with open_video(write_clip(tmp_path / "clip.mp4", 12)) as video:
        shared = SharedVideo(video, 3)
        readers: list[VideoSource] = shared.readers()
        ways = [reader.frames(2, 11, 1) for reader in readers]
        for index in range(2, 6):
            rows = [next(way) for way in ways]
            assert {row.index for row in rows} == {index}
            assert len({id(row) for row in rows}) == 1
            assert len(shared._sweeps[0]._held) == 0
        ways[0].close()  # type: ignore[attr-defined]
        assert [frame.index for frame in ways[1]] == [6, 7, 8, 9, 10]
        assert [frame.index for frame in ways[2]] == [6, 7, 8, 9, 10]
        assert len(shared._sweeps[0]._held) == 0
        first, second = readers[0].frames(5, 2, -1), readers[1].frames(5, 2, -1)
        assert next(first) is next(second)
        with pytest.raises(ValueError, match="different ways"):
            readers[2].frames(0, 3, 1)


def _job(studio: Path, out: Path, **changes) -> CompareJob:
    job = SegmentJob(studio / "clip.mp4", out, PROMPTS, model=str(studio / "model"), stop=STOP)
    own = {name: changes.pop(name) for name in ("policies", "truth", "overwrite", "options") if name in changes}
    values = {"policies": ("sam2", "sam2long", "mosam", "dms")} | own
    return CompareJob(replace(job, **changes), **values)


def _write_truth(folder: Path, results: dict[int, FrameResult], every: int = 3) -> Path:
    folder.mkdir()
    for frame in sorted(results)[::every]:
        labels = np.zeros((results[frame].height, results[frame].width), np.uint8)
        for item in results[frame].objects:
            labels[item.mask.to_array()] = item.object_id
        write_labels(folder / f"{frame:05d}.png", labels)
    return folder


def test_what_is_written(studio: Path, tmp_path: Path) -> None:
    # Apart, for a picture of labels cannot hold overlaps.
    prompts = (PROMPTS[0],)
    plain = run_compare(_job(studio, tmp_path / "plain", prompts=prompts, options={"sam2long": {"uncertainty": 1000}}))
    truth = _write_truth(tmp_path / "truth", plain.results["sam2"])
    done = run_compare(_job(studio, tmp_path / "out", prompts=prompts, truth=truth))
    assert done.state == "finished"
    assert done.frames == STOP - 4
    best = {row.policy: row for row in done.rows}
    assert (best["sam2"].j, best["sam2"].f, best["sam2"].j_and_f) == (1.0, 1.0, 1.0)
    assert all(row.j is not None and 0 <= row.j <= 1 for row in done.rows)
    assert all(row.units > 0 and row.peak_bytes > 0 and row.seconds >= row.own_seconds > 0 for row in done.rows)
    assert {name for name, _ in done.files} == {
        *("table.json", "table.csv", "frames.csv", "compare.png", "compare.mp4"),
    }
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [row["policy"] for row in table["policies"]] == ["sam2", "sam2long", "mosam", "dms"]
    assert table["policies"][0]["objects"]["1"]["j"] == 1.0
    assert len(table["agreement"]) == 6
    assert table["look"] == done.look
    with (tmp_path / "out" / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * done.frames
    assert {row["j"] for row in rows if row["policy"] == "sam2"} == {"", "1.0"}
    with open_video(tmp_path / "out" / "compare.mp4") as film:
        assert film.frame_count == done.frames
        # Five panes, the truth among them, of 96x72 px.
        assert (film.width // 96) * (film.height // 72) >= 5
    revised = {row.policy: row.revised for row in plain.rows}
    frames = [r.frame for r in plain.results["sam2long"].values() if r.objects[0].source is Source.REVISED]
    assert revised["sam2long"] == len(frames)
    with pytest.raises(InputError, match="--overwrite"):
        run_compare(_job(studio, tmp_path / "out"))


def test_ctrl_c_keeps_what_there_is(studio: Path, tmp_path: Path) -> None:
    def press(step) -> None:
        if step.stage == "follow" and step.done == 5:
            signal.raise_signal(signal.SIGINT)

    done = run_compare(_job(studio, tmp_path / "out", policies=("sam2", "sam2long")), progress=press)
    assert (done.state, done.frames, done.exit_code) == ("cancelled", 5, 130)
    assert len(done.files) == 5
    with open_video(tmp_path / "out" / "compare.mp4") as film:
        assert film.frame_count == 5


def test_bad_input_is_one_line(studio: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        run_compare(_job(studio, tmp_path / "out", truth=tmp_path / "nowhere"))
    with pytest.raises(InputError, match="Nothing to follow"):
        run_compare(_job(studio, tmp_path / "out", prompts=()))
    truth = tmp_path / "other"
    truth.mkdir()
    write_labels(truth / "00005.png", np.full((72, 96), 7, np.uint8))
    with pytest.raises(InputError, match="has objects 7, but objects 1, 2"):
        run_compare(_job(studio, tmp_path / "out", truth=truth))
    write_labels(truth / "00005.png", np.ones((72, 90), np.uint8))
    with pytest.raises(InputError, match="90x72 px"):
        run_compare(_job(studio, tmp_path / "out", truth=truth))
    assert not (tmp_path / "out").exists()


def test_command_line(studio: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clip, model = str(studio / "clip.mp4"), str(studio / "model")
    common = [
        "compare",
        clip,
        "--model",
        model,
        "--stop",
        "8",
        "--out",
        str(tmp_path / "out"),
        "--box",
        "0:10,15,35,38=red",
    ]
    for bad in (
        ["--policies", "sam2,sma2long"],
        ["--policy-option", "pathways=2"],
        ["--truth", str(tmp_path / "none")],
    ):
        assert run([*common, *bad]) == 2
        printed = capfd.readouterr().err.splitlines()
        assert len(printed) == 1
        assert printed[0].startswith("keepsight: ")
    assert run([*common, "--policies", "sam2,dms", "--policy-option", "dms.score_threshold=0.4", "--no-zoom"]) == 0
    printed_out = capfd.readouterr().out
    assert "sam2" in printed_out
    assert "compare.mp4" in printed_out
    assert "8 frames; 8 views encoded once" in printed_out
    assert (tmp_path / "out" / "compare.png").stat().st_size > 10_000
    assert run([*common, "--policies", "sam2"]) == 2
    assert "--overwrite" in capfd.readouterr().err


def _result(frame: int, columns: int, source: Source = Source.TRACKED) -> FrameResult:
    pixels = np.zeros((20, 20), bool)
    pixels[:, :columns] = True
    return FrameResult(frame, frame / 10, 20, 20, (TrackedObject(3, Mask.from_array(pixels), 0.9, 0.9, source),))


def test_numbers_of_a_comparison() -> None:
    one = {frame: _result(frame, 10) for frame in range(30)}
    other = {frame: _result(frame, 5 if 10 <= frame < 16 else 10) for frame in range(30)}
    agreement = agreement_of({"one": one, "other": other})
    assert agreement is not None
    assert agreement.mean[[0, 12, 29]].tolist() == [1.0, 0.5, 1.0]
    assert agreement.of("one") == pytest.approx(agreement.objects[3])
    spot = where_to_look(agreement)
    assert spot is not None
    assert (spot.first, spot.last, spot.pair, spot.object_id) == (10, 15, ("one", "other"), 3)
    same = agreement_of({"one": one, "other": one})
    assert same is not None
    assert where_to_look(same) is None
    assert agreement_of({"one": one}) is None

    truth = {frame: {3: one[frame].objects[0].mask} for frame in (0, 11, 12)} | {13: {}}
    quality = quality_of(other | {0: _result(0, 5, Source.PROMPT)}, truth, 3)
    assert quality is not None
    assert quality.by_frame == {11: 0.5, 12: 0.5, 13: 0.0}
    assert quality.j == pytest.approx(1 / 3)
    assert quality_of(one, {}, 3) is None


def test_frames_before_an_object_is_followed_are_nothing_to_agree_on() -> None:
    early = {0: FrameResult(0, 0.0, 20, 20), 1: _result(1, 10)}
    late = {0: FrameResult(0, 0.0, 20, 20), 1: _result(1, 5)}
    agreement = agreement_of({"a": early, "b": late})
    assert agreement is not None
    assert agreement.mean.tolist() == [1.0, 0.5]
