import numpy as np
import pytest

from clips import HdClip, clip_classes, contact_sheet, size_class
from scenes import HEIGHT, WIDTH
from sprites import Pictures


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures.made_up()


@pytest.fixture(scope="module")
def clip(pictures: Pictures) -> HdClip:
    return HdClip(pictures, 11, (1, 3), 10)


def test_a_clip_is_a_function_of_its_seed(pictures: Pictures, clip: HdClip) -> None:
    again = HdClip(pictures, 11, (1, 3), 10)
    # Another order of reading must not change a frame.
    for index in (7, 0):
        assert np.array_equal(again.read(index).rgb, clip.read(index).rgb)
        assert again.truth(index, 1) == clip.truth(index, 1)
    assert again.targets == clip.targets
    assert not np.array_equal(HdClip(pictures, 12, (1, 3), 10).read(0).rgb, clip.read(0).rgb)


def test_targets_are_in_view_and_of_the_size_that_was_asked_for(clip: HdClip) -> None:
    assert clip.read(0).rgb.shape == (HEIGHT, WIDTH, 3)
    assert [size_class(target.side_px) for target in clip.targets] == [1, 3]
    for target in clip.targets:
        assert clip.truth(0, target.number).area >= 60


def test_objects_do_not_share_pixels(clip: HdClip) -> None:
    for index in range(0, 10, 3):
        numbers = [number for target in clip.targets for number in (target.number, target.twin) if number]
        assert np.sum([clip.truth(index, number).to_array() for number in numbers], axis=0).max() <= 1


def test_the_truth_lies_on_the_object(pictures: Pictures) -> None:
    """Where an object was and is no more, the picture changes; where nothing moves, it stays."""
    for seed in range(30, 45):
        clip = HdClip(pictures, seed, (3,), 8)
        cameras = clip._scene.cameras
        before, after = clip.truth(0, 1).to_array(), clip.truth(7, 1).to_array()
        if np.ptp(cameras, axis=0).max() == 0 and (before & ~after).sum() > 0.3 * before.sum():
            change = np.abs(clip.read(7).rgb.astype(int) - clip.read(0).rgb).mean(2)
            left = before & ~after
            assert change[left].mean() > 4 * change[~(before | after)].mean()
            return
    pytest.fail("no clip with a fixed camera and a moving object among the seeds")


def test_all_sizes_come_equally_often() -> None:
    counts = np.bincount([k for index in range(5) for k in clip_classes(index)], minlength=5)
    assert counts.tolist() == [3, 3, 3, 3, 3]
    assert len(set(clip_classes(3))) == 3


def test_contact_sheet(clip: HdClip) -> None:
    assert contact_sheet(clip, 4, 2, 320).shape == (360, 640, 3)
