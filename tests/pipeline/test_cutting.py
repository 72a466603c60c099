"""Clips: every frame where it belongs, whatever the frame rate and however broken the file."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsight.cli.main import run
from keepsight.core import InputError
from keepsight.pipeline.clips import CutRule, cut_video, plan_clips
from keepsight.video import VideoWriter, open_video

FRAMES = 40


def write_numbered(path: Path, times_s: np.ndarray) -> Path:
    """Frames that say their number in six columns, 64x96 px."""
    with VideoWriter(path, height=64, width=96, fps=25) as writer:
        for number, time_s in enumerate(times_s):
            bits = [20 + 200 * (number >> bit & 1) for bit in range(6)]
            writer.write(
                np.repeat(np.tile(np.repeat(np.uint8(bits), 16), (64, 1))[..., None], 3, axis=2), float(time_s)
            )
    return path


def numbers(path: Path) -> list[int]:
    with open_video(path) as video:
        columns = [frame.rgb[8:56].reshape(48, 6, 16, 3)[:, :, 4:12].mean((0, 2, 3)) > 128 for frame in video.frames()]
    return [sum(1 << bit for bit, lit in enumerate(row) if lit) for row in columns]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose frames come at 25 a second, then at 5."""
    steps = np.where(np.arange(FRAMES - 1) < 20, 0.04, 0.2)
    return write_numbered(tmp_path_factory.mktemp("uneven") / "barn.mp4", np.concatenate([[0.0], np.cumsum(steps)]))


def test_clips_hold_exactly_their_frames_at_their_times(uneven: Path, tmp_path: Path) -> None:
    made = cut_video(uneven, tmp_path, CutRule(frames=8, step=2, overlap=3))
    expected = [list(range(start, min(start + 16, FRAMES), 2)) for start in (0, 10, 20, 30)]
    assert [numbers(path) for path in made.clips] == expected
    assert made.frames == sum(map(len, expected))
    with made.table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["clip"], int(row["first_frame"]), int(row["last_frame"])) for row in rows] == [
        (path.name, frames[0], frames[-1]) for path, frames in zip(made.clips, expected, strict=True)
    ]
    with open_video(uneven) as whole, open_video(made.clips[1]) as clip:
        times_s = whole.times_s[expected[1]]
        np.testing.assert_allclose(clip.times_s, times_s - times_s[0], atol=1e-4)


def test_seconds_are_those_of_the_videos_clock(uneven: Path, tmp_path: Path) -> None:
    made = cut_video(uneven, tmp_path, CutRule(seconds=0.8))
    assert [numbers(path) for path in made.clips] == [
        list(range(20)),
        *([n, n + 1, n + 2, n + 3] for n in range(20, 40, 4)),
    ]


def test_of_a_file_that_is_cut_off_what_is_whole_is_cut_and_said(uneven: Path, tmp_path: Path, capfd) -> None:
    with open_video(uneven) as video, VideoWriter(tmp_path / "whole.mkv", height=64, width=96, fps=25) as writer:
        for frame in video.frames():
            writer.write(frame.rgb)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "half.mkv").write_bytes(data[: len(data) * 6 // 10])
    arguments = ["clip", str(tmp_path / "half.mkv"), "--frames", "7", "--out", str(tmp_path / "out")]
    assert run(arguments) == 0
    printed = capfd.readouterr().out
    got = [number for path in sorted((tmp_path / "out").glob("*.mp4")) for number in numbers(path)]
    assert 7 < len(got) < FRAMES
    assert got == list(range(len(got)))
    assert f"Cut {len(got)} frames into" in printed
    assert "cut off" in printed or "damaged" in printed
    assert run(arguments) == 2
    assert "replace them by --overwrite" in capfd.readouterr().err
    assert run([*arguments, "--overwrite"]) == 0


@given(
    steps=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=80),
    length=st.one_of(st.integers(1, 20), st.floats(0.05, 10.0)),
    step=st.integers(1, 5),
    overlap=st.integers(0, 6),
)
def test_every_frame_that_the_step_takes_is_in_a_clip(
    steps: list[float], length: int | float, step: int, overlap: int
) -> None:
    times_s = np.cumsum([0.0, *steps])
    given_frames = isinstance(length, int)
    overlap = min(overlap, length - 1) if given_frames else overlap
    rule = CutRule(length if given_frames else None, None if given_frames else length, step, overlap)
    try:
        pieces = plan_clips(times_s, rule)
    except InputError:
        # Only where a clip of so many seconds has no frame beyond the overlap.
        assert not given_frames
        reach = times_s[::step]
        counts = [np.sum((reach >= time) & (reach < time + length - 1e-6)) for time in reach]
        assert min(counts) <= overlap
        return
    taken = range(0, len(times_s), step)
    assert sorted({frame for piece in pieces for frame in piece.frames}) == list(taken)
    for before, after in pairwise(pieces):
        assert len(set(before.frames) & set(after.frames)) == overlap
        assert after.frames[-1] > before.frames[-1]
        if given_frames:
            assert len(before.frames) == length
        elif len(before.frames) > 1:
            assert times_s[before.frames[-1]] - times_s[before.start] < length


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "Give --frames N or --seconds T"),
        (["--frames", "5", "--seconds", "2"], "not both"),
        (["--frames", "5", "--overlap", "5"], "can overlap by 4 at most"),
        (["--frames", "0"], "1 frame or more"),
        (["--seconds", "0.1", "--overlap", "4"], "cannot overlap by 4"),
    ],
)
def test_refused_with_one_line(uneven: Path, tmp_path: Path, capfd, options: list[str], line: str) -> None:
    assert run(["clip", str(uneven), "--out", str(tmp_path / "out"), *options]) == 2
    assert line in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
