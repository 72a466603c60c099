"""Exemplars that fit a video, and those that do not."""

from __future__ import annotations

import pytest

from keepsight.core import Exemplar, InputError


@pytest.mark.parametrize(
    ("exemplar", "says"),
    [
        (Exemplar(6, (0, 0, 1, 1)), "of 'cow' is on frame 6; the video has frames 0 to 5"),
        (Exemplar(0, (4, 0, 5, 1)), "4,0,5,1 of 'cow' lies outside the 4x3 px frame"),
        (Exemplar(0, (-3, 0, 0, 1)), "outside"),
        (Exemplar(0, (0, 3, 1, 9.5)), "outside"),
    ],
)
def test_what_does_not_fit_a_video_is_refused(exemplar, says):
    with pytest.raises(InputError, match=says):
        exemplar.check_inside(3, 4, 6, of="cow")


def test_what_overlaps_the_frame_fits():
    Exemplar(5, (3.5, -8, 90, 0.25)).check_inside(3, 4, 6, of="cow")
    Exemplar(10**6, (0, 0, 4, 3)).check_inside(3, 4, None, of="cow")
