"""Linking objects across the cuts of a video."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cut_tracks import CutTracks, Track, cut, rectangle
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keepsight.core import InputError
from keepsight.pipeline.clips import CutRule, Piece, plan_clips
from keepsight.pipeline.seams import Linked, LinkRule, link_clips

FRAMES = 24


def pieces_of(frames: int, *, overlap: int, step: int = 1, count: int = FRAMES) -> list[Piece]:
    return plan_clips(np.arange(count) / 25, CutRule(frames, step=step, overlap=overlap))


def named(linked: Linked, ids: list[list[int]]) -> list[list[tuple[int, int]]]:
    """(clip, track) of every part of every identity, where ``ids`` says what each clip calls each track."""
    return [
        [(clip, ids[clip - 1].index(item.object_id)) for clip, item in identity.parts] for identity in linked.identities
    ]


@st.composite
def shuffled(draw: st.DrawFn, clips: int, tracks: int) -> list[list[int]]:
    return [draw(st.permutations(range(1, tracks + 1))) for _ in range(clips)]


box = st.tuples(st.integers(0, 80), st.integers(0, 40), st.integers(4, 30), st.integers(4, 30))


@st.composite
def crowds(draw: st.DrawFn) -> list[Track]:
    """Things that jump about, hide now and then, and lie on each other."""
    count = draw(st.integers(1, 4))
    return [
        (
            draw(st.sampled_from(["cow", "calf"])),
            {frame: rectangle(*draw(box)) for frame in range(12) if draw(st.integers(0, 3))},
        )
        for _ in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), tracks=crowds(), length=st.integers(3, 8), step=st.integers(1, 2))
def test_a_run_that_is_cut_with_overlap_gets_its_identities_back(data, tracks, length, step) -> None:
    overlap = data.draw(st.integers(1, length - 1))
    pieces = pieces_of(length, overlap=overlap, step=step, count=12)
    for a, b in pairwise(pieces):
        shared = sorted(set(a.frames) & set(b.frames))
        shown = [[(frame, masks[frame]) for frame in shared if frame in masks] for _, masks in tracks]
        assume(all(shown) and all(x != y for n, x in enumerate(shown) for y in shown[:n]))
    ids = data.draw(shuffled(len(pieces), len(tracks)))
    clips = cut(tracks, pieces, ids)
    linked = link_clips(clips)
    expected = [
        [(clip.number, n) for clip in clips if ids[clip.number - 1][n] in clip.tracks] for n in range(len(tracks))
    ]
    # With a single clip nothing has asked above whether all of them are seen in it.
    assert sorted(named(linked, ids)) == sorted(parts for parts in expected if parts)
    assert [identity.label for identity in linked.identities] == [
        tracks[parts[0][1]][0] for parts in named(linked, ids)
    ]
    assert linked.broken == []


@settings(max_examples=60, deadline=None)
@given(data=st.data(), length=st.integers(3, 12), step=st.integers(1, 2), count=st.integers(1, 4))
def test_a_run_that_is_cut_without_overlap_gets_its_identities_back(data, length, step, count) -> None:
    """Each in a lane of its own, faster than its own width: only its motion says that it is the same."""
    tracks: list[Track] = []
    for lane in range(count):
        speed, begin = data.draw(st.floats(-12, 12)), data.draw(st.integers(0, 86))
        masks = {frame: rectangle(begin + speed * frame, 2 + 12 * lane, 9, 8) for frame in range(FRAMES)}
        tracks.append(("cow", {frame: mask for frame, mask in masks.items() if mask.area}))
    pieces = pieces_of(length, overlap=0, step=step)
    seen = [[frame for frame in range(0, FRAMES, step) if frame in masks] for _, masks in tracks]
    # The speed of what is seen once is not known, and the box of what is cut off by the border moves in another way.
    whole = [
        {frame for frame in frames if masks[frame].area == 72} for frames, (_, masks) in zip(seen, tracks, strict=True)
    ]
    assume(all(set(frames) == inside for frames, inside in zip(seen, whole, strict=True)))
    assume(all(len(set(piece.frames) & set(frames)) != 1 for piece in pieces for frames in seen))
    ids = data.draw(shuffled(len(pieces), count))
    clips = cut(tracks, pieces, ids)
    expected = [[(clip.number, n) for clip in clips if ids[clip.number - 1][n] in clip.tracks] for n in range(count)]
    assert sorted(named(link_clips(clips), ids)) == sorted(parts for parts in expected if parts)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), length=st.integers(1, 6), rule=st.builds(LinkRule, st.floats(0.01, 1), st.integers(0, 3)))
def test_numbers_that_clips_give_decide_nothing_and_no_identity_has_two_objects_of_a_clip(data, length, rule) -> None:
    overlap = data.draw(st.integers(0, length - 1))
    pieces = pieces_of(length, overlap=overlap, count=12)
    tracks = [data.draw(crowds()) for _ in pieces]  # another crowd in every clip: nothing is to be found again
    size = max(len(crowd) for crowd in tracks)
    crowds_ = [[*crowd, *[("none", {})] * (size - len(crowd))] for crowd in tracks]
    plain = [list(range(1, size + 1))] * len(pieces)

    def link(ids: list[list[int]]) -> Linked:
        return link_clips(
            [cut(*one)[0] for one in zip(crowds_, [[p] for p in pieces], [[i] for i in ids], strict=True)], rule
        )

    first = link(plain)
    keys = [
        [replace(item, object_id=0) for item in clip.objects]
        for crowd, piece in zip(crowds_, pieces, strict=True)
        for clip in cut(crowd, [piece], [plain[0]])
    ]
    assume(all(len(set(clip)) == len(clip) for clip in keys))
    ids = data.draw(shuffled(len(pieces), size))
    assert named(link(ids), ids) == named(first, plain)
    parts = [(clip, item.object_id) for identity in first.identities for clip, item in identity.parts]
    assert len(set(parts)) == len(parts) == sum(map(len, keys))
    for number, identity in enumerate(first.identities, 1):
        assert identity.number == number
        clips = [clip for clip, _ in identity.parts]
        assert all(b == a + 1 for a, b in pairwise(clips))
        assert {item.label for _, item in identity.parts} == {identity.label}


def mover(frames: range, *, x: float = 0, speed: float = 3, label: str = "cow") -> Track:
    return label, {frame: rectangle(x + speed * frame, 10, 12, 12) for frame in frames}


def two_clips(before: list[Track], after: list[Track], *, shared: int = 0) -> list[CutTracks]:
    pieces = [Piece(1, 0, 10, 1), Piece(2, 10 - shared, 20, 1)]
    return [
        cut(tracks, [piece], [list(range(1, len(tracks) + 1))])[0]
        for tracks, piece in zip((before, after), pieces, strict=True)
    ]


@pytest.mark.parametrize(
    ("before", "after", "shared", "linked"),
    [
        pytest.param(mover(range(7)), mover(range(11, 20)), 0, True, id="unseen for 4 frames"),
        pytest.param(mover(range(3)), mover(range(11, 20)), 0, False, id="unseen for 8 frames"),
        pytest.param(mover(range(10)), mover(range(10, 20), label="calf"), 0, False, id="another label"),
        pytest.param(mover(range(10)), mover(range(10, 20), x=30), 0, False, id="another place"),
        pytest.param(mover(range(10)), mover(range(8, 20)), 6, True, id="found late in the overlap"),
        pytest.param(mover(range(6)), mover(range(8, 20)), 6, True, id="never seen by both in the overlap"),
        pytest.param(mover(range(10)), mover(range(4, 20), x=10), 6, False, id="apart in the overlap"),
    ],
)
def test_only_what_goes_on_is_linked(before: Track, after: Track, shared: int, linked: bool) -> None:
    found = link_clips(two_clips([before], [after], shared=shared))
    assert found.links == linked
    assert [[clip for clip, _ in identity.parts] for identity in found.identities] == (
        [[1, 2]] if linked else [[1], [2]]
    )


def test_a_missing_clip_breaks_the_chain_and_is_said() -> None:
    clips = cut([mover(range(FRAMES), speed=0)], pieces_of(8, overlap=0), [[4], [5], [6]])
    assert [len(identity.parts) for identity in link_clips(clips).identities] == [3]
    found = link_clips([clips[0], clips[2]])
    assert found.broken == [(1, 3)]
    assert [(identity.number, len(identity.parts)) for identity in found.identities] == [(1, 1), (2, 1)]


def test_a_brief_false_find_does_not_take_the_place_of_what_agrees_for_longer() -> None:
    ghost: Track = ("cow", {8: mover(range(9))[1][8]})
    found = link_clips(two_clips([mover(range(10))], [ghost, mover(range(5, 20), x=2)], shared=5))
    assert [[(clip, item.object_id) for clip, item in identity.parts] for identity in found.identities] == [
        [(1, 1), (2, 2)],
        [(2, 1)],
    ]


def test_names_are_fit_for_folders_and_rules_are_checked() -> None:
    names = [
        link_clips(two_clips([mover(range(10), label=label)], [])).identities[0].name
        for label in ("black cow", "", "a/b")
    ]
    assert names == ["black_cow_0001", "object_0001", "a_b_0001"]
    for wrong in ({"iou": 0.0}, {"iou": 1.1}, {"gap_frames": -1}):
        with pytest.raises(InputError, match="must be"):
            LinkRule(**wrong)
