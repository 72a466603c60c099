"""A saved state continues bit for bit, and bytes that are none are refused in one line."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_models
from keepsight.core import InputError, StoreError
from keepsight.memory import FrameRecord, SAM2Policy
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.tracking import Compatibility, EngineOptions, Tracker, checkpoint
from reference import PixelBackbone, Run, Said, disc, equal, follow, indexed_video, say

SIZE, FRAMES = 64, 14
SCRIPT = [
    Said(1, 4, mask=disc(SIZE, 24, 30, 11)),
    Said(2, 6, points=[(44, 20)]),
    Said(7, 9, box=(30, 30, 60, 60)),
]


class LooksBack(SAM2Policy):
    """Keeps the chain of records and revises the first ones at the end, from records that the bank no longer holds."""

    name = "looks-back"

    def commit(self, step, bank, records):
        for record in records:
            record.parent = bank.at(step.back(1))
            record.marks["visited"] = step.frame + 0.1
        super().commit(step, bank, records)

    def evict(self, step, bank):
        for frame in [frame for frame in bank.tracked if abs(frame - step.frame) > 2]:
            del bank.tracked[frame]

    def finalize(self, bank):
        chain, record = [], bank.at(max(bank.tracked))
        while record is not None:
            chain.append(record)
            record = record.parent
        return chain


@pytest.fixture(scope="module", params=["sam2", "edgetam"])
def model(request):
    return getattr(tiny_models, request.param)(SIZE)


@pytest.fixture(scope="module")
def sam2():
    return tiny_models.sam2(SIZE)


@pytest.fixture(scope="module")
def clip():
    return tiny_models.video(FRAMES, SIZE)


def open_session(model, clip, policy="sam2", reference="meta", name="custom"):
    options = EngineOptions(compatibility=Compatibility.of(reference))
    return Tracker(PixelBackbone(model, clip, name=name), policy, options).open(indexed_video(len(clip), SIZE))


@pytest.mark.parametrize("reference", ["meta", "transformers"])
@pytest.mark.parametrize("stop_after", [1, 10, 12])
def test_continues_bit_for_bit(model, clip, stop_after, reference):
    """Both directions, broken off before another object's prompt, just before the turn (10 results) and after it."""
    whole = open_session(model, clip, reference=reference)
    broken = open_session(model, clip, reference=reference)
    for said in SCRIPT:
        say(whole, said)
        say(broken, said)
    expected = follow(whole, Run(), direction="both")
    run = follow(broken, Run(), upto=stop_after, direction="both")
    resumed = open_session(model, clip, reference=reference)
    resumed.load_state(broken.save_state())
    assert resumed.visited == stop_after
    assert equal(follow(resumed, run, direction="both", resume=True), expected)


@pytest.mark.parametrize("reference", ["meta", "transformers"])
def test_prompts_whose_memory_is_not_written_yet(sam2, clip, reference):
    whole = open_session(sam2, clip, reference=reference)
    for said in SCRIPT:
        say(whole, said)
    state = whole.save_state()
    assert any(track.pending for track in whole._set.tracks.values())
    expected = follow(whole, Run())
    resumed = open_session(sam2, clip, reference=reference)
    resumed.load_state(state)
    assert equal(follow(resumed, Run()), expected)


def test_labels_prompts_and_corrections_come_back(sam2, clip):
    session = open_session(sam2, clip)
    say(session, SCRIPT[0])
    session.add(object_id=2, frame=6, points=[(44, 20)], label="fox")
    follow(session, Run())
    resumed = open_session(sam2, clip)
    resumed.load_state(session.save_state())
    assert resumed.labels == {2: "fox"}
    assert resumed.object_ids == [1, 2]
    for each in (session, resumed):
        each.add(object_id=2, frame=6, points=[(50, 50)], labels=[0])
        each.add(object_id=1, frame=12, points=[(30, 30)])
    assert equal(follow(session, Run()), follow(resumed, Run()))
    # The state of a state is the same state.
    again = open_session(sam2, clip)
    again.load_state(resumed.save_state())
    assert again.save_state() == resumed.save_state()


def test_chains_of_a_policy_that_looks_back(sam2, clip):
    whole, broken = (open_session(sam2, clip, LooksBack) for _ in range(2))
    for session in (whole, broken):
        say(session, SCRIPT[0])
        say(session, SCRIPT[1])
    follow(whole, Run())
    follow(broken, Run(), upto=6)
    resumed = open_session(sam2, clip, LooksBack)
    resumed.load_state(broken.save_state())
    follow(resumed, Run(), resume=True)
    assert [result.frame for result in resumed.finalize()] == list(range(4, FRAMES))
    assert resumed.finalize() == whole.finalize()
    record: FrameRecord = resumed._set.tracks[1].bank.at(FRAMES - 1)
    assert record.marks["visited"] == FRAMES - 0.9


# -- bytes that are no such state ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def state(sam2, clip):
    session = open_session(sam2, clip)
    say(session, SCRIPT[0])
    follow(session, Run(), upto=3)
    return session.save_state()


def refused(session, data, says) -> None:
    before = session.object_ids
    with pytest.raises(StoreError, match=says) as caught:
        session.load_state(data)
    assert "\n" not in str(caught.value)
    assert session.object_ids == before


def test_foreign_bytes(sam2, clip, state):
    from safetensors.torch import save

    session = open_session(sam2, clip)
    for data in (b"", b"x", b"\0" * 100, b"PK\x03\x04" * 50, save({"a": torch.zeros(2)}), state[:-1], state + b"\0"):
        refused(session, data, "damaged")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_changed_byte_is_noticed(sam2, clip, state, data):
    damaged = bytearray(state)
    at = data.draw(st.integers(0, len(state) - 1) | st.integers(0, 4000))
    damaged[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StoreError, match="damaged"):
        checkpoint.unpack(bytes(damaged), PixelBackbone(sam2, clip), None)


def test_another_model_policy_or_video(sam2, clip, state):
    refused(open_session(sam2, clip, name="other"), state, "belongs to model 'custom', not 'other'")
    refused(open_session(sam2, clip, LooksBack), state, "policy 'sam2', not 'looks-back'")
    other_size = HFVideoBackbone(tiny_models.sam2(32))
    refused(Tracker(other_size).open(indexed_video(FRAMES, SIZE)), state, "64 px.*32 px")
    with pytest.raises(InputError, match="another video"):
        open_session(sam2, clip[:9]).load_state(state)


def test_nothing_in_it_is_executable(state):
    """A safetensors file with JSON beside it, which a pickle reader finds nothing in."""
    import json
    import pickle

    length = int.from_bytes(state[:8], "little")
    assert json.loads(state[8 : 8 + length])["__metadata__"]["keepsight"]
    with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError)):
        pickle.loads(state)
