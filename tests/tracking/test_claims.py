"""Objects followed together: what several of them claim is remembered by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import keepsight
import tiny_models
from keepsight.core import Mask, Region
from keepsight.memory import FrameRecord, MemoryLimits, ReferenceRules, Role, WritePlan, policy_factory
from keepsight.tracking import EngineOptions, Tracker, Zoom
from keepsight.tracking.claims import USUAL_AREA, settle_boxes, settle_claims
from keepsight.tracking.looks import measure_records
from keepsight.tracking.masks import masks_at_size
from keepsight.tracking.pace import PACE_X, PACE_Y
from keepsight.tracking.track import FramePrompt, Track
from keepsight.tracking.units import Chosen
from keepsight.video import ArrayVideo
from reference import PixelBackbone, disc, indexed_video

SIZE = (64, 96)
WHOLE = Region.whole(*SIZE)
ABSENT = torch.full((1, 4), 7.0)


class Sight:
    """As much of a frame as claims look at."""

    size = SIZE
    whole = WHOLE


def record(frame: int, box: tuple[int, int, int, int], logit: float, region: Region = WHOLE, **known) -> FrameRecord:
    """A mask that fills a box, measured; its logits are a cell a px of the whole frame, and finer in a smaller region."""
    x1, y1, x2, y2 = (round(value) for value in region.box_to_grid(box, *SIZE))
    logits = torch.full(SIZE, -8.0)
    logits[y1:y2, x1:x2] = logit
    role = known.pop("role", Role.TRACK)
    made = FrameRecord(frame, role, logits=logits, object_score=5.0, pointer=torch.zeros(1, 4), region=region)
    measure_records([made], SIZE, [None])
    for name, value in known.items():
        setattr(made, name, value)
    return made


def settled(
    now: list[FrameRecord],
    before: list[FrameRecord | None],
    owners: list[int] | None = None,
    said: FramePrompt | None = None,
) -> list[np.ndarray]:
    """Masks over the frame after the objects' claims are settled; ``owners`` tells whose each record is, one each by default, and
    ``said`` what was said of each of them."""
    make = policy_factory("sam2")
    tracks = [Track(number + 1, make(MemoryLimits(7, 16, 0), ReferenceRules())) for number in range(len(before))]
    for track in tracks:
        track.prompts.update({} if said is None else {0: said})
    chosen = [
        Chosen(tracks[owner], item, WritePlan()) for owner, item in zip(owners or range(len(now)), now, strict=True)
    ]
    settle_claims(chosen, dict(zip(tracks, before, strict=True)), Sight(), Zoom(), ABSENT)  # type: ignore[arg-type]
    return [shown(item) for item in now]


def shown(item: FrameRecord) -> np.ndarray:
    return masks_at_size([item.logits], *SIZE, [item.region])[0].to_array()


def boxed(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def test_a_place_goes_to_the_one_that_is_surer_whatever_the_regions():
    left, right = (10, 10, 30, 30), (24, 10, 44, 30)
    near = Region(0, 0, 48, 32)
    now = [record(1, left, 2.0), record(1, right, 5.0, near)]
    a, b = settled(now, [record(0, left, 4.0), record(0, right, 4.0)])
    assert (a == boxed(10, 10, 24, 30)).all()
    assert (b == boxed(*right)).all()
    assert now[0].box == (10, 10, 24, 30)
    assert (now[0].lost, now[0].object_score) == (0, 5.0)


@given(
    boxes=st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 30), st.integers(8, 30), st.integers(8, 30)),
        min_size=2,
        max_size=5,
    ),
    data=st.data(),
)
def test_nobody_shares_and_nobody_gains(boxes, data):
    corners = [(x, y, x + w, y + h) for x, y, w, h in boxes]
    sure = data.draw(st.permutations([1.0, 2.0, 3.0, 4.0, 5.0]))[: len(boxes)]
    lost = data.draw(st.lists(st.booleans(), min_size=len(boxes), max_size=len(boxes)))
    before = [record(0, box, 4.0) for box in corners]
    for one, gone in zip(before, lost, strict=True):
        one.lost = int(gone)
    masks = settled([record(1, box, value) for box, value in zip(corners, sure, strict=True)], before)
    for mask, box in zip(masks, corners, strict=True):
        assert not (mask & ~boxed(*box)).any()
    assert (np.sum(masks, axis=0) <= 1).all()


def test_twins_are_told_apart_by_where_they_should_be_by_now():
    # They stood on each other's side a frame ago and went on; both are seen where both are.
    both = (10, 10, 60, 40)
    before = [record(0, (40, 10, 60, 40), 4.0), record(0, (10, 10, 30, 40), 4.0)]
    for one, pace in zip(before, (-30.0, 30.0), strict=True):
        one.marks.update({PACE_X: pace, PACE_Y: 0.0, USUAL_AREA: 1500.0})
    a, b = settled([record(1, both, 3.0), record(1, both, 3.0)], before)
    assert (a == boxed(10, 10, 35, 40)).all()
    assert (b == boxed(35, 10, 60, 40)).all()


def test_who_was_lost_takes_nothing_however_sure():
    here, there = (10, 10, 40, 40), (12, 10, 42, 40)
    gone = record(0, there, 4.0)
    gone.lost = 3
    now = [record(1, here, 1.0), record(1, there, 9.0)]
    a, b = settled(now, [record(0, here, 4.0), gone])
    assert (a == boxed(*here)).all()
    # What is left of it is a border: it is not there, is written so, and is looked for on.
    assert not b.any()
    assert now[1].lost == 4
    assert now[1].box == gone.box
    assert now[1].object_score < 0
    assert (now[1].pointer == ABSENT).all()


def test_who_has_spread_to_the_other_one_gives_it_back_however_sure():
    one, other = (10, 10, 30, 40), (30, 10, 50, 40)
    now = [record(1, (10, 10, 50, 40), 9.0), record(1, other, 1.0)]
    a, b = settled(now, [record(0, one, 4.0), record(0, other, 4.0)])
    assert (a == boxed(*one)).all()
    assert (b == boxed(*other)).all()
    # What it is usually like is told by frames on which it was alone, not by these.
    assert now[0].marks[USUAL_AREA] == pytest.approx(600)
    # One that is on the other altogether has not spread: there the logits decide.
    now = [record(1, other, 9.0), record(1, other, 1.0)]
    a, b = settled(now, [record(0, (10, 10, 24, 40), 4.0), record(0, other, 4.0)])
    assert a.any()
    assert not b.any()


@pytest.mark.parametrize("sure", [1.0, 9.0])
def test_a_ball_before_its_player_stays_a_ball(sure):
    player, ball = (10, 5, 50, 55), (24, 20, 32, 28)
    now = [record(1, player, 5.0), record(1, ball, sure)]
    a, b = settled(now, [record(0, player, 4.0), record(0, (14, 20, 22, 28), 4.0)])
    assert (b == boxed(*ball)).all()
    assert (a == boxed(*player) & ~boxed(*ball)).all()
    # Of one that is as large as half of the other nobody knows whether it is in front.
    half = (10, 5, 30, 55)
    a, b = settled([record(1, player, 5.0), record(1, half, sure)], [record(0, player, 4.0), record(0, half, 4.0)])
    assert b.sum() == 1000 if sure > 5 else b.sum() < 500


def test_whose_mask_is_cut_goes_on_as_it_did():
    one, other = (10, 10, 40, 40), (26, 10, 60, 40)
    for marks in ({PACE_X: 20.0, PACE_Y: -3.0}, {}):
        before, now = record(0, one, 4.0), record(1, one, 2.0)
        before.marks.update(marks)
        now.marks.update({PACE_X: 1.0, PACE_Y: 1.0})
        settled([now, record(1, other, 5.0)], [before, record(0, other, 4.0)])
        assert {name: now.marks.get(name) for name in (PACE_X, PACE_Y)} == {
            name: marks.get(name) for name in (PACE_X, PACE_Y)
        }


def test_the_usual_area_grows_sooner_than_it_shrinks():
    alone = (60, 40, 90, 60)
    for box, expected in (((10, 10, 40, 40), 600 + 0.2 * 300), ((10, 10, 20, 40), 600 - 0.05 * 300)):
        now = [record(1, box, 3.0), record(1, alone, 3.0)]
        settled(now, [record(0, (10, 10, 30, 40), 3.0), record(0, alone, 3.0)])
        assert now[0].marks[USUAL_AREA] == pytest.approx(expected)


def test_what_lay_within_another_object_when_it_was_pointed_at_stays_there():
    person, tie = (10, 5, 40, 55), (22, 20, 28, 40)
    before = [record(0, person, 4.0, role=Role.PROMPT), record(0, tie, 4.0, role=Role.PROMPT)]
    now = [record(1, person, 2.0), record(1, tie, 6.0)]
    a, b = settled(now, before)
    assert (a == boxed(*person)).all()
    assert (b == boxed(*tie)).all()
    # It is remembered while one of them is not to be seen, and until somebody says otherwise.
    now[1].lost = 1
    a, b = settled([record(2, person, 2.0), record(2, tie, 6.0)], now)
    assert (a == boxed(*person)).all()
    corrected = [record(3, (50, 5, 80, 55), 4.0, role=Role.PROMPT), record(3, tie, 4.0, role=Role.PROMPT)]
    a, _ = settled([record(4, person, 2.0), record(4, tie, 6.0)], corrected)
    assert not (a & boxed(*tie)).any()
    # Also when it is said of one of them only; of the other one that is not to be seen there it says nothing.
    now[1].lost = 0
    for item in now:
        item.frame = 3
    a, b = settled([record(4, person, 6.0), record(4, person, 2.0)], [corrected[0], now[1]])
    assert not (a & b).any()
    now[1].lost = 1
    again = [record(4, person, 2.0), record(4, tie, 6.0)]
    a, _ = settled(again, [corrected[0], now[1]])
    assert (a == boxed(*person)).all()
    assert any(mark.startswith("with ") for mark in again[0].marks)
    # Objects that came to lie so by themselves are two all the same.
    a, _ = settled([record(1, person, 2.0), record(1, tie, 6.0)], [record(0, person, 4.0), record(0, tie, 4.0)])
    assert not (a & boxed(*tie)).any()


def test_what_two_clicks_both_took_stays_with_both():
    # Half of each: neither lies within the other one, and no click says whose it is.
    left, right = (10, 10, 40, 40), (25, 10, 55, 40)
    clicked, drawn = FramePrompt([(20.0, 20.0)], [1]), FramePrompt(box=left)
    before = [record(0, box, 4.0, role=Role.PROMPT) for box in (left, right)]
    for said, shared in ((clicked, True), (drawn, False)):
        a, b = settled([record(1, left, 2.0), record(1, right, 5.0)], before, said=said)
        assert (a == boxed(*left)).all() == shared
        assert (b == boxed(*right)).all()
    # A little is what one of them has spread to.
    before[1] = record(0, (34, 10, 64, 40), 4.0, role=Role.PROMPT)
    a, b = settled([record(1, left, 2.0), record(1, (34, 10, 64, 40), 5.0)], before, said=clicked)
    assert not (a & b).any()


def test_all_that_is_thought_of_an_object_yields_to_what_is_best_thought_of_another():
    left, right = (10, 10, 40, 40), (30, 10, 60, 40)
    second = record(1, (20, 10, 44, 40), 2.0)
    now = [record(1, left, 2.0), second, record(1, right, 5.0)]
    _, b, c = settled(now, [record(0, left, 4.0), record(0, right, 4.0)], owners=[0, 0, 1])
    assert (b == boxed(20, 10, 30, 40)).all()
    assert (c == boxed(*right)).all()


# -- prompted frames -----------------------------------------------------------------------------------------------------
def answered(said: list[FramePrompt], boxes: list[tuple[int, int, int, int]], sure: list[float]) -> list[np.ndarray]:
    """Masks of objects of which so much was said on one frame, and which were answered by filled boxes."""
    make = policy_factory("sam2")
    tracks = []
    for number, (prompt, box, logit) in enumerate(zip(said, boxes, sure, strict=True), 1):
        track = Track(number, make(MemoryLimits(7, 16, 0), ReferenceRules()), prompts={0: prompt})
        track.pending[0] = record(0, box, logit, role=Role.PROMPT)
        tracks.append(track)
    settle_boxes(tracks, 0, Sight())  # type: ignore[arg-type]
    for track in tracks:
        left = track.pending[0]
        assert left.box == pytest.approx(Mask.from_array(shown(left)).box, abs=1)
    return [shown(track.pending[0]) for track in tracks]


def test_answers_to_boxes_that_overlap_take_nothing_of_each_other():
    behind, before = (10, 4, 40, 50), (28, 14, 60, 60)
    prompts = [FramePrompt(box=behind), FramePrompt(box=before)]
    # The answer about the one behind takes half of the other one along.
    a, b = answered(prompts, [(10, 4, 56, 50), before], [4.0, 3.0])
    assert not (a & b).any()
    assert b.sum() > 0.7 * boxed(*before).sum()
    # What a click or a drawing says stays as it was said.
    clicked = FramePrompt(points=[(50.0, 30.0)], labels=[1], box=behind)
    for said in (clicked, FramePrompt(mask=Mask.from_array(boxed(*behind)))):
        a, b = answered([said, prompts[1]], [(10, 4, 56, 50), before], [4.0, 3.0])
        assert (a == boxed(10, 4, 56, 50)).all()
        assert (b == boxed(*before)).all()


def test_a_box_within_another_one_is_answered_by_both():
    person, tie = (10, 5, 40, 55), (22, 20, 28, 40)
    a, b = answered([FramePrompt(box=person), FramePrompt(box=tie)], [person, tie], [3.0, 5.0])
    assert (a == boxed(*person)).all()
    assert (b == boxed(*tie)).all()


def test_of_what_somebody_has_put_a_box_around_something_is_left():
    one, other = (10, 10, 40, 40), (16, 10, 46, 40)
    a, b = answered([FramePrompt(box=one), FramePrompt(box=other)], [one, other], [1.0, 9.0])
    assert (a == boxed(*one)).all(), "a fifth would be left"
    assert (b == boxed(*other)).all()


# -- the built-in model --------------------------------------------------------------------------------------------------
JEANS, SUIT = ((40, 35, 35), (60, 80, 140)), ((45, 40, 30), (30, 30, 30))


def crossing(
    second=SUIT, speed: int = 8, frames: int = 36
) -> tuple[list[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
    """Two people in dark clothes cross, the first, in jeans, in front, and go on."""
    y, x = np.mgrid[:240, :480]
    ground = np.stack([120 + 30 * np.sin(x / 17), 130 + 25 * np.cos(y / 23), 120 + 20 * np.sin((x + y) / 31)], -1)
    rgbs, masks = [], []
    for frame in range(frames):
        rgb, found = ground.copy(), []
        for (jacket, trousers), middle, top in ((second, 360 - speed * frame, 94), (JEANS, 120 + speed * frame, 100)):
            body = (abs(x - middle) < 11) & (y > top) & (y < top + 36)
            legs = (abs(x - middle) < 9) & (y >= top + 36) & (y < top + 60)
            head = (x - middle) ** 2 + (y - top + 2) ** 2 <= 36
            rgb[body], rgb[legs], rgb[head] = jacket, trousers, (200, 160, 130)
            found.append(body | legs | head)
        rgbs.append(rgb.clip(0, 255).astype(np.uint8))
        masks.append((found[1], found[0] & ~found[1]))
    return rgbs, masks


def ious(results, masks) -> np.ndarray:
    """``(frames, 2)``."""
    rows = []
    for result in results:
        pairs = [(result[number].mask.to_array(), masks[result.frame][number - 1]) for number in (1, 2)]
        rows.append([(a & b).sum() / max((a | b).sum(), 1) if b.any() else float(not a.any()) for a, b in pairs])
    return np.array(rows)


def followed(rgbs, masks, **options) -> np.ndarray:
    """IoUs of both objects ``(frames, 2)``."""
    session = keepsight.load("builtin", options=EngineOptions(**options)).open(ArrayVideo(rgbs))
    for number in (1, 2):
        session.add(object_id=number, frame=0, mask=masks[0][number - 1])
    return ious(session.propagate(), masks)


@pytest.mark.parametrize("second", [SUIT, JEANS], ids=["alike", "twins"])
def test_two_who_cross_go_on_as_two(second):
    rgbs, masks = crossing(second)
    found = followed(rgbs, masks)
    assert (found[-8:] > 0.95).all()
    assert (found.mean(axis=0) > 0.9).all()


def test_where_each_is_followed_by_itself_both_end_up_on_both():
    rgbs, masks = crossing(frames=26)
    assert (followed(rgbs, masks, exclusive_memory=False)[-3:] < 0.8).any()


def test_a_session_of_two_who_cross_goes_on_from_its_checkpoint_bit_for_bit():
    rgbs, masks = crossing(frames=20)
    tracker = keepsight.load("builtin")

    def begun():
        session = tracker.open(ArrayVideo(rgbs))
        for number in (1, 2):
            session.add(object_id=number, frame=0, mask=masks[0][number - 1])
        return session

    expected = list(begun().propagate())
    broken = begun()
    run = broken.propagate()
    got = [next(run) for _ in range(16)]  # they have just met
    run.close()
    again = tracker.open(ArrayVideo(rgbs))
    again.load_state(broken.save_state())
    assert [*got, *again.propagate(resume=True)] == expected


def test_other_models_do_so_when_they_are_told_to():
    model, clip = tiny_models.sam2(64), tiny_models.video(5, 64)
    overlaps = {}
    for apart in (None, False, True):
        options = EngineOptions(exclusive_memory=apart)
        session = Tracker(PixelBackbone(model, clip), "sam2", options).open(indexed_video(len(clip), 64))
        session.add(object_id=1, frame=0, mask=disc(64, 20, 20, 11))
        session.add(object_id=2, frame=0, mask=disc(64, 44, 44, 11))
        results = list(session.propagate())[1:]
        overlaps[apart] = sum(int((r[1].mask.to_array() & r[2].mask.to_array()).sum()) for r in results)
    assert overlaps[None] == overlaps[False] > 10 * overlaps[True]
