"""SAM2Long through the real engine, on tiny weights: what it equals, what it costs, and that it survives a kill."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tiny_models
from keepsight.core import Source
from keepsight.memory import SAM2Long
from keepsight.tracking import EngineOptions, Tracker
from reference import PixelBackbone, Said, disc, indexed_video, say

SIZE, FRAMES = 64, 22
SCRIPT = [
    Said(1, 3, mask=disc(SIZE, 24, 30, 11)),
    Said(2, 6, points=[(44, 20)]),
    Said(1, 12, box=(10, 12, 40, 50)),
]
PLAIN = SAM2Long(pathways=1, iou_threshold=None, key_spread=0)
# Every frame uncertain: pathways differ at once and keep changing places.
DOUBTING = SAM2Long(uncertainty=1000, iou_threshold=0.3)
QUIET = replace(DOUBTING, revise=False)


class Counting(PixelBackbone):
    """Counts unit evaluations: hypotheses that go through attention and decoder, and memories that are written."""

    def __init__(self, *args, torn=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.decoded, self.encoded, self.images, self.torn = 0, 0, 0, torn

    def encode_image(self, *args, **kwargs):
        self.images += 1
        return super().encode_image(*args, **kwargs)

    def decode(self, features, conditioned, prompts, multimask, views):
        self.decoded += len(conditioned)
        decoded = super().decode(features, conditioned, prompts, multimask, views)
        if self.torn:
            # The head of a random model prefers the same mask for ever; this estimate hangs on every detail of the mask.
            detail = decoded.logits.double().mean(dim=(-2, -1))
            decoded = replace(decoded, ious=(0.5 + 0.45 * torch.sin(500 * detail)).to(decoded.ious.dtype))
        return decoded

    def encode_memory(self, features, mask_logits, object_scores, binarize, views):
        self.encoded += len(mask_logits)
        return super().encode_memory(features, mask_logits, object_scores, binarize, views)


@pytest.fixture(scope="module")
def model():
    return tiny_models.sam2(SIZE)


@pytest.fixture(scope="module")
def clip():
    return tiny_models.video(FRAMES, SIZE)


def open_session(model, clip, policy, **changes):
    options = EngineOptions(units_per_decode=1, **changes)
    backbone = Counting(model, clip, torn=policy is DOUBTING or policy is QUIET)
    return Tracker(backbone, policy, options).open(indexed_video(len(clip), SIZE))


def follow(session, script=SCRIPT, upto=None, shown=None, **arguments):
    """Logits by place in the run, since "both" visits frames twice."""
    for said in script:
        say(session, said)
    shown = {} if shown is None else shown
    for _ in session.propagate(**arguments):
        for object_id, logits in session.last_logits.items():
            shown[session.visited, object_id] = logits.clone()
        if session.visited == upto:
            break
    return shown


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_one_pathway_without_filter_and_scaling_is_sam2(model, clip, direction):
    shown = {}
    for policy in ("sam2", PLAIN):
        session = open_session(model, clip, policy)
        shown[policy] = follow(session, direction=direction)
        # A correction in the middle, and following again from there.
        session.add(object_id=2, frame=10, points=[(40, 24)])
        shown[policy] |= {
            (100 + place, key): value
            for (place, key), value in follow(session, [], start=8, direction="forward").items()
        }
        assert session.finalize() == []
    assert equal(shown["sam2"], shown[PLAIN])


def test_filter_and_scaling_change_what_is_seen(model, clip):
    plain = follow(open_session(model, clip, PLAIN))
    for policy in (
        SAM2Long(pathways=1, iou_threshold=None, key_spread=0.3),
        SAM2Long(pathways=1, iou_threshold=0.9, key_spread=0),
    ):
        assert not equal(plain, follow(open_session(model, clip, policy)))


def test_pathways_that_agree_cost_one(model, clip):
    """The tiny model is sure of itself throughout: three pathways, and not one evaluation more than sam2 makes."""
    counts = {}
    for policy in ("sam2", SAM2Long(), SAM2Long(pathways=8)):
        session = open_session(model, clip, policy)
        follow(session)
        scores = [r.object_score for track in session._set.tracks.values() for r in track.bank]
        assert min(abs(score) for score in scores) > 2
        backbone = session.backbone
        counts[policy] = (backbone.images, backbone.decoded, backbone.encoded)
    assert len(set(counts.values())) == 1


def test_doubt_costs_a_unit_a_pathway_and_no_image(model, clip):
    counts = {}
    for policy in ("sam2", DOUBTING):
        session = open_session(model, clip, policy)
        follow(session, SCRIPT[:1])
        counts[policy] = session.backbone
    assert counts[DOUBTING].images == counts["sam2"].images
    # One on the first frame, then three distinct masks, each with a memory of its own.
    assert counts["sam2"].decoded + 2 * 10 < counts[DOUBTING].decoded <= 3 * counts["sam2"].decoded
    assert counts["sam2"].encoded + 2 * 10 < counts[DOUBTING].encoded <= 3 * counts["sam2"].encoded


def test_frames_are_revised_at_the_end(model, clip):
    """Live results first; then the best pathway's masks where others had been shown, and only there."""
    session = open_session(model, clip, DOUBTING)
    say(session, SCRIPT[0])
    live = {result.frame: result for result in session.propagate()}
    assert not any(result.revised for result in live.values())
    revised = session.finalize()
    assert revised
    assert all(result.revised for result in revised)
    assert [result.frame for result in revised] == sorted({result.frame for result in revised})
    bank = session._set.tracks[1].bank
    last = bank.tracked[FRAMES - 1][0]
    assert live[FRAMES - 1][1].score == pytest.approx(last.iou)
    for result in revised:
        assert result[1].source is Source.TRACKED
        assert bank.tracked[result.frame][0].marks["shown"] == 0.0
    assert any(result[1].mask != live[result.frame][1].mask for result in revised)
    # Asking twice, or not looking back at all, changes nothing.
    assert session.finalize() == revised
    quiet = open_session(model, clip, QUIET)
    say(quiet, SCRIPT[0])
    assert [result[1].mask for result in quiet.propagate()] == [result[1].mask for result in live.values()]
    assert quiet.finalize() == []


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_forgetting_changes_nothing(model, clip, direction):
    """Neither what is shown nor what is revised, folded masks included."""
    sessions = [open_session(model, clip, DOUBTING, keep_all_memory=keep) for keep in (False, True)]
    shown = [follow(session, direction=direction) for session in sessions]
    assert equal(*shown)
    assert sessions[0].finalize() == sessions[1].finalize() != []
    lean, whole = (
        sum(record.memory is not None for track in session._set.tracks.values() for record in track.bank)
        for session in sessions
    )
    assert lean < whole


