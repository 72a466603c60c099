"""The project is the truth: undo, edits and restarts, and a tracker that never remembers what the project no longer says."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from small_desks import BLUE, FRAMES, HEIGHT, RED, WIDTH, clip, counts, picture, square, stored, track, wait, workshop

from keepsight.annotation import Conflict, Desk, Said, TrackRequest
from keepsight.core import KeepsightError, Mask
from keepsight.store import ChangeId, DeleteRange, Merge, Relabel, Split, Swap


def dump(desk: Desk) -> dict[str, list[str]]:
    """Everything that a person could tell apart."""
    connection = sqlite3.connect(desk.project_path)
    tables = {
        "objects": "SELECT object_id, label, colour, hidden, locked FROM objects WHERE NOT removed",
        "prompts": "SELECT p.* FROM prompts p JOIN objects o USING (video_id, object_id) WHERE NOT o.removed",
        "masks": "SELECT m.* FROM masks m JOIN objects o USING (video_id, object_id) WHERE NOT o.removed",
        "accepted": "SELECT * FROM accepted",
    }
    found = {name: sorted(map(repr, connection.execute(sql))) for name, sql in tables.items()}
    connection.close()
    return found


def test_everything_is_undone_and_redone_step_by_step_also_after_a_restart(desk, shop, reopened):
    states = [dump(desk)]

    def step(future):
        future.result()
        states.append(dump(desk))

    step(desk.prompt(RED))
    step(desk.prompt(Said(8, 1, points=((34.0, 30.0),), labels=(0,))))
    step(desk.prompt(BLUE))
    step(desk.change_object(2, label="azure", colour="#112233", hidden=True))
    step(desk.set_mask(1, 9, square(20, 20)))
    step(desk.accept(8))
    step(desk.unaccept(8, [1]))
    step(desk.delete_mask(1, 9))
    step(desk.clear_prompts(2, 12))
    step(desk.prompt(replace(BLUE, object_id=2, label=None)))
    step(desk.add_object("third"))
    step(desk.remove_object(3))
    step(desk.edit(Relabel("azure", "cyan")))
    names = []
    for state in reversed(states[:-1]):
        name, _ = desk.undo().result()
        names.append(name)
        assert dump(desk) == state, name
    assert desk.undo().result()[0] is None
    shop.shut()
    again = reopened()
    for name, state in zip(reversed(names), states[1:], strict=True):
        assert again.view().result().redo == name
        assert again.redo().result()[0] == name
        assert dump(again) == state
    assert again.redo().result()[0] is None


def test_an_undone_click_is_forgotten_by_the_tracker(desk, shop, tmp_path):
    desk.prompt(RED).result()
    desk.prompt(Said(8, 1, box=(60.0, 40.0, 95.0, 71.0))).result()
    desk.undo().result()
    track(desk, 8, "forward")
    never = shop.open("two", clip(), tmp_path / "two.keepsight").result()
    never.prompt(RED).result()
    # The undone mask is told again as it is stored, so the two begin alike but for the pointer of a click.
    assert counts(desk, 1)[8] == counts(never, 1)[8]
    fresh = replay(shop, tmp_path / "three.keepsight", {8: stored(desk, 1)[8].mask})
    assert counts(desk, 1) == counts(fresh, 1)


def replay(shop, path, anchors: dict[int, Mask], start: int = 8) -> Desk:
    """A new desk on which only these masks of an object were ever known, tracked forward."""
    desk = shop.open(path.name, clip(), path).result()
    desk.add_object().result()
    for frame, mask in anchors.items():
        desk.set_mask(1, frame, mask).result()
    track(desk, start, "forward")
    return desk


def test_a_correction_undone_after_tracking_leaves_only_what_is_stored(desk, shop, tmp_path):
    desk.prompt(RED).result()
    track(desk, 8, "forward")
    first = counts(desk, 1)
    desk.prompt(Said(12, 1, box=(60.0, 40.0, 95.0, 71.0), replace=True)).result()
    assert counts(desk, 1)[12] != first[12]
    desk.undo().result()
    assert counts(desk, 1) == first
    # Followed again from further on, nothing of the correction is left: as in a desk that was opened anew.
    track(desk, 15, "forward", stop=20)
    after = counts(desk, 1)
    shop.close("one")
    other = shop.open("again", clip(), tmp_path / "one.keepsight").result()
    track(other, 15, "forward", stop=20)
    assert counts(other, 1) == after


def truth(frame: int) -> tuple[Mask, Mask]:
    """The red and the blue rectangle."""
    rgb = picture(frame).astype(int)
    return Mask.from_array(rgb[..., 0] > 180), Mask.from_array(rgb[..., 2] > 180)


def test_after_a_swap_the_tracker_follows_the_swapped_identities(sure):
    for mask in truth(8):
        sure.prompt(Said(8, mask=mask)).result()
    track(sure, 8, stop=16)
    sure.edit(Swap(1, 2, 12)).result()
    track(sure, 15)
    for frame in range(8, FRAMES):
        kept, swapped = truth(frame), truth(frame)[::-1]
        for number, mask in enumerate(kept if frame < 12 else swapped, start=1):
            assert stored(sure, number)[frame].mask.iou(mask) > 0.9, (frame, number)


def test_a_drifted_object_is_put_right_and_followed_to_the_accepted_frame_only(sure):
    red, _ = truth(4)
    sure.prompt(Said(4, mask=red)).result()
    track(sure, 4, stop=9)
    # It drifts: from here on the other one is taken for a part of it.
    sure.set_mask(1, 9, truth(9)[1]).result()
    track(sure, 9)
    assert stored(sure, 1)[14].mask.iou(truth(14)[0]) < 0.9
    sure.set_mask(1, 18, truth(18)[0]).result()
    sure.accept(18).result()
    sure.delete_mask(1, 9).result()
    right = sure.prompt(Said(9, 1, points=((30.0, 25.0),), labels=(1,), replace=True)).result()
    assert right.mask.mask.iou(truth(9)[0]) > 0.9
    late = {frame: mask for frame, mask in counts(sure, 1).items() if frame >= 18}
    assert track(sure, 9).done == 8
    for frame in range(4, 19):
        assert stored(sure, 1)[frame].mask.iou(truth(frame)[0]) > 0.9, frame
    assert {frame: mask for frame, mask in counts(sure, 1).items() if frame >= 18} == late


def test_after_a_swap_each_goes_on_as_the_other(desk, shop, tmp_path):
    desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    track(desk, 8, "forward", stop=16)
    one, two = stored(desk, 1), stored(desk, 2)
    effect, _ = desk.edit(Swap(1, 2, 14)).result()
    assert effect.frames == 4
    assert stored(desk, 1)[15].mask == two[15].mask
    track(desk, 15, "forward")
    after = counts(desk, 1), counts(desk, 2)
    # The live session and one that never saw what was before the swap say the same.
    shop.close("one")
    other = shop.open("again", clip(), tmp_path / "one.keepsight").result()
    track(other, 15, "forward")
    assert (counts(other, 1), counts(other, 2)) == after
    assert stored(other, 2)[13].mask == two[13].mask != one[13].mask


@pytest.mark.parametrize(
    ("edit", "concerned"),
    [(Merge(2, 1, "from"), (1,)), (Split(1, 12), (1, 3)), (ChangeId(1, 7), (7,)), (DeleteRange(1, 10, 14), (1,))],
)
def test_after_any_edit_tracking_is_that_of_a_desk_opened_anew(desk, shop, tmp_path, edit, concerned):
    desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    track(desk, 8, "forward", stop=16)
    if isinstance(edit, Merge):
        with pytest.raises(Conflict, match="Say yes"):
            desk.edit(edit).result()
    planned = desk.preview_edit(edit).result()
    done, _ = desk.edit(edit, confirm=True).result()
    assert done == planned
    copy = tmp_path / "copy.keepsight"
    with sqlite3.connect(desk.project_path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    other = shop.open("copy", clip(), copy).result()
    for each in (desk, other):
        track(each, 15, "forward")
    for number in concerned:
        assert counts(desk, number) == counts(other, number)
    assert FRAMES - 1 in counts(desk, concerned[-1])


def test_an_object_that_joins_a_job_late_is_held_against_the_project_too(desk, shop, tmp_path):
    desk.prompt(RED).result()
    desk.prompt(BLUE).result()
    track(desk, 8, stop=20)
    # The tracker remembers object 2 up to frame 19; what it was on frame 16 is drawn anew.
    desk.set_mask(2, 16, square(5, 5)).result()
    desk.edit(DeleteRange(1, 10)).result()
    copy = tmp_path / "copy.keepsight"
    with sqlite3.connect(desk.project_path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    other = shop.open("copy", clip(), copy).result()
    for each in (desk, other):
        # Object 2 is kept on all frames up to 19, so it joins on frame 20.
        each.change_settings(replace(each.settings, non_overwrite=True)).result()
        assert track(each, 9).state == "finished"
    assert counts(desk, 2) == counts(other, 2)
    assert FRAMES - 1 in counts(desk, 2)


def test_a_correction_before_an_accepted_frame_does_not_reach_past_it_when_tracking_again(desk):
    desk.prompt(RED).result()
    track(desk, 8, "forward")
    desk.accept(12).result()
    before = counts(desk, 1)
    desk.set_mask(1, 9, square(60, 50)).result()
    track(desk, 9, "forward")
    changed = {frame for frame in before if counts(desk, 1)[frame] != before[frame]}
    assert changed
    assert changed <= {9, 10, 11}


def test_a_restart_in_the_middle_goes_on_from_what_is_stored(desk, shop, reopened):
    desk.prompt(RED).result()
    job = desk.track(TrackRequest(8)).result()
    shop.shut()
    again = reopened()
    found = again.jobs().result()[0]
    assert (found.id, found.state) == (job.id, "cancelled")
    units = found.done
    again.resume(job.id).result()
    done = wait(again)
    assert (done.state, done.done) == ("finished", 15)
    assert again.units_decoded == 15 - units
    assert again.settings.model == desk.settings.model


@pytest.mark.parametrize(
    "ask",
    [
        lambda desk: desk.prompt(Said(FRAMES, points=((1, 1),), labels=(1,))),
        lambda desk: desk.prompt(Said(-1, points=((1, 1),), labels=(1,))),
        lambda desk: desk.prompt(Said(0, points=((float("nan"), 1),), labels=(1,))),
        lambda desk: desk.prompt(Said(0, points=((WIDTH + 1.0, 1),), labels=(1,))),
        lambda desk: desk.prompt(Said(0, points=((1, 1),), labels=(2,))),
        lambda desk: desk.prompt(Said(0, points=((1.0, 1.0),) * 300, labels=(1,) * 300)),
        lambda desk: desk.prompt(Said(0)),
        lambda desk: desk.prompt(Said(0, 99, points=((1, 1),), labels=(1,))),
        lambda desk: desk.prompt(Said(0, box=(5.0, 5.0, 1.0, 1.0))),
        lambda desk: desk.prompt(Said(0, mask=Mask.empty(HEIGHT, WIDTH))),
        lambda desk: desk.prompt(Said(0, mask=Mask.from_array(np.ones((3, 3))))),
        lambda desk: desk.prompt(Said(0, points=((1, 1),), labels=(1,), label="x" * 500)),
        lambda desk: desk.set_mask(99, 0, square(1, 1)),
        lambda desk: desk.set_mask(1, 0, Mask.from_array(np.ones((3, 3)))),
        lambda desk: desk.delete_mask(1, 3),
        lambda desk: desk.clear_prompts(1, 3),
        lambda desk: desk.accept(3, [1]),
        lambda desk: desk.accept(99),
        lambda desk: desk.edit(Merge(1, 1)),
        lambda desk: desk.edit(Split(99, 3)),
        lambda desk: desk.track(TrackRequest(99)),
        lambda desk: desk.track(TrackRequest(5, stop=3)),
        lambda desk: desk.track(TrackRequest(5, first=6)),
        lambda desk: desk.track(TrackRequest(5, objects=(99,))),
        lambda desk: desk.find(0, "x" * 1000),
        lambda desk: desk.find(0, "cow", threshold=float("nan")),
        lambda desk: desk.picture(99),
        lambda desk: desk.cancel(99),
        lambda desk: desk.masks(0, 10_000),
        lambda desk: desk.change_object(1, colour="red"),
        lambda desk: desk.change_settings(replace(desk.settings, policy="nobody")),
        lambda desk: desk.change_settings(replace(desk.settings, model="nobody")),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line_and_changes_nothing(stage, ask):
    before = dump(stage)
    with pytest.raises(KeepsightError) as refused:
        ask(stage).result()
    assert "\n" not in str(refused.value)
    assert dump(stage) == before


@pytest.fixture(scope="module")
def stage(model, tmp_path_factory):
    shop = workshop(model)
    desk = shop.open("stage", clip(), tmp_path_factory.mktemp("stage") / "stage.keepsight").result()
    desk.prompt(RED).result()
    yield desk
    shop.shut()


def test_not_here_where_it_is_not_leaves_the_mask_and_is_remembered_as_said(sure):
    sure.prompt(Said(8, box=(18.0, 15.0, 43.0, 38.0))).result()
    track(sure, 8, "forward", stop=14)
    before = stored(sure, 1)[12]
    away = Said(12, 1, points=((90.0, 3.0),), labels=(0,))
    assert sure.preview(away).result().mask == before.mask
    kept = sure.prompt(away).result().mask
    assert (kept.mask, kept.score) == (before.mask, before.score)
    (lane,) = sure.timeline().result().lanes
    assert lane.corrected == (12,)
    on_it = Said(12, 1, points=((24.0, 20.0),), labels=(0,))
    assert sure.prompt(on_it).result().mask.score != before.score, "the model is asked"
    assert [len(item.prompt.points) for item in sure.view().result().prompts if item.prompt.frame == 12] == [1, 1]
