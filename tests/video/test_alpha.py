"""WebM with transparency is whole or not there."""

from __future__ import annotations

import av
import numpy as np
import pytest

from keepsight.core import InputError, StoreError
from keepsight.video.alpha import AlphaWriter

FRAME = np.full((15, 20, 4), 200, np.uint8)


def write(path):
    with AlphaWriter(path, height=15, width=20, fps=25) as writer:
        for number in range(5):
            writer.write(FRAME, number / 25)
        yield writer


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "1.webm"
    path.write_bytes(b"earlier")
    stopped = write(path)
    next(stopped)
    assert path.read_bytes() == b"earlier"
    with pytest.raises(KeyboardInterrupt):
        stopped.throw(KeyboardInterrupt())
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("1.webm", b"earlier")]
    for _ in write(path):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["1.webm"]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.metadata["alpha_mode"], stream.height, stream.width) == ("1", 16, 20)
        assert sum(1 for packet in container.demux(video=0) if packet.size) == 5


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(InputError):
        AlphaWriter(tmp_path / "1.webm", height=15, width=20, fps=0)
    (tmp_path / "taken.webm").mkdir()
    for name in ("taken.webm", "none/1.webm"):
        with pytest.raises(StoreError, match=rf"Cannot write .*{name}"):
            list(write(tmp_path / name))
    assert [file.name for file in tmp_path.rglob("*")] == ["taken.webm"]
