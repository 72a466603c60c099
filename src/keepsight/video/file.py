"""A video file: sequential, backward and random access that agree on every frame's index."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from keepsight.core import Frame, InputError
from keepsight.video.index import PacketIndex, build_index, decode_packets
from keepsight.video.media import Converter, demux, display_matrix, open_media
from keepsight.video.source import VideoSource, hash_file

# Decoded pictures held while going backward. A group of pictures that is larger is decoded more than once.
BACKWARD_BYTES = 256 * 2**20
# Decoded pictures kept for random access.
CACHE_BYTES = 96 * 2**20
# Going backward, at least this many frames are decoded from one seek: in a file of keyframes only, a seek per frame costs
# more than the decoding.
_BACKWARD_FRAMES = 32
# Decoding on over this many packets is cheaper than a seek, which empties the decoder's pipeline.
_SEEK_PACKETS = 24
# A keyframe may be the start of a gradual refresh, from which the next frames cannot be shown yet: look this far back.
_KEY_RETRIES = 2


class FileVideo(VideoSource):
    """A video file, decoded on demand; memory does not depend on its length.

    Args:
        path: the file.
        name: shown to people; the file's stem by default.

    Raises:
        InputError: missing, not a video, only sound, or without a frame that can be decoded.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path
        self.name = name or path.stem
        self.warnings = []
        self.height, self.width = _first_size(path)
        self._lock = threading.RLock()
        self._known: PacketIndex | None = None
        self._cache: OrderedDict[int, VideoFrame] = OrderedDict()
        self._cache_bytes = 0
        self._cursor: _Cursor | None = None
        self._reader: Iterator[tuple[int, VideoFrame]] | None = None
        self._reader_next = 0

    @property
    def _index(self) -> PacketIndex:
        with self._lock:
            if self._known is None:
                assert self.path is not None
                self._known = build_index(self.path, self._warn)
            return self._known

    @property
    def frame_count(self) -> int:
        """Number of frames that decoding shows; the first use reads the whole file once without decoding it."""
        return len(self._index.times_s)

    @property
    def times_s(self) -> NDArray[np.float64]:
        return self._index.times_s

    @property
    def fps(self) -> float:
        return self._index.fps

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        wanted = self._range(start, stop, step)
        return self._pick(wanted) if step > 0 else self._pick_backward(wanted)

    def read(self, index: int) -> Frame:
        self._check_index(index)
        with self._lock:
            picture = self._cache.get(index)
            if picture is not None:
                self._cache.move_to_end(index)
            else:
                picture = self._decode_to(index)
            assert self._cursor is not None
            return Frame(index, float(self.times_s[index]), self._cursor.convert(picture))

    def fingerprint(self) -> str:
        assert self.path is not None
        return hash_file(self.path)

    def close(self) -> None:
        with self._lock:
            self._reader = None
            if self._cursor is not None:
                self._cursor.close()
                self._cursor = None
            self._cache.clear()
            self._cache_bytes = 0

    def _pick(self, wanted: range) -> Iterator[Frame]:
        cursor = _Cursor(self, self._index)
        try:
            place = 0
            while place < len(wanted):
                begin = wanted[place]
                place = len(wanted)
                for index, picture in cursor.run(begin, wanted[-1] + 1):
                    if index not in wanted:
                        continue
                    yield Frame(index, float(self.times_s[index]), cursor.convert(picture))
                    following = index + wanted.step
                    if following in wanted and cursor.far(following):
                        place = wanted.index(following)
                        break
        finally:
            cursor.close()

    def _pick_backward(self, wanted: range) -> Iterator[Frame]:
        cursor = _Cursor(self, self._index)
        try:
            top = wanted[0] + 1 if wanted else 0
            bottom = wanted[-1] if wanted else 0
            while top > bottom:
                low = max(bottom, cursor.start_of(max(bottom, top - _BACKWARD_FRAMES)))
                held: deque[tuple[int, VideoFrame]] = deque()
                for index, picture in cursor.run(low, top):
                    if index in wanted:
                        held.append((index, picture))
                        if len(held) > max(1, BACKWARD_BYTES // _picture_bytes(picture)):
                            # The group does not fit: drop its beginning and decode it again when its turn comes.
                            low = held.popleft()[0] + 1
                top = low
                while held:
                    index, picture = held.pop()
                    yield Frame(index, float(self.times_s[index]), cursor.convert(picture))
        finally:
            cursor.close()

    def _decode_to(self, index: int) -> VideoFrame:
        """Decodes up to ``index``; what is passed on the way stays in the cache, for it is often asked for next."""
        if self._cursor is None:
            self._cursor = _Cursor(self, self._index)
        if self._reader is None or self._reader_next > index or self._cursor.far(index):
            self._reader_next = self._cursor.start_of(index)
            self._reader = self._cursor.run(self._reader_next, self.frame_count)
        for position, picture in self._reader:
            self._reader_next = position + 1
            self._keep(position, picture)
            if position == index:
                return picture
            if position > index:
                break
        else:
            self._reader = None
        raise InputError(f"{self.name}: frame {index} is damaged and cannot be decoded; use a neighbouring frame.")

    def _keep(self, index: int, picture: VideoFrame) -> None:
        self._cache_bytes += _picture_bytes(picture)
        replaced = self._cache.pop(index, None)
        if replaced is not None:
            self._cache_bytes -= _picture_bytes(replaced)
        self._cache[index] = picture
        while self._cache_bytes > CACHE_BYTES and len(self._cache) > 1:
            self._cache_bytes -= _picture_bytes(self._cache.popitem(last=False)[1])


class _Cursor:
    """One open container: decodes forward from wherever it is put."""

    def __init__(self, source: FileVideo, index: PacketIndex) -> None:
        self._source = source
        self._index = index
        self._threaded = True
        self._packet = -1
        self._packets: Iterator[tuple[int, av.Packet]] = iter(())
        self.convert = Converter(source.height, source.width)
        self._open()

    def _open(self) -> None:
        assert self._source.path is not None
        self._container, self._stream = open_media(self._source.path, threaded=self._threaded)
        self._fresh = True

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def close(self) -> None:
        # What still reads from here keeps this, and this keeps it: the decoder, with its threads and pictures, would wait for the
        # collector of cycles.
        self._packets = iter(())
        self._container.close()

    def start_of(self, frame: int) -> int:
        """First frame that can be decoded from the keyframe that serves ``frame``."""
        return int(self._index.key_frames[self._index.key_for(frame)])

    def far(self, frame: int) -> bool:
        """Whether a seek to ``frame``'s keyframe is worth more than decoding on."""
        key = int(self._index.key_packets[self._index.key_for(frame)])
        return self._index.stamps is not None and key > self._packet + _SEEK_PACKETS

    def run(self, start: int, stop: int) -> Iterator[tuple[int, VideoFrame]]:
        """Pictures of ``[start, stop)`` in order; damaged ones are left out with a warning."""
        index = self._index
        expected = start
        key = index.key_for(start)
        retries = _KEY_RETRIES
        while expected < stop:
            pictures = self._from_key(key)
            again = False
            while True:
                try:
                    item = next(pictures, None)
                except av.error.FFmpegError:
                    if self._threaded:
                        # With several threads it is unknown which frame failed, and its neighbours may be lost with it.
                        self._threaded = False
                        self._reopen()
                        key = index.key_for(expected)
                        again = True
                        break
                    pictures = self._more()
                    continue
                if item is None or item[0] >= expected:
                    position = stop if item is None else min(item[0], stop)
                    if position > expected and expected == start and key > 0 and retries > 0:
                        key, retries, again = key - 1, retries - 1, True
                        break
                    self._missing(expected, position)
                    if item is None or item[0] >= stop:
                        return
                    expected = item[0] + 1
                    if item[1].is_corrupt:
                        self._source._warn(f"Frame {item[0]} is damaged; it is shown as far as it could be decoded.")
                    yield item
                    if expected >= stop:
                        return
            if not again:
                return

    def _missing(self, first: int, stop: int) -> None:
        if stop - first == 1:
            self._source._warn(f"Frame {first} is damaged and was skipped.")
        elif stop > first:
            self._source._warn(f"Frames {first} to {stop - 1} are damaged and were skipped.")

    def _from_key(self, key: int) -> Iterator[tuple[int, VideoFrame]]:
        """Pictures from keyframe number ``key`` on, with their frame index, in display order."""
        floor = int(self._index.key_frames[key])
        self._packets = self._packets_from(key)
        self._floor = floor
        self._emitted = 0
        return self._more()

    def _more(self) -> Iterator[tuple[int, VideoFrame]]:
        """Decodes on from the current packet; called again after a packet that failed."""
        index = self._index
        try:
            for picture in decode_packets(self._packets, self._stream.decode):
                number = self._emitted if index.counted else picture.pts
                self._emitted += 1
                if number is None or not 0 <= number < len(index.frame_of):
                    continue
                frame = int(index.frame_of[number])
                # Frames shown before the keyframe lean on pictures that were not decoded; -1 is never shown.
                if frame >= self._floor:
                    yield frame, picture
        except av.error.EOFError:
            return

    def _packets_from(self, key: int) -> Iterator[tuple[int, av.Packet]]:
        """Puts the container before keyframe number ``key``, at once: decoding may bind the stream only after that."""
        target = int(self._index.key_packets[key])
        if target == 0 or self._index.stamps is None:
            if not self._fresh:
                self._reopen()
            numbered = self._counted_packets()
        else:
            numbered = self._seek(key, target)
        self._fresh = False
        return self._from_target(numbered, target)

    def _from_target(self, numbered: Iterator[tuple[int, av.Packet]], target: int) -> Iterator[tuple[int, av.Packet]]:
        for number, packet in numbered:
            self._packet = number
            # A seek may land early; pictures before the keyframe need not be decoded.
            if number >= target:
                yield number, packet

    def _counted_packets(self) -> Iterator[tuple[int, av.Packet]]:
        return iter(enumerate(demux(self._container, self._stream, lambda: None)))

    def _stamped_packets(self) -> Iterator[tuple[int, av.Packet]]:
        for packet in demux(self._container, self._stream, lambda: None):
            number = self._index.packet_number(packet)
            if number is not None:
                yield number, packet

    def _seek(self, key: int, target: int) -> Iterator[tuple[int, av.Packet]]:
        """Packets from ``target`` or a little before; demuxers land where they like, so the landing is checked."""
        times = self._index.key_times
        for earlier in (key, key - 1, key - 2, key - 8):
            if earlier <= 0:
                break
            try:
                self._container.seek(int(times[earlier]), stream=self._stream, backward=True)
            except av.error.FFmpegError:
                continue
            packets = self._stamped_packets()
            first = next(packets, None)
            if first is not None and first[0] <= target:
                return _chain(first, packets)
        self._reopen()
        return self._counted_packets()


def _chain(first: tuple[int, av.Packet], rest: Iterator[tuple[int, av.Packet]]) -> Iterator[tuple[int, av.Packet]]:
    yield first
    yield from rest


def _picture_bytes(picture: VideoFrame) -> int:
    return max(1, sum(plane.buffer_size for plane in picture.planes))


def _first_size(path: Path) -> tuple[int, int]:
    """Height and width in px of the first picture that decodes, upright."""
    container, stream = open_media(path, threaded=False)
    with container:
        packets = enumerate(demux(container, stream, lambda: None))
        for _ in range(1000):
            try:
                picture = next(decode_packets(packets, stream.decode), None)
            except av.error.EOFError:
                break
            except av.error.FFmpegError:
                continue
            if picture is None:
                break
            matrix = display_matrix(picture)
            turned = matrix is not None and matrix[0, 0] == 0
            return (picture.width, picture.height) if turned else (picture.height, picture.width)
    raise InputError(f"{path} holds no frame that can be decoded; copy or record it again.")
