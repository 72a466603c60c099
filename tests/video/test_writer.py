"""A file under its own name is whole; a live one plays at any moment."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numbered_clips import number_of, numbered

from keepsight.core import InputError, StoreError
from keepsight.video import ArrayVideo, VideoWriter, cut_clip, open_video


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "h264"),
        ("a.mov", "mpeg4"),
        ("a.mkv", "hevc"),
        ("a.webm", "vp9"),
        ("a.avi", "h264"),
        ("a.ts", "h264"),
        ("a.gif", "h264"),
        ("b.mkv", "ffv1"),
        ("b.avi", "mjpeg"),
    ],
)
@pytest.mark.parametrize("size", [(96, 128), (95, 127)])
def test_what_is_written_is_read_back(tmp_path, name, codec, size):
    with VideoWriter(tmp_path / "new" / name, height=size[0], width=size[1], fps=25, codec=codec) as writer:
        for number in range(8):
            writer.write(numbered(number, *size))
        assert not (tmp_path / "new" / name).exists()
    assert [file.name for file in (tmp_path / "new").iterdir()] == [name]
    with open_video(tmp_path / "new" / name) as video:
        frames = list(video.frames())
        assert [number_of(frame.rgb) for frame in frames] == list(range(8))
        assert video.fps == pytest.approx(25, rel=0.01)
        grown = (video.height - size[0], video.width - size[1])
        assert grown in ((0, 0), (1, 1))
        error = np.abs(frames[3].rgb[: size[0], : size[1]].astype(int) - numbered(3, *size))
        # A GIF has 256 colours.
        assert error.max() == 0 if codec == "ffv1" else np.median(error) < (40 if name == "a.gif" else 12)
        assert video.warnings == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.floats(0.002, 2.0), min_size=1, max_size=12),
    start=st.sampled_from([0.0, 0.7]),
    suffix=st.sampled_from(["mp4", "mkv"]),
)
def test_given_times_are_kept(tmp_path, gaps, start, suffix):
    times = start + np.concatenate([[0.0], np.cumsum(gaps)])
    with VideoWriter(tmp_path / f"v.{suffix}", height=96, width=128, fps=25) as writer:
        for number, time_s in enumerate(times):
            writer.write(numbered(number), time_s)
    with open_video(tmp_path / f"v.{suffix}") as video:
        np.testing.assert_allclose(video.times_s, times - start, atol=1e-3 if suffix == "mkv" else 2e-5)
        assert [number_of(frame.rgb) for frame in video.frames()] == list(range(len(times)))


@pytest.mark.parametrize("fps", [23.976, 24, 29.97, 60])
def test_frame_rates_survive(tmp_path, fps):
    cut_clip(ArrayVideo([numbered(i) for i in range(48)], fps), tmp_path / "a.mp4", 0, 48)
    assert open_video(tmp_path / "a.mp4").fps == pytest.approx(fps, rel=1e-4)


def test_an_error_leaves_nothing_and_the_old_file_untouched(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    writer = VideoWriter(path, height=96, width=128, fps=25)

    def fail() -> None:
        with writer:
            writer.write(numbered(0))
            assert (tmp_path / "a.mp4.part").exists()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.mp4", b"old")]
    with pytest.raises(InputError, match="no frame was written"), VideoWriter(path, height=96, width=128, fps=25):
        pass
    assert path.read_bytes() == b"old"
    with pytest.raises(StoreError, match="closed already"):
        writer.write(numbered(0))


def test_bad_arguments_are_one_clear_line(tmp_path, monkeypatch):
    good = {"height": 96, "width": 128, "fps": 25}
    (tmp_path / "file").touch()
    for name, changes, kind, words in [
        ("a.doc", {}, InputError, "use one of"),
        ("a.mp4", {"codec": "nonsense"}, InputError, "no video encoder"),
        ("a.mp4", {"codec": "aac"}, InputError, "no video encoder"),
        ("a.mp4", {"fps": 0}, InputError, "above 0"),
        ("a.mp4", {"width": 0}, InputError, "at least 1x1"),
        ("a.avi", {"live": True}, InputError, "while it grows"),
        ("a.webm", {"codec": "h264"}, InputError, "cannot encode"),
        ("file/a.mp4", {}, StoreError, "Cannot write"),
    ]:
        with pytest.raises(kind, match=words) as caught:
            VideoWriter(tmp_path / name, **(good | changes))
        assert "\n" not in str(caught.value)
    with VideoWriter(tmp_path / "a.mp4", **good) as writer:
        writer.write(numbered(0), 1.0)
        for rgb, time_s in [(numbered(1), 1.0), (numbered(1), float("nan")), (numbered(1)[1:], None)]:
            with pytest.raises(InputError):
                writer.write(rgb, time_s)
    monkeypatch.setattr("keepsight.video.writer._ENCODERS", {"h264": ("libnothing", "mpeg4")})
    with VideoWriter(tmp_path / "a.mp4", **good) as writer:
        writer.write(numbered(0))
    assert writer.codec == "mpeg4"
    assert "libnothing is missing" in writer.warnings[0]


SCRIPT = """
    import os, resource, sys
    import numpy as np
    from keepsight.core import StoreError
    from keepsight.video import VideoWriter
    noise = np.random.default_rng(0)
    def frame():
        return noise.integers(0, 255, (96, 128, 3), dtype=np.uint8)
