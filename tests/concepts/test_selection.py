"""SAM 3's group selection of memory against SAM3-DMS' decoupled one, for objects that a detector found."""

from __future__ import annotations

import pytest
from coloured import session

from keepsight.concepts import SELECTIONS
from keepsight.memory import Step

FRAMES = 24


def read_by(made, object_id: int, frame: int) -> list[int]:
    """Frames beside the first that an object reads on a frame."""
    track = made._set.tracks[object_id]
    return track.policy.valid_frames(Step(frame, False, FRAMES), track.bank)


def grid(count: int) -> dict[int, tuple[int, int, int, int]]:
    return {n: (6 * (n % 10), 6 * (n // 10), 6 * (n % 10) + 5, 6 * (n // 10) + 5) for n in range(count)}


def run(selection: str, frames, last: int, **settings):
    made = session(frames, policy=SELECTIONS[selection], hotstart_frames=0, recondition_every=0, **settings)
    for result in made.propagate():
        if result.frame == last:
            break
    return made


def memory_of_the_one_away(selection: str) -> list[int]:
    """Thing 1 is away from frame 8 to 15 while the others of its group stay."""
    things = grid(4)
    without = {n: box for n, box in things.items() if n != 1}
    frames = [things] * 8 + [without] * 8 + [things] * 8
    return read_by(run(selection, frames, last=15), 2, 16)


def test_decoupled_keeps_blank_frames_out_of_the_memory_of_the_one_that_is_away():
    # The frame before is always read.
    assert memory_of_the_one_away("decoupled") == [*range(2, 8), 15]
    # Nothing but blank frames: the others of its group were there.
    assert memory_of_the_one_away("group") == list(range(10, 16))


def memory_of_the_one_present(selection: str) -> list[int]:
    """Of a hundred found together all but one are away from frame 4 on."""
    things = grid(100)
    frames = [things] * 4 + [{0: things[0]}] * 20
    return read_by(run(selection, frames, last=15), 1, 16)


def test_decoupled_keeps_reading_fresh_frames_of_the_one_that_is_present():
    assert memory_of_the_one_present("decoupled")[-6:] == list(range(10, 16))
    # The mean over the group is below the threshold: what it looked like lately is forgotten, but for the frame before.
    assert memory_of_the_one_present("group") == [1, 2, 3, 15]


@pytest.mark.parametrize(("late", "coupled"), [(0, True), (2, False)])
def test_a_group_is_what_was_found_on_one_frame(late, coupled):
    things = grid(2)
    frames = [{0: things[0]}] * late + [things] * (8 - late) + [{0: things[0]}] * 16
    made = run("group", frames, last=15)
    blank = [frame for frame in read_by(made, 2, 16) if 8 <= frame < 15]
    assert bool(blank) == coupled
