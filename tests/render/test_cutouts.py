"""Cut-outs: the object's own pixels at their place, opaque; everything else transparent."""

from __future__ import annotations

import av
import numpy as np
import pytest
import render_samples as samples
from PIL import Image

from keepsight.core import InputError
from keepsight.render.cutouts import write_cutouts


def test_png_cutouts_hold_the_pixels_and_the_mask(tmp_path):
    video = samples.video()
    with samples.make(tmp_path / "p.keepsight") as project:
        assert write_cutouts(video, project, 1, "alpha-png", tmp_path / "out", start=6, stop=14) == (8 - 4) + 8
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1", "2"]  # 3 is never seen
    assert sorted(path.name for path in (tmp_path / "out" / "1").iterdir()) == [f"{f:05d}.png" for f in (6, 7, 12, 13)]
    pixels = np.asarray(Image.open(tmp_path / "out" / "1" / "00007.png"))
    mask = samples.result(7)[1].mask.to_array()
    np.testing.assert_array_equal(pixels[..., 3], mask * 255)
    np.testing.assert_array_equal(pixels[mask][:, :3], video.read(7).rgb[mask])
    assert not pixels[~mask].any()


def test_webm_cutouts_run_in_step_and_are_transparent(tmp_path):
    video = samples.video()
    with samples.make(tmp_path / "p.keepsight") as project:
        assert write_cutouts(video, project, 1, "alpha-webm", tmp_path / "out", max_writers=1) == 2
        with pytest.raises(InputError, match="No object is visible"):
            write_cutouts(video, project, 1, "alpha-webm", tmp_path / "none", start=500)
    assert not (tmp_path / "none").exists()
    with av.open(str(tmp_path / "out" / "1.webm")) as container:
        assert container.streams.video[0].metadata["alpha_mode"] == "1"
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own decoder drops the alpha
        frames = [frame for packet in container.demux(video=0) for frame in decoder.decode(packet)]
    assert len(frames) == samples.FRAMES
    for index in (4, 9):
        alpha = frames[index].to_ndarray(format="rgba")[..., 3] > 127
        mask = samples.result(index)[1].mask.to_array()
        assert np.count_nonzero(alpha ^ mask) <= 0.1 * max(1, mask.sum())