"""


def _run(body: str, *args: object) -> str:
    script = textwrap.dedent(SCRIPT) + textwrap.dedent(body)
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.mark.parametrize("live", [0, 1])
def test_full_disk_is_one_line_and_leaves_no_half_file(tmp_path, live):
    said = _run(
        """
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
        try:
            with VideoWriter(sys.argv[1], height=96, width=128, fps=5, live=sys.argv[2] == "1") as writer:
                for _ in range(60):
                    writer.write(frame())
        except StoreError as error:
            print(error)
        """,
        tmp_path / "a.mp4",
        live,
    )
    assert "File too large" in said
    assert said.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == (["a.mp4"] if live else [])


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_live_file_plays_after_the_program_was_killed(tmp_path, name):
    _run(
        """
        writer = VideoWriter(sys.argv[1], height=96, width=128, fps=5, live=True)
        for _ in range(32):
            writer.write(frame())
        os.kill(os.getpid(), 9)
        """,
        tmp_path / name,
    )
    with open_video(tmp_path / name) as video:
        assert 25 <= len(list(video.frames())) <= 32


def test_faststart_puts_the_table_of_contents_first(clips, tmp_path):
    with open_video(clips("vfr.mp4", "libx264", 12, ticks=[0, 4, 8, 30, 31, 33, 90, 94, 98, 120, 124, 128])) as source:
        out = cut_clip(source, tmp_path / "cut.mp4", 3, 9)
        data = out.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
        with open_video(out) as clip:
            assert [number_of(frame.rgb) for frame in clip.frames()] == [3, 4, 5, 6, 7, 8]
            np.testing.assert_allclose(clip.times_s, source.times_s[3:9] - source.times_s[3], atol=1e-4)
        for start, stop in [(5, 5), (9, 3), (40, 50)]:
            with pytest.raises(InputError):
                cut_clip(source, tmp_path / "none.mp4", start, stop)
        assert [file.name for file in tmp_path.iterdir()] == ["cut.mp4"]
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_the_file_does_not_hang_on_the_number_of_cores(tmp_path, monkeypatch):
    written = {}
    for name, cores, threads in (("one", 1, {}), ("many", 64, {}), ("other", 1, {"threads": 1})):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        with VideoWriter(tmp_path / f"{name}.mp4", height=96, width=128, fps=25, **threads) as writer:
            for number in range(20):
                writer.write(numbered(number, 96, 128))
            # What FFmpeg would choose by itself shows as 0.
            assert writer._stream.codec_context.thread_count == threads.get("threads", 4)
        written[name] = (tmp_path / f"{name}.mp4").read_bytes()
    assert written["one"] == written["many"]


def test_the_same_frames_give_the_same_file_whatever_lay_in_memory(tmp_path):
    """x264 left alone gives one of about a dozen files on processors with AVX-512."""
    rng = np.random.default_rng(0)
    files = set()
    for attempt in range(30):
        _ = [rng.integers(0, 255, rng.integers(1000, 400_000), dtype=np.uint8) for _ in range(10)]
        with VideoWriter(tmp_path / f"{attempt}.mp4", height=64, width=64, fps=25, threads=1) as writer:
            for number in range(12):
                picture = np.zeros((64, 64, 3), np.uint8)
                y, x = np.mgrid[:64, :64]
                picture[(x - 20 - 2 * number) ** 2 + (y - 32) ** 2 < 100] = (250, 20, 20)
                writer.write(picture)
        files.add((tmp_path / f"{attempt}.mp4").read_bytes())
    assert len(files) == 1
