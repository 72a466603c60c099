"""Folders of images, arrays, cameras and streams."""

from __future__ import annotations

import functools
import http.server
import re
import threading

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numbered_clips import number_of, numbered
from PIL import Image

from keepsight.core import InputError
from keepsight.video import ArrayVideo, VideoSource, open_video
from keepsight.video.images import natural_key


def test_folder_is_read_in_natural_order_with_orientation_and_odd_kinds(tmp_path):
    for number in (1, 2, 10, 9):
        Image.fromarray(numbered(number)).save(
            tmp_path / f"Frame{number}.{'JPG' if number == 9 else 'png'}", quality=95
        )
    Image.fromarray(numbered(11)).convert("RGBA").save(tmp_path / "Frame11.webp", lossless=True)
    grey = numbered(12).mean(axis=2)
    Image.fromarray((grey * 257).astype(np.uint16)).save(tmp_path / "Frame12.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned to the left; to be shown turned clockwise
    Image.fromarray(np.ascontiguousarray(np.rot90(numbered(13)))).save(tmp_path / "Frame13.jpg", exif=exif, quality=95)
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "notes.txt").write_text("x")
    with open_video(tmp_path, fps=10) as video:
        frames = list(video.frames())
        assert [number_of(frame.rgb) for frame in frames] == [1, 2, 9, 10, 11, 12, 13]
        assert {frame.rgb.shape for frame in frames} == {(96, 128, 3)}
        assert (video.frame_count, video.fps, video.live) == (7, 10.0, False)
        np.testing.assert_allclose(video.times_s, np.arange(7) / 10)
        assert [frame.index for frame in video.frames(6, None, -2)] == [6, 4, 2, 0]
        assert number_of(video.read(3).rgb) == 10
        assert np.abs(frames[5].rgb[..., 0].astype(float) - grey).max() <= 1
        first = video.fingerprint()
    (tmp_path / "Frame10.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"Frame10\.png is not an image"):
        open_video(tmp_path)
    data = (tmp_path / "Frame9.JPG").read_bytes()
    (tmp_path / "Frame10.png").write_bytes(data[: len(data) * 9 // 10])
    with open_video(tmp_path) as video:
        assert [frame.index for frame in video.frames()] == [0, 1, 2, 4, 5, 6]
        assert "Frame 3 (Frame10.png)" in video.warnings[0]
        assert video.fingerprint() != first
    Image.fromarray(numbered(3, 50, 60)).save(tmp_path / "Frame14.png")
    with pytest.raises(InputError, match=r"Frame14\.png is 60x50 px, Frame1\.png is 128x96 px"):
        open_video(tmp_path)


def test_single_image_is_a_video_of_one_frame(tmp_path):
    Image.fromarray(numbered(5)).save(tmp_path / "one.png")
    with open_video(str(tmp_path / "one.png")) as video:
        assert video.frame_count == 1
        assert [number_of(frame.rgb) for frame in video.frames()] == [5]
        with pytest.raises(InputError, match="no frame 1"):
            video.read(1)


@given(st.lists(st.text("a1b02_é.", min_size=1, max_size=6), max_size=8))
def test_natural_order_compares_numbers_as_numbers(names):
    padded = [re.sub(r"[0-9]+", lambda digits: digits[0].zfill(9), name) for name in names]
    assert sorted(map(natural_key, names)) == sorted(map(natural_key, padded))
    assert sorted(["f10", "f9", "f1"], key=natural_key) == ["f1", "f9", "f10"]


def test_array_video(tmp_path):
    frames = np.stack([numbered(i) for i in range(6)])
    video = ArrayVideo(frames, fps=4)
    assert [number_of(frame.rgb) for frame in video.frames(5, 1, -2)] == [5, 3]
    assert video.read(2).time_s == 0.5
    assert (
        video.fingerprint()
        == ArrayVideo(list(frames), fps=4).fingerprint()
        != ArrayVideo(frames[::-1], 4).fingerprint()
    )
    for bad in ([], frames.astype(float), [frames[0], frames[0][:50]], frames[..., 0]):
        with pytest.raises(InputError):
            ArrayVideo(bad)
    with pytest.raises(InputError, match="above 0"):
        ArrayVideo(frames, fps=0)


def _live_contract(source: VideoSource, count: int) -> None:
    assert source.live
    assert source.frame_count is None
    for call in (lambda: source.read(0), lambda: source.times_s, lambda: source.frames(5, 0, -1)):
        with pytest.raises(InputError, match="live"):
            call()
    first = list(source.frames(stop=4))
    rest = list(source.frames(4, None, 2))
    assert [frame.index for frame in first + rest] == [0, 1, 2, 3, *range(4, count, 2)]
    times = [frame.time_s for frame in first + rest]
    assert times[0] == 0
    assert all(np.diff(times) > 0)
    with pytest.raises(InputError, match="rewound"):
        source.frames(0)


@pytest.mark.parametrize("source", [np.zeros((2, 4, 4, 3), np.uint8), None, [1, 2]])
def test_what_is_no_path_says_what_to_give_in_one_line(source):
    with pytest.raises(InputError, match=r"ArrayVideo\(frames\)") as caught:
        open_video(source)
    assert "\n" not in str(caught.value)


def test_stream_over_http(clips):
    path = clips("stream.ts", "libx264")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(path.parent))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with open_video(f"{address}/stream.ts") as source:
            assert (source.height, source.width, source.path) == (96, 128, None)
            _live_contract(source, 36)
        with pytest.raises(InputError, match="Cannot open the stream"):
            open_video(f"{address}/missing.ts")
        server.shutdown()


def test_camera(monkeypatch):
    class Capture:
        """Stands in for the driver; the frame read to learn the size is dropped."""

        def __init__(self, number: int) -> None:
            self.number, self.left, self.released = number, 11, False

        def isOpened(self) -> bool:
            return self.number == 1

        def read(self):
            self.left -= 1
            return (True, numbered(10 - self.left)[..., ::-1]) if self.left >= 0 else (False, None)

        def get(self, _: int) -> float:
            return 0.0

        def release(self) -> None:
            self.released = True

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    with open_video("1", camera=True) as source:
        assert (source.name, source.fps) == ("camera 1", 30.0)
        _live_contract(source, 10)
    assert next(open_video(1).frames(0, 1)).rgb[-1, 0].tolist() == [220, 20, 20]
    with pytest.raises(InputError, match="Camera 0 cannot be opened"):
        open_video(0)
