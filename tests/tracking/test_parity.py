"""The engine against transformers' own loop on the same weights: |logit difference| < 1e-4 on every frame."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import tiny_models
from keepsight.tracking import Tracker
from reference import (
    PixelBackbone,
    Run,
    Said,
    TheirSession,
    collect,
    disc,
    indexed_video,
    options,
    our_session,
    ours,
    say,
    theirs,
)

TOLERANCE = 1e-4

MAKERS = {
    "sam2.1": tiny_models.sam2,
    "sam2.0": partial(tiny_models.sam2, version="2.0"),
    "sam3-tracker": tiny_models.sam3_tracker,
    "edgetam": tiny_models.edgetam,
}


@pytest.fixture(scope="module", params=MAKERS)
def family(request):
    model = MAKERS[request.param]()
    return request.param, model, model.image_size


def script(name: str, size: int) -> list[Said]:
    unit = size / 64
    at = lambda *values: tuple(value * unit for value in values)  # noqa: E731
    mask = Said(1, 0, mask=disc(size, *at(24, 30, 11)))
    return {
        "one object by mask": [mask],
        "one click": [Said(1, 0, points=[at(20, 30)])],
        "three clicks": [Said(1, 0, points=[at(20, 30), at(40, 30), at(8, 50)], labels=[1, 1, 0])],
        "box": [Said(1, 0, box=at(10, 12, 40, 50))],
        "box and click": [Said(1, 0, box=at(10, 12, 40, 50), points=[at(20, 30)])],
        "three objects on different frames": [
            mask,
            Said(2, 4, points=[at(44, 20)]),
            Said(7, 9, box=at(30, 30, 60, 60)),
        ],
        "two prompted frames of one object": [mask, Said(1, 11, mask=disc(size, *at(34, 30, 12)))],
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "one object by mask",
        "one click",
        "three clicks",
        "box",
        "box and click",
        "three objects on different frames",
        "two prompted frames of one object",
    ],
)
def test_prompts_longer_than_the_memory(family, name):
    label, model, size = family
    clip = tiny_models.video(20, size)
    run = _theirs_per_object if label == "edgetam" else theirs
    reference = run(model, clip, script(name, size))
    assert ours(model, clip, script(name, size), options()).difference(reference) < TOLERANCE


def _theirs_per_object(model, clip, said):
    """transformers' EdgeTAM cannot mix a prompted and a tracked object on a frame; objects are independent, so one by one."""
    start = min(item.frame for item in said)
    run = Run()
    for object_id in {item.object_id for item in said}:
        own = [item for item in said if item.object_id == object_id]
        run.logits.update(theirs(model, clip, own, start_frame_idx=start).logits)
    return run


def test_backward(family):
    label, model, size = family
    clip = tiny_models.video(18, size)
    said = [Said(1, 17, mask=disc(size, size / 2, size / 2, size / 5))]
    if label != "edgetam":
        said.append(Said(2, 12, points=[(size / 3, size / 3)]))
    reference = theirs(model, clip, said, start_frame_idx=17, reverse=True)
    assert ours(model, clip, said, options(), direction="backward").difference(reference) < TOLERANCE


def test_forward_then_backward_from_the_middle(family):
    _, model, size = family
    clip = tiny_models.video(20, size)
    said = Said(1, 8, points=[(size / 2, size / 2)])
    their = TheirSession(model, clip)
    their.say(said)
    session = our_session(model, clip, options())
    say(session, said)
    forward = their.collect(Run())
    assert collect(session, Run()).difference(forward) < TOLERANCE
    backward = their.collect(Run(), start_frame_idx=8, reverse=True)
    # The frames just tracked forward are the recent memory of the first frames backward; eviction must have kept them.
    assert collect(session, Run(), direction="backward").difference(backward) < TOLERANCE


def test_object_absent_for_a_while(family):
    """The object score is driven below 0 in the middle of the clip: gates, absent pointer and absent embedding."""
    _, model, size = family
    clip = tiny_models.video(20, size)
    said = [Said(1, 0, mask=disc(size, size / 2, size / 2, size / 4))]
    bias = model.mask_decoder.pred_obj_score_head.proj_out.bias
    kept = bias.detach().clone()
    their, session = TheirSession(model, clip), our_session(model, clip, options())
    their.say(said[0])
    say(session, said[0])
    reference, result = Run(), Run()
    try:
        for start, value in ((0, 4.0), (6, -9.0), (11, 4.0)):
            stop = {0: 6, 6: 11, 11: 20}[start]
            with torch.no_grad():
                bias.fill_(value)
            their.collect(reference, start_frame_idx=start, max_frame_num_to_track=stop - start - 1)
            collect(session, result, start=start, stop=stop)
    finally:
        with torch.no_grad():
            bias.copy_(kept)
    absent = [frame for (frame, _), logits in reference.logits.items() if bool((logits == -1024).all())]
    assert absent == list(range(6, 11))
    assert result.difference(reference) < TOLERANCE


def test_batched_equals_one_by_one(family):
    """All hypotheses in one attention call, as on a GPU, against one at a time."""
    _, model, size = family
    clip = tiny_models.video(12, size)
    said = [
        Said(1, 0, mask=disc(size, size / 3, size / 3, size / 6)),
        Said(2, 0, points=[(size / 2, size / 2)]),
        Said(3, 3, box=(size / 4, size / 4, size / 2, size / 2)),
        Said(4, 5, points=[(size / 5, size / 2)]),
    ]
    single = ours(model, clip, said, options())
    session = Tracker(PixelBackbone(model, clip, units_per_call=8), "sam2", options()).open(indexed_video(12, size))
    for item in said:
        say(session, item)
    assert collect(session, Run()).difference(single) < TOLERANCE


def test_memory_matters(family):
    """The comparison can fail: with another temporal table the masks differ by far more than the tolerance."""
    _, model, size = family
    clip = tiny_models.video(12, size)
    said = [Said(1, 0, points=[(size / 2, size / 2)])]
    before = ours(model, clip, said, options())
    table = model.memory_temporal_positional_encoding
    kept = table.detach().clone()
    try:
        with torch.no_grad():
            table.copy_(kept.flip(0))
        after = ours(model, clip, said, options())
    finally:
        with torch.no_grad():
            table.copy_(kept)
    assert after.difference(before) > 100 * TOLERANCE
