"""When a video's clips are put together, and when again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keepsight.pipeline.batch.manifest import STAGES, Manifest, Unit

US = "elsewhere/1/0"


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    """Two videos of two clips each, planned."""
    with Manifest(tmp_path / "m.sqlite", create=True) as manifest:
        manifest.add_videos({"a": "a.mp4", "b": "b.mp4"})
        for _ in range(2):
            plan = take(manifest, "plan")
            assert manifest.finish(plan, 1.0, {}, {}, [(1, {}), (2, {}), (0, {"clips": 2})])
        yield manifest


def take(manifest: Manifest, *stages: str) -> Unit:
    unit = manifest.claim(stages, US)
    assert unit is not None
    return unit


def do(manifest: Manifest, stage: str, *, made: str = "x", fails: bool = False) -> Unit:
    unit = take(manifest, stage)
    if fails:
        manifest.fail(unit, "broken", 0.1)
    else:
        follows = [(unit.clip, {})] if stage in ("clip", "segment") else []
        assert manifest.finish(unit, 1.0, {f"{stage}{unit.name}": made}, {}, follows)
    return unit


def of(manifest: Manifest, stage: str, video: str = "a", clip: int = 0) -> Unit:
    return next(unit for unit in manifest.units() if (unit.stage, unit.video, unit.clip) == (stage, video, clip))


def through(manifest: Manifest) -> None:
    """Both clips of the first video from end to end."""
    for stage in ("clip", "segment", "crop"):
        for _ in range(2):
            assert manifest.claim(["link"], US) is None
            assert do(manifest, stage).video == "a"


def test_it_waits_for_all_clips_of_its_video_and_for_no_other(manifest: Manifest) -> None:
    through(manifest)
    link = take(manifest, *STAGES)
    assert (link.stage, link.video, link.clip, link.settings) == ("link", "a", 0, {"clips": 2})
    assert manifest.claim(["link"], US) is None


def test_a_clip_that_has_failed_holds_nothing_up_and_one_that_is_at_work_does(manifest: Manifest) -> None:
    do(manifest, "clip", fails=True)
    do(manifest, "clip")
    segment = take(manifest, "segment")
    assert manifest.claim(["link"], US) is None
    manifest.fail(segment, "broken", 0.1)
    assert take(manifest, "link").video == "a"


def test_a_unit_behind_one_that_has_failed_since_holds_nothing_up(manifest: Manifest) -> None:
    through(manifest)
    # Two files of a clip are gone; the first cannot be made again, so the second is never begun.
    manifest.ask_again([of(manifest, "clip", clip=1).id, of(manifest, "crop", clip=1).id])
    assert manifest.claim(["link"], US) is None
    do(manifest, "clip", fails=True)
    assert of(manifest, "crop", clip=1).state == "ready"
    assert take(manifest, "link").video == "a"


def test_it_is_done_again_where_something_else_came_out_and_only_there(manifest: Manifest) -> None:
    through(manifest)
    do(manifest, "link")
    crop = of(manifest, "crop", clip=2)
    manifest.ask_again([crop.id])
    do(manifest, "crop")
    assert of(manifest, "link").state == "done"
    manifest.ask_again([crop.id])
    do(manifest, "crop", made="other")
    assert of(manifest, "link").state == "ready"
    do(manifest, "link")
    assert of(manifest, "link").completed == 2
    assert of(manifest, "link", "b").completed == 0


@pytest.mark.parametrize("dies", [False, True])
def test_what_is_lost_and_fails_and_comes_back_counts_each_time(manifest: Manifest, dies: bool) -> None:
    through(manifest)
    do(manifest, "link")
    crop = of(manifest, "crop", clip=2)
    manifest.ask_again([crop.id])
    if dies:
        manifest.give_back(take(manifest, "crop"), 1)
    else:
        do(manifest, "crop", fails=True)
    assert of(manifest, "crop", clip=2).state == "failed"
    do(manifest, "link")
    manifest.ask_again([crop.id])
    do(manifest, "crop")
    do(manifest, "link")
    assert of(manifest, "link").completed == 3