@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize("stop_after", [8, 18])
def test_continues_bit_for_bit_after_a_kill(model, clip, stop_after, direction):
    whole = open_session(model, clip, DOUBTING)
    expected = follow(whole, direction=direction)
    broken = open_session(model, clip, DOUBTING)
    shown = follow(broken, upto=stop_after, direction=direction)
    state = broken.save_state()
    if stop_after == 18:
        assert max(len(records) for records in broken._set.tracks[1].bank.tracked.values()) > 1
    resumed = open_session(model, clip, DOUBTING)
    resumed.load_state(state)
    assert resumed.save_state() == state
    assert equal(follow(resumed, [], shown=shown, direction=direction, resume=True), expected)
    assert resumed.finalize() == whole.finalize()


def test_several_objects_are_each_as_alone(model, clip):
    together = open_session(model, clip, DOUBTING)
    shown = follow(together)
    revised = together.finalize()
    for object_id in (1, 2):
        script = [said for said in SCRIPT if said.object_id == object_id]
        alone = open_session(model, clip, DOUBTING)
        first = min(said.frame for said in script)
        expected = follow(alone, script)
        assert all(torch.equal(logits, shown[place + first - 3, object_id]) for (place, _), logits in expected.items())
        mine = {r.frame: r[object_id].mask for r in revised if object_id in [item.object_id for item in r.objects]}
        assert {result.frame: result[object_id].mask for result in alone.finalize()} == mine


def test_a_correction_ends_the_other_pathways(model, clip):
    session = open_session(model, clip, DOUBTING)
    say(session, SCRIPT[0])
    live = {}
    for result in session.propagate():
        live[result.frame] = result
        if result.frame == 9:
            assert len(session._set.tracks[1].bank.tracked[9]) > 1
            corrected = session.add(object_id=1, frame=9, points=[(30, 30)])
    bank = session._set.tracks[1].bank
    assert bank.at(9).conditioning
    revised = {result.frame for result in session.finalize()}
    assert 9 not in revised
    assert corrected.source is Source.PROMPT
    # From there on one history leads back to the correction, and what lies before is decided.
    assert all(len(records) == 1 for frame, records in bank.tracked.items() if frame < 9)


def test_a_stream_shows_the_live_result(model, clip):
    session = open_session(model, clip, DOUBTING)
    session.add(object_id=1, frame=0, mask=disc(SIZE, 24, 30, 11))
    video = indexed_video(FRAMES, SIZE)
    tracker = Tracker(Counting(model, clip, torn=True), DOUBTING, EngineOptions(units_per_decode=1))
    tracker.add(object_id=1, mask=disc(SIZE, 24, 30, 11))
    live = [tracker.step(frame.rgb)[1].mask for frame in video.frames()]
    # A file of more frames than the pointer budget is followed exactly like a stream.
    assert live == [result[1].mask for result in session.propagate()]
    assert tracker._stream is not None
    bank = tracker._stream.set.tracks[1].bank
    assert all(r.memory is not None or r.logits is None for r in bank)


@pytest.mark.parametrize("family", ["edgetam", "sam3_tracker"])
def test_other_families(family):
    size = 56 if family == "sam3_tracker" else SIZE
    model = getattr(tiny_models, family)(size)
    clip = tiny_models.video(10, size)
    tracker = Tracker(PixelBackbone(model, clip), DOUBTING, EngineOptions())
    session = tracker.open(indexed_video(10, size))
    session.add(object_id=1, frame=0, mask=disc(size, 24, 30, 11))
    assert len(list(session.propagate())) == 10
    assert max(len(records) for records in session._set.tracks[1].bank.tracked.values()) > 1
