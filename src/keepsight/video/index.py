"""Where each frame of a file lives: display order, times and keyframes, from one pass over the packets.

The header's frame count is a claim. Reading all packets without decoding them costs about a hundredth of decoding and gives
the truth for well-made files. Where packets and frames do not match one to one, or the container does not know the display
order (AVI, raw streams, times that are those of decoding), or something looks damaged, the file is decoded once instead and the
frames that come out are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from keepsight.core import InputError
from keepsight.video import matroska
from keepsight.video.media import demux, open_media

IntArray = NDArray[np.int64]

# Codecs that show exactly one frame a packet. VP8, for one, is not: its alternate reference frames are packets of their own.
_ONE_TO_ONE = frozenset(
    {"h264", "hevc", "vp9", "av1", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg", "png", "apng", "gif"}
    | {"ffv1", "prores", "dnxhd", "rawvideo", "huffyuv"}
)
# Containers that store presentation times, not only the order of the packets.
_KNOWS_ORDER = frozenset({"mov", "mp4", "matroska", "webm", "mpegts", "gif", "apng", "flv", "asf"})
# Pictures that build on the one before even where the demuxer calls them keyframes.
_CUMULATIVE = frozenset({"gif", "apng", "webp"})
# No codec reorders further than this; more means that the clock jumped (recordings glued together).
_MAX_REORDER = 64
# Packets that are decoded to see whether the order of display is that of decoding.
_PROBED = 64
_NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class PacketIndex:
    """The map between packets (in decode order) and frames (in display order).

    Attributes:
        frame_of: ``(P,)`` frame index shown by each packet, -1 for none.
        times_s: ``(T,)`` seconds from the first frame.
        key_frames: ``(K,)`` first frame that can be shown after starting at each keyframe; rises.
        key_packets: ``(K,)`` the keyframes' packet numbers; rises.
        key_times: ``(K,)`` time stamp to seek to, in the stream's time base.
        stamps: ``(P,)`` what tells packets apart after a seek, or ``None`` where nothing does: such a file is read from
            its start.
        use_dts: ``stamps`` are decoding and not presentation times.
        counted: packets cannot be matched to frames at all; frames are counted as they come out.
        fps: average frame rate.
    """

    frame_of: IntArray
    times_s: NDArray[np.float64]
    key_frames: IntArray
    key_packets: IntArray
    key_times: IntArray
    stamps: IntArray | None
    use_dts: bool
    counted: bool
    fps: float

    def __post_init__(self) -> None:
        order = np.argsort(self.stamps, kind="stable") if self.stamps is not None else np.zeros(0, np.int64)
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_sorted", self.stamps[order] if self.stamps is not None else order)

    def key_for(self, frame: int) -> int:
        """Number of the last keyframe from which ``frame`` can be decoded."""
        return max(0, int(np.searchsorted(self.key_frames, frame, side="right")) - 1)

    def packet_number(self, packet: av.Packet) -> int | None:
        """Which packet this is, by its time stamp."""
        stamp = packet.dts if self.use_dts else packet.pts
        if self.stamps is None or stamp is None:
            return None
        ordered: IntArray = self._sorted  # type: ignore[attr-defined]
        place = int(np.searchsorted(ordered, stamp))
        if place == len(ordered) or ordered[place] != stamp:
            return None
        return int(self._order[place])  # type: ignore[attr-defined]


@dataclass
class _Scan:
    """What one pass over the packets saw; ``_NO_TIME`` where a time is missing."""

    pts: IntArray
    dts: IntArray
    key: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    end_s: float
    damaged: bool
    ends_badly: bool
    end_missing: bool
    header_end_s: float | None
    rate: float
    time_base: Fraction
    codec: str
    container: frozenset[str]
    interlaced: bool
    reorders: bool


def build_index(path: Path, warn: Callable[[str], None]) -> PacketIndex:
    """Indexes a file.

    Args:
        path: video file.
        warn: called with each line a person should know (cut off, damaged).

    Raises:
        InputError: no frame can be decoded.
    """
    scan = _scan(path)
    if len(scan.pts) == 0:
        raise InputError(f"{path} holds no frames; copy or record it again.")
    keys = np.flatnonzero(scan.key)
    if len(keys) == 0 or scan.codec in _CUMULATIVE:
        keys = np.zeros(1, np.int64)
    cut = _is_cut(scan)
    counted = False
    if _packets_tell(scan) and not cut and not _reorders_unsaid(path, scan):
        shown = ~scan.hidden
        shown[: keys[0]] = False
        # Frames that lean on pictures before the first keyframe cannot be decoded.
        shown &= scan.pts >= scan.pts[keys[0]]
        packets = np.flatnonzero(shown)
        packets = packets[np.argsort(scan.pts[packets], kind="stable")]
        key_frames = np.searchsorted(scan.pts[packets], scan.pts[keys])
    else:
        emitted = _decode_order(path)
        counted = len(set(emitted)) != len(emitted) or not all(0 <= n < len(scan.pts) for n in emitted)
        packets = np.arange(len(emitted)) if counted else np.array(emitted, dtype=np.int64)
        keys, key_frames = _keys_of_decoded(packets, keys, len(scan.pts), counted)
    if len(packets) == 0:
        raise InputError(f"{path}: none of its {len(scan.pts)} frames can be decoded; copy or record it again.")
    frame_of = np.full(max(len(scan.pts), len(packets)), -1, dtype=np.int64)
    frame_of[packets] = np.arange(len(packets))
    if cut:
        warn(f"{path.name} is cut off: it ends at frame {len(packets) - 1}; the frames up to there are used.")
    elif scan.damaged:
        warn(f"{path.name} is damaged in places; the {len(packets)} frames that can be decoded are used.")
    stamps, use_dts = _stamps(scan, counted)
    if stamps is None:
        # Without a way to recognise where a seek landed, the start is the only place to begin.
        keys, key_frames = np.zeros(1, np.int64), np.zeros(1, np.int64)
    reachable = key_frames < len(packets)
    keys, key_frames = keys[reachable], np.maximum.accumulate(key_frames[reachable])
    key_times = np.where(scan.pts[keys] != _NO_TIME, scan.pts[keys], scan.dts[keys])
    if use_dts:
        key_times = scan.dts[keys]
    times_s = _times(scan, packets, counted)
    return PacketIndex(
        frame_of, times_s, key_frames, keys, key_times, stamps, use_dts, counted, _average_rate(times_s, scan.rate)
    )


def _scan(path: Path) -> _Scan:
    """Reads every packet without decoding it."""
    errors: list[None] = []
    container, stream = open_media(path)
    pts, dts, key, hidden = [], [], [], []
    end, corrupt, last_corrupt = 0, False, False
    with container:
        for packet in demux(container, stream, lambda: errors.append(None)):
            pts.append(_NO_TIME if packet.pts is None else packet.pts)
            dts.append(_NO_TIME if packet.dts is None else packet.dts)
            key.append(packet.is_keyframe)
            hidden.append(packet.is_discard)
            last_corrupt = packet.is_corrupt
            corrupt = corrupt or last_corrupt
            end = max(end, max(pts[-1], dts[-1]) + (packet.duration or 0))
        base = stream.time_base or Fraction(1, 1000)
        header_end: float | None = None
        if stream.duration:
            header_end = float(((stream.start_time or 0) + stream.duration) * base)
        elif "DURATION" in stream.metadata:
            header_end = _clock_s(stream.metadata["DURATION"])
        elif container.duration and len(container.streams) == 1:
            header_end = container.duration / av.time_base
        return _Scan(
            pts=np.array(pts, dtype=np.int64),
            dts=np.array(dts, dtype=np.int64),
            key=np.array(key, dtype=bool),
            hidden=np.array(hidden, dtype=bool),
            end_s=float(end * base),
            damaged=corrupt or bool(errors),
            ends_badly=last_corrupt,
            end_missing="matroska" in container.format.name and matroska.is_cut(path),
            header_end_s=header_end,
            rate=float(stream.average_rate or stream.guessed_rate or 25),
            time_base=base,
            codec=stream.codec_context.name,
            container=frozenset(container.format.name.split(",")),
            interlaced=int(getattr(stream.codec_context, "field_order", 0) or 0) > 1,
            reorders=bool(getattr(stream.codec_context, "has_b_frames", True)),
        )


def _packets_tell(scan: _Scan) -> bool:
    """Whether the display order can be read off the packets."""
    if scan.damaged or scan.interlaced or scan.codec not in _ONE_TO_ONE:
        return False
    if (scan.pts == _NO_TIME).any() or len(np.unique(scan.pts)) != len(scan.pts):
        return False
    if not scan.container & _KNOWS_ORDER and not scan.key.all():
        return False
    order = np.argsort(scan.pts, kind="stable")
    return bool(np.abs(order - np.arange(len(order))).max() <= _MAX_REORDER)


def _is_cut(scan: _Scan) -> bool:
    """Whether the end is missing, the last packet is incomplete, or the packets end long before the header says they do."""
    if scan.end_missing or scan.ends_badly:
        return True
    if scan.header_end_s is None or (scan.pts == _NO_TIME).any():
        return False
    # The last frame may be shown long (a slide show), hence the widest gap; its own duration is often not stored.
    gap_s = float(np.diff(np.sort(scan.pts)).max(initial=0) * scan.time_base)
    return scan.end_s + 0.5 + 2 * gap_s < scan.header_end_s


def decode_packets(
    packets: Iterator[tuple[int, av.Packet]], decode: Callable[[av.Packet | None], list[av.VideoFrame]]
) -> Iterator[av.VideoFrame]:
    """Decodes numbered packets; each frame's ``pts`` is the number of the packet it came in.

    Decoders carry a packet's time through reordering untouched, so a number put in its place comes out on the right frame in
    every codec, whether or not the container stores times.

    Raises:
        av.error.FFmpegError: a packet that cannot be decoded; the caller goes on with a fresh call.
    """
    for number, packet in packets:
        packet.pts = number
        yield from decode(packet)
    yield from decode(None)


def _reorders_unsaid(path: Path, scan: _Scan) -> bool:
    """Whether frames come out in another order than the times say, in a file that knows one time a packet only.

    Some writers store the order of decoding as that of display. Where nothing is reordered both are the same; where something
    is, half of the frames would seem to come too late.
    """
    if not scan.reorders or scan.key.all() or not (scan.pts == scan.dts).all():
        return False
    emitted = _decode_order(path, _PROBED)
    return any(later < earlier for earlier, later in pairwise(emitted))


def _decode_order(path: Path, most: int | None = None) -> list[int]:
    """Packet numbers in the order in which their frames come out; -1 for a frame that lost its number.

    Args:
        most: packets that are decoded; default: all.
    """
    for threaded in (True, False):
        container, stream = open_media(path, threaded=threaded)
        emitted: list[int] = []
        failed = False
        with container:
            packets = islice(enumerate(demux(container, stream, lambda: None)), most)
            done = False
            while not done:
                try:
                    for picture in decode_packets(packets, stream.decode):
                        emitted.append(-1 if picture.pts is None else picture.pts)
                    done = True
                except av.error.EOFError:
                    done = True
                except av.error.FFmpegError:
                    failed = True
                    if threaded:
                        # With several threads an error may take finished neighbours with it: count again without.
                        break
        if not failed:
            break
    return emitted


def _keys_of_decoded(packets: IntArray, keys: IntArray, count: int, counted: bool) -> tuple[IntArray, IntArray]:
    """Keyframes (packet numbers) that show a frame, and that frame; the start of the file is always among them."""
    start = np.zeros(1, np.int64)
    if counted:
        return start, start
    frame_of = np.full(count, -1, dtype=np.int64)
    frame_of[packets] = np.arange(len(packets))
    usable = keys[frame_of[keys] > 0]
    # A keyframe shown before an earlier one would break the search; none does in a sane file.
    frames = frame_of[usable]
    usable = usable[frames >= np.maximum.accumulate(frames)] if len(frames) else usable
    return np.concatenate([start, usable]), np.concatenate([start, frame_of[usable]])


def _stamps(scan: _Scan, counted: bool) -> tuple[IntArray | None, bool]:
    if not counted:
        for stamps, use_dts in ((scan.pts, False), (scan.dts, True)):
            if (stamps != _NO_TIME).all() and len(np.unique(stamps)) == len(stamps):
                return stamps, use_dts
    return None, False


def _times(scan: _Scan, packets: IntArray, counted: bool) -> NDArray[np.float64]:
    if not counted:
        shown = scan.pts[packets]
        if (shown != _NO_TIME).all() and (np.diff(shown) > 0).all():
            return (shown - shown[0]).astype(np.float64) * float(scan.time_base)
        shown = np.sort(scan.dts[packets])
        if (shown != _NO_TIME).all() and (np.diff(shown) > 0).all():
            return (shown - shown[0]).astype(np.float64) * float(scan.time_base)
    return np.arange(len(packets), dtype=np.float64) / scan.rate


def _average_rate(times_s: NDArray[np.float64], header: float) -> float:
    """Frames per second; the header's exact fraction where it agrees with the measured times, which are often rounded."""
    if len(times_s) < 2 or times_s[-1] <= 0:
        return header
    measured = (len(times_s) - 1) / float(times_s[-1])
    return header if abs(header - measured) < 0.01 * measured else measured


def _clock_s(text: str) -> float | None:
    """Seconds of Matroska's ``HH:MM:SS.fraction``."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
