"""Policies compared on what was found: the same detections for all, and the same number for the same object."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from found_jobs import AT_ONCE, MOVERS, Scripted, finding_job, truth
from small_jobs import stored

from keepsight.cli.main import run
from keepsight.core import FrameResult, Mask, TrackedObject
from keepsight.pipeline.compare import run_compare
from keepsight.pipeline.compare_job import CompareJob
from keepsight.pipeline.comparison import numbered_alike
from keepsight.pipeline.segment import run_segment

Script = Callable[[Scripted], None]


def item(object_id: int, x: int) -> TrackedObject:
    pixels = np.zeros((20, 60), bool)
    pixels[5:15, x : x + 10] = True
    return TrackedObject(object_id, Mask.from_array(pixels), 0.9, 0.9)


def results(*frames: list[TrackedObject]) -> dict[int, FrameResult]:
    return {number: FrameResult(number, number / 10, 20, 60, tuple(items)) for number, items in enumerate(frames)}


def test_the_same_object_has_the_same_number() -> None:
    one = results([item(1, 0), item(2, 20)], [item(1, 1), item(2, 21)], [item(1, 2), item(2, 22)])
    # The other numbers them the other way round, misses the second at first, and finds a third.
    other = results([item(2, 1)], [item(2, 2), item(1, 22)], [item(2, 3), item(1, 23), item(4, 45)])
    alike = numbered_alike({"a": one, "b": other})
    assert [[found.object_id for found in alike["a"][frame].objects] for frame in range(3)] == [
        [1, 2],
        [1, 2],
        [1, 2, 3],
    ]
    assert [[found.object_id for found in alike["b"][frame].objects] for frame in range(3)] == [
        [1, 2],
        [1, 2],
        [1, 2, 3],
    ]
    assert alike["b"][1][1].mask == item(0, 2).mask
    # What one does not show where the other does is absent there.
    assert [alike["b"][0][2].mask.area, alike["a"][2][3].mask.area, alike["b"][2][3].mask.area] == [0, 0, 100]
    by_truth = numbered_alike({"a": one}, {0: {7: item(0, 19).mask}, 2: {7: item(0, 21).mask}})
    assert [found.object_id for found in by_truth["a"][0].objects] == [7, 8]
    assert by_truth["a"][0][7].mask == item(0, 20).mask


def test_each_policy_gives_what_it_gives_alone_from_one_look_a_frame(
    studio: Path, tmp_path: Path, script: Script
) -> None:
    detector = Scripted(truth)
    script(detector)
    job = finding_job(studio, tmp_path / "all", rules=AT_ONCE, stop=8)
    compared = run_compare(CompareJob(job, ("sam3", "dms")))
    assert detector.frame == 8
    for policy in ("sam3", "dms"):
        script(Scripted(truth))
        alone = finding_job(studio, tmp_path / policy, rules=AT_ONCE, stop=8, policy=policy)
        run_segment(alone)
        expected = [{found.mask for found in result.objects if found.present} for result in stored(alone.folder)]
        got = [
            {found.mask for found in result.objects if found.present} for result in compared.results[policy].values()
        ]
        assert got == expected
    assert len(compared.rows) == 2
    assert {name for name, _ in compared.files} >= {"compare.mp4", "compare.png", "table.json"}
    assert "Detector: motion" in compared.notes[0]


def test_nothing_found_is_said(studio: Path, tmp_path: Path, script: Script) -> None:
    script(Scripted(lambda frame: []))
    job = finding_job(studio, tmp_path / "out", stop=20)
    compared = run_compare(CompareJob(job, ("sam3", "dms")))
    assert "Nothing was found." in compared.notes
    assert compared.frames == 20
    assert json.loads((tmp_path / "out" / "table.json").read_text())["frames"] == 20
    assert replace(job, concepts=MOVERS) == job


def test_from_the_command_line(studio: Path, tmp_path: Path, script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    script(Scripted(truth))
    arguments = ["compare", str(studio / "clip.mp4"), "--model", str(studio / "model"), "--text", "mover"]
    options = ["--detector", "motion", "--rule", "hotstart_frames=0", "--stop", "4", "--out", str(tmp_path / "out")]
    assert run([*arguments, *options, "--policies", "sam3,dms"]) == 0
    printed = capfd.readouterr().out
    assert "'mover' only labels it" in printed
    assert "4 frames" in printed
