"""Looking at frames for a pointer that goes about: nothing piles up, and nothing is looked at twice."""

from __future__ import annotations

import pytest
import torch
from small_desks import clip

import keepsight
from keepsight.annotation.live import LiveSession
from keepsight.core import Prompt


@pytest.fixture(scope="module")
def tracker():
    return keepsight.load("builtin", device="cpu", zoom=keepsight.Zoom(pyramid_least_px=24, least_px=24))


@pytest.fixture
def encoded(tracker, monkeypatch):
    """How many views each call of the encoder was asked for."""
    counts = []
    encode = tracker.backbone.encode_views
    monkeypatch.setattr(tracker.backbone, "encode_views", lambda views: counts.append(len(views)) or encode(views))
    return counts


def two_sessions(tracker):
    video = clip()
    return (LiveSession(tracker.backbone, tracker.policy, tracker.options, video) for _ in range(2))


CLICK = Prompt(1, 8, ((30.0, 25.0),), (1,))


def test_hovering_leaves_its_last_look_for_the_click_and_nothing_else(tracker, encoded):
    session = LiveSession(tracker.backbone, tracker.policy, tracker.options, clip())
    session.look_at(8)
    assert encoded == [1]
    ready = session._sights.get(8)
    size = ready.nbytes()
    for x in range(12, 42, 6):
        seen = session.preview(Prompt(1, 8, ((float(x), 25.0),), (1,)))
    assert session.object_ids == []
    assert session._sights.get(8) is ready
    assert ready.nbytes() == size
    looks = len(encoded)
    assert looks > 5
    answer = session.add_prompt(Prompt(1, 8, ((36.0, 25.0),), (1,)))
    assert answer == seen
    assert len(encoded) == looks
    assert session.believes(1) == {8: answer.mask.counts}


def test_a_place_is_looked_at_in_pieces_and_the_click_there_needs_no_more(tracker, encoded):
    session, other = two_sessions(tracker)
    session.look_at(8)
    pieces = []
    while session.look_closely(CLICK):
        pieces.append(len(encoded))
    assert sum(encoded) >= 3
    assert max(encoded) <= torch.get_num_threads()  # as many as take no longer than one
    assert len(encoded) == 1 + len(pieces)
    session.preview(CLICK)
    looks = len(encoded)
    answer = session.add_prompt(CLICK)
    assert len(encoded) == looks
    assert answer == other.add_prompt(CLICK)
    assert session.object_ids == [1]


def test_a_glance_is_there_before_the_looks_and_changes_nothing(tracker, encoded):
    session, other = two_sessions(tracker)
    session.look_at(8)
    first = session.glance(CLICK)
    assert first is not None
    assert first.present
    assert encoded == [1]
    assert session.object_ids == []
    while session.look_closely(CLICK):
        pass
    assert session.glance(CLICK) is None
    assert session.add_prompt(CLICK) == other.add_prompt(CLICK)
