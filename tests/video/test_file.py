"""Every way to reach a frame of a file shows the same frame under the same index."""

from __future__ import annotations

import gc
import random
import struct
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numbered_clips import encode, number_of, numbered

from keepsight.core import InputError
from keepsight.video import file as file_module
from keepsight.video import open_video

OPEN_GOP = {"x264-params": "open-gop=1:keyint=10:bframes=3:scenecut=0:log-level=none"}
HEVC = {"x265-params": "open-gop=1:keyint=8:bframes=3:log-level=none", "preset": "ultrafast"}
VP8 = {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8", "deadline": "good"}
KINDS = {
    "b.mp4": ("libx264", {}),
    "open.mkv": ("libx264", {"options": OPEN_GOP}),
    "open.mp4": ("libx264", {"options": OPEN_GOP}),
    "hevc.mp4": ("libx265", {"options": HEVC}),
    "mpeg4.mov": ("mpeg4", {}),
    "mpeg4.avi": ("mpeg4", {}),
    "h264.avi": ("libx264", {}),
    "vp9.webm": ("libvpx-vp9", {"options": {"cpu-used": "8"}}),
    "altref.webm": ("libvpx", {"options": VP8, "count": 60}),
    "stream.ts": ("libx264", {}),
    "raw.h264": ("libx264", {}),
    "mpeg2.mpg": ("mpeg2video", {}),
    "anim.gif": ("gif", {"pix_fmt": "rgb8", "b_frames": None}),
    "intra.avi": ("mjpeg", {"pix_fmt": "yuvj420p", "b_frames": None}),
    "late.mp4": ("libx264", {"ticks": [300 + 4 * i for i in range(36)]}),
    "deep.mkv": ("libx265", {"pix_fmt": "yuv420p10le", "options": HEVC}),
    "alpha.mov": ("prores_ks", {"pix_fmt": "yuva444p10le", "b_frames": None}),
    "grey.mkv": ("ffv1", {"pix_fmt": "gray", "size": (95, 127), "b_frames": None}),
    "rgba.mov": ("png", {"pix_fmt": "rgba", "size": (95, 127), "b_frames": None}),
    "grey16.mkv": ("ffv1", {"pix_fmt": "gray16le", "b_frames": None}),
}


@pytest.mark.parametrize("name", KINDS)
def test_sequential_backward_and_random_access_agree(clips, name, monkeypatch):
    codec, settings_ = KINDS[name]
    path = clips(name, codec, **settings_)
    # Room for about five pictures: every group of pictures must be decoded in parts.
    monkeypatch.setattr(file_module, "BACKWARD_BYTES", 5 * 96 * 128 * 3 // 2)
    monkeypatch.setattr(file_module, "CACHE_BYTES", 7 * 96 * 128 * 3 // 2)
    monkeypatch.setattr(file_module, "_SEEK_PACKETS", 4)
    count = settings_.get("count", 36)
    with open_video(path) as video:
        forward = list(video.frames())
        assert [frame.index for frame in forward] == list(range(count)) == [number_of(frame.rgb) for frame in forward]
        assert video.frame_count == count
        assert forward[0].rgb.shape == (video.height, video.width, 3) == (*settings_.get("size", (96, 128)), 3)
        assert forward[0].rgb.dtype == np.uint8
        assert forward[0].rgb.flags.c_contiguous
        assert video.fps == pytest.approx(25, rel=0.01)
        assert forward[0].time_s == 0
        np.testing.assert_allclose(video.times_s, np.arange(count) / 25, atol=0.002)

        order = list(range(count))
        random.Random(3).shuffle(order)
        reached = [*video.frames(count, None, -1), *(video.read(i) for i in order), *video.frames(3, None, 7)]
        for frame in reached:
            assert frame.time_s == forward[frame.index].time_s
            np.testing.assert_array_equal(frame.rgb, forward[frame.index].rgb)
        assert len(reached) == 2 * count + len(range(3, count, 7))
        assert video.warnings == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, 45),
    stop=st.none() | st.integers(0, 45),
    step=st.integers(-12, 12).filter(bool),
    reads=st.lists(st.integers(0, 35), max_size=4),
)
def test_ranges_are_slices_of_the_video_even_with_reads_between(clips, start, stop, step, reads):
    with open_video(clips("open.mkv", "libx264", options=OPEN_GOP)) as video:
        expected = list(range(36))[start:stop:step]
        seen = []
        pending = list(reads)
        for frame in video.frames(start, stop, step):
            seen.append(frame.index)
            assert number_of(frame.rgb) == frame.index
            if pending:
                assert number_of(video.read(pending[0]).rgb) == pending.pop(0)
        assert seen == expected


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_frame_rate_keeps_every_time(clips, name):
    ticks = [0, 4, 8, 30, 31, 33, 90, 94, 98, 120, 124, 128]
    with open_video(clips(name, "libx264", len(ticks), ticks=ticks)) as video:
        np.testing.assert_allclose(video.times_s, np.array(ticks) / 100, atol=1e-3)
        assert [frame.time_s for frame in video.frames(11, None, -1)] == list(video.times_s[::-1])
        assert video.fps == pytest.approx(11 / 1.28, rel=0.01)
        assert video.warnings == []


def test_edit_list_hides_the_frames_before_it(clips, tmp_path):
    data = bytearray(clips("b.mp4", "libx264").read_bytes())
    # Entry: duration, media time, rate. Starting 15 frames (0.6 s) later leaves 21 frames to show.
    entry = data.index(b"elst") + 12
    duration, start = struct.unpack(">ii", data[entry : entry + 8])
    base = av.open(str(clips("b.mp4", "libx264"))).streams.video[0].time_base
    struct.pack_into(">ii", data, entry, duration - 600, start + round(0.6 / base))
    path = tmp_path / "edited.mp4"
    path.write_bytes(data)
    with open_video(path) as video:
        numbers = [number_of(frame.rgb) for frame in video.frames()]
        assert numbers == list(range(15, 36))
        assert video.frame_count == 21
        assert video.times_s[0] == 0
        assert [number_of(frame.rgb) for frame in video.frames(20, None, -1)] == numbers[::-1]
        assert [number_of(video.read(i).rgb) for i in (7, 0, 20)] == [22, 15, 35]


def test_frames_that_are_stamped_in_the_order_of_decoding_come_in_that_of_display(clips, tmp_path):
    # As in OpenCV's tutorial clip box.mp4: B-frames, and one time a packet.
    path = tmp_path / "stamped.mp4"
    with av.open(str(clips("b.mp4", "libx264"))) as source, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.pts = packet.dts = round(number / (25 * packet.time_base))
            packet.stream = stream
            copy.mux(packet)
    with open_video(path) as video:
        assert video.frame_count == 36
        assert [number_of(frame.rgb) for frame in video.frames()] == list(range(36))
        assert [number_of(frame.rgb) for frame in video.frames(30, 9, -1)] == list(range(30, 9, -1))
        assert [number_of(video.read(i).rgb) for i in (17, 2, 35)] == [17, 2, 35]
        np.testing.assert_allclose(video.times_s, np.arange(36) / 25, atol=0.002)
        assert video.warnings == []


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_rotation_metadata_is_applied(tmp_path, angle, mirrored):
    path = encode(tmp_path / "turned.mp4", "libx264", 3, rotation=(angle, mirrored))
    # FFmpeg's angle turns counterclockwise; the mirroring comes after it.
    expected = np.rot90(numbered(1), angle // 90)
    expected = expected[:, ::-1] if mirrored else expected
    with open_video(path) as video:
        frame = list(video.frames())[1]
        assert frame.rgb.shape == expected.shape == (video.height, video.width, 3)
        assert np.abs(frame.rgb.astype(int) - expected).mean() < 12
        np.testing.assert_array_equal(video.read(1).rgb, frame.rgb)


def test_damaged_packets_are_skipped_and_the_rest_comes(clips, tmp_path):
    source = clips("b.mp4", "libx264")
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [(p.pos, p.size, p.is_keyframe) for p in container.demux(video=0) if p.size]
    broken = [n for n, packet in enumerate(packets) if not packet[2]][12:14]
    for number in broken:
        position, size, _ = packets[number]
        data[position : position + size] = b"\xff" * size
    path = tmp_path / "broken.mp4"
    path.write_bytes(data)
    with open_video(path) as video:
        forward = list(video.frames())
        indices = [frame.index for frame in forward]
        assert 33 <= len(indices) < 36
        assert indices[-1] == 35
        assert all(a < b for a, b in pairwise(indices))
        assert any("damaged" in line for line in video.warnings)
        assert [frame.index for frame in video.frames(35, None, -1)] == indices[::-1]
        assert number_of(video.read(34).rgb) == 34
        missing = min(set(range(36)) - set(indices))
        with pytest.raises(InputError, match=f"frame {missing} is damaged"):
            video.read(missing)


@pytest.mark.parametrize("name", ["front.mp4", "cut.mkv", "cut.avi", "cut.ts"])
def test_truncated_file_yields_what_is_there_and_says_where_it_ended(clips, tmp_path, name):
    options = {"movflags": "faststart"} if name.endswith("mp4") else None
    source = clips(name, "mpeg4" if name.endswith("avi") else "libx264", container_options=options)
    path = tmp_path / name
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    with open_video(path) as video:
        frames = list(video.frames())
        assert 5 < len(frames) < 36
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert video.frame_count == len(frames)
        assert number_of(video.read(len(frames) - 3).rgb) == len(frames) - 3
        if not name.endswith("ts"):  # a transport stream has no header that says how long it was
            assert any(f"ends at frame {len(frames) - 1}" in line for line in video.warnings)


@pytest.mark.parametrize("name", ["late.mkv", "late.webm"])
def test_a_matroska_file_that_lacks_its_last_frames_says_so(clips, tmp_path, name):
    """A cut between two blocks looks like a shorter video, and half a second is within what other headers are trusted with."""
    source = clips(name, "libvpx-vp9" if name.endswith("webm") else "libx264")
    data = source.read_bytes()
    with av.open(str(source)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    path = tmp_path / name
    for kept in (30, 35, 36):  # the last lacks nothing but the table that seeking needs
        path.write_bytes(data[: ends[kept - 1] + 1])
        with open_video(path) as video:
            count = len(list(video.frames()))
            assert kept - 3 <= count <= kept  # frames whose reference is gone go with it
            assert video.frame_count == count
            (line,) = video.warnings
            assert line.startswith(f"{name} is cut off: it ends at frame {count - 1};")
    with open_video(source) as video:
        assert (video.frame_count, video.warnings) == (36, [])


@pytest.mark.parametrize("name", ["live.mkv", "live.webm"])
def test_a_matroska_stream_that_never_says_how_long_it_is_counts_as_whole(clips, name):
    path = clips(name, "libvpx-vp9" if name.endswith("webm") else "libx264", container_options={"live": "1"})
    with open_video(path) as video:
        assert (video.frame_count, video.warnings) == (36, [])


def test_a_recording_whose_clock_restarts_or_that_starts_late(clips, tmp_path):
    data = clips("stream.ts", "libx264").read_bytes()
    (tmp_path / "joined.ts").write_bytes(data * 2)
    with open_video(tmp_path / "joined.ts") as video:
        numbers = [number_of(frame.rgb) for frame in video.frames()]
        assert numbers == [*range(36), *range(36)]
        assert [number_of(video.read(i).rgb) for i in (50, 3, 71)] == [14, 3, 35]
        assert (np.diff(video.times_s) > 0).all()
        assert not any("cut off" in line for line in video.warnings)
    # 188-byte packets: the first keyframe is gone, so the frames before the second cannot be decoded.
    (tmp_path / "late.ts").write_bytes(data[188 * 14 :])
    with open_video(tmp_path / "late.ts") as video:
        assert [number_of(frame.rgb) for frame in video.frames()] == list(range(10, 36))
        assert video.frame_count == 26
        assert video.read(0).time_s == 0


def test_inputs_that_are_no_video_say_what_to_do(tmp_path, clips):
    (tmp_path / "text.mp4").write_text("this is no video\n" * 50)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    data = clips("b.mp4", "libx264").read_bytes()
    (tmp_path / "headless.mp4").write_bytes(data[: data.index(b"moov")])
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    lines = {
        "text.mp4": "not a video",
        "empty.mp4": "empty",
        "missing.mp4": "no file",
        "folder": "no images",
        "headless.mp4": "cut off",
        "sound.m4a": "no video stream",
    }
    for name, words in lines.items():
        with pytest.raises(InputError, match=words) as caught:
            _ = open_video(tmp_path / name).frame_count
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="camera number"):
        open_video("front door", camera=True)
    with pytest.raises(InputError, match="malformed"):
        open_video("")


def test_index_bounds_and_fingerprint(clips, tmp_path):
    path = clips("b.mp4", "libx264")
    copy = tmp_path / "other name.mp4"
    copy.write_bytes(path.read_bytes())
    with open_video(path, name="rabbit") as video, open_video(copy) as same:
        assert (video.name, same.name, video.path, video.live) == ("rabbit", "other name", path, False)
        assert video.fingerprint() == same.fingerprint() != open_video(clips("open.mkv")).fingerprint()
        for call in (lambda: video.read(36), lambda: video.read(-1), lambda: video.frames(0, None, 0)):
            with pytest.raises(InputError):
                call()
        with pytest.raises(InputError, match="start at 0"):
            video.frames(-3)
        assert open_video(video) is video
    # Closing lets go of the file, not of the source.
    assert number_of(video.read(5).rgb) == 5
    video.close()


def test_two_iterators_and_a_closed_one_do_not_disturb_each_other(clips):
    with open_video(clips("b.mp4", "libx264")) as video:
        abandoned = video.frames()
        next(abandoned)
        for up, down in zip(video.frames(), video.frames(35, None, -1), strict=True):
            assert (number_of(up.rgb), number_of(down.rgb)) == (up.index, 35 - up.index)
        abandoned.close()


def test_what_was_read_is_let_go_at_once(clips, tmp_path, monkeypatch):
    """Pictures and decoders are few and large: were they to wait for the collector of cycles, they would fill memory first."""

    def held() -> list[str]:
        kinds = (av.VideoFrame, av.container.InputContainer, av.CodecContext)
        return sorted(type(one).__name__ for one in gc.get_objects() if issubclass(type(one), kinds))

    monkeypatch.setattr(file_module, "CACHE_BYTES", 1)
    gc.collect()
    before = held()
    gc.disable()
    try:
        for path in (clips("b.mp4", "libx264"), encode(tmp_path / "turned.mp4", rotation=(90, False))):
            with open_video(path) as video:
                for start, stop, step in ((3, 30, 1), (20, 2, -1), (0, 36, 9)):
                    frames = video.frames(start, stop, step)
                    assert next(frames).index == start
                    frames.close()
                for index in (5, 30, 6):
                    video.read(index)
            del frames, video
        assert held() == before
    finally:
        gc.enable()
