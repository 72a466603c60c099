"""Runs that find their objects: what is kept of them, going on after a stop or a kill, and a detector that fails."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from found_jobs import AT_ONCE, Scripted, finding_job, truth
from small_jobs import FRAMES, stored
from test_crash import _run_and_kill

from keepsight.core import Concept, InputError, Mask, Prompt, Source
from keepsight.pipeline.job import Mode, Outputs, Progress, SegmentJob
from keepsight.pipeline.live import run_live
from keepsight.pipeline.segment import run_segment
from keepsight.store import Project


def objects_of(out: Path) -> dict[int, str | None]:
    with Project.open(out / "project.keepsight", read_only=True) as project:
        return {item.object_id: item.label for item in project.objects(project.videos()[0].id)}


def test_what_is_found_is_called_what_it_is_in_all_that_is_written(
    studio: Path, tmp_path: Path, script: Callable[[Scripted], None]
) -> None:
    script(Scripted(truth))
    job = finding_job(studio, tmp_path / "out", rules=AT_ONCE, outputs=Outputs(), stop=6)
    outcome = run_segment(job)
    assert (outcome.state, outcome.frames, outcome.tracked) == ("finished", 6, 6)
    found = outcome.found["mover"]
    assert found >= 2, outcome.found
    assert (
        outcome.detector
        == "Detector: motion, which finds whatever moves, before a camera that stands still; 'mover' only labels it."
    )
    assert outcome.summary().splitlines()[:2] == [outcome.detector, f"'mover': {found} objects."]
    assert objects_of(job.folder) == dict.fromkeys(range(1, found + 1), "mover")
    results = stored(job.folder)
    assert {item.source for item in results[0].objects} == {Source.DETECTED}
    assert results[1][1].source is Source.TRACKED
    annotations = json.loads((job.folder / "annotations.json").read_text())
    assert [item["name"] for item in annotations["categories"]] == ["mover"]
    assert "mover" in (job.folder / "report.html").read_text()
    assert {path.name for path in job.folder.iterdir()} >= {"overlay.mp4", "objects", "masks"}
    assert "detect" in outcome.times_s


def test_nothing_found_is_a_normal_result(studio: Path, tmp_path: Path, script: Callable[[Scripted], None]) -> None:
    script(Scripted(lambda frame: []))
    job = finding_job(studio, tmp_path / "out", outputs=Outputs(), stop=20)
    outcome = run_segment(job)
    assert (outcome.state, outcome.exit_code, outcome.frames, outcome.objects) == ("finished", 0, 20, 0)
    assert "'mover': nothing found." in outcome.summary()
    assert [name for name, _ in outcome.files] == ["project", "masks", "annotations", "overlay", "report"]
    assert len(stored(job.folder)) == 20


def test_a_detector_that_gives_rubbish_does_not_end_the_run(
    studio: Path, tmp_path: Path, script: Callable[[Scripted], None]
) -> None:
    nan = float("nan")
    script(Scripted(lambda frame: [*truth(frame), (nan, 1, 2, 3), (30, 30, 20, 20), (900, 1, 950, 9)]))
    outcome = run_segment(finding_job(studio, tmp_path / "out", rules=AT_ONCE, stop=5))
    assert outcome.state == "finished"
    assert (
        "Of what the detector gave, 15 could not be used and were left out: 5 with numbers that are not finite, "
        "10 with a box that is inside out or outside the frame."
    ) in outcome.notes


def test_what_is_pointed_at_goes_with_what_is_found(
    studio: Path, tmp_path: Path, script: Callable[[Scripted], None]
) -> None:
    script(Scripted(truth))
    sign = np.zeros((72, 96), bool)
    sign[2:12, 40:60] = True
    prompts = (
        Prompt(1, 0, mask=Mask.from_array(sign), label="sign"),
        Prompt(2, 4, points=((30.0, 25.0),), labels=(1,)),
        Prompt(40, 4, points=((60.0, 55.0),), labels=(1,)),
    )
    job = finding_job(studio, tmp_path / "out", rules=AT_ONCE, prompts=prompts, dealt=frozenset({1}), stop=6)
    outcome = run_segment(job)
    assert any("ids up to 1" in note for note in outcome.notes)
    labels = objects_of(job.folder)
    assert labels[1] == "sign"
    assert labels[2] == labels[3] == labels[40] == "mover"
    results = stored(job.folder)
    assert {item.object_id for item in results[0].objects} == {1, 2, 3}
    assert [results[4][one].source for one in (2, 40)] == [Source.PROMPT] * 2
    assert results[0][1].source is Source.PROMPT

    script(Scripted(truth))
    removed = finding_job(studio, tmp_path / "removed", rules=AT_ONCE, removed=(1,), stop=6)
    run_segment(removed)
    assert 1 not in objects_of(removed.folder)
    assert {item.object_id for item in stored(removed.folder)[0].objects} == {2}


def test_ctrl_c_keeps_what_is_on_trial_and_the_resumed_run_equals_an_uninterrupted_one(
    studio: Path, still: Path, tmp_path: Path
) -> None:
    patient = {"hotstart_unmatched": 15, "hotstart_duplicates": 15}
    calm = finding_job(studio, tmp_path / "calm", video=still, rules=patient)
    run_segment(calm)
    expected = stored(calm.folder)
    assert sum(len(result.objects) for result in expected) > FRAMES

    def press(event: Progress) -> None:
        if event.stage == "track" and event.done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    job = finding_job(studio, tmp_path / "stopped", video=still, rules=patient)
    stopped = run_segment(job, progress=press)
    # Results come 14 frames late; those are written too.
    assert (stopped.state, stopped.frames) == ("cancelled", 3 + 14)
    # As they would be left by objects that turn out to be none.
    with Project.open(job.project_path) as project:
        [run] = project.runs(1)
        stray = expected[16].objects[0]
        item = type(stray)(99, stray.mask, 0.9, 0.9)
        project.write_result(1, run.id, type(expected[16])(16, 0.64, 120, 160, (item,)), labels={99: "mover"})
    rest = run_segment(SegmentJob(job.video, out=job.folder, mode=Mode.RESUME, outputs=job.outputs))
    assert (rest.state, rest.frames, rest.tracked) == ("finished", FRAMES, FRAMES - 3)
    assert stored(job.folder) == expected
    assert objects_of(job.folder) == objects_of(calm.folder)
    assert rest.found == {"mover": len(objects_of(calm.folder))}


def test_killed_at_random_moments_it_ends_as_one_that_was_left_alone(studio: Path, still: Path, tmp_path: Path) -> None:
    rules = {"hotstart_frames": 6, "hotstart_unmatched": 5, "hotstart_duplicates": 5}
    calm = finding_job(studio, tmp_path / "calm", video=still, rules=rules)
    run_segment(calm)
    assert sum(len(result.objects) for result in stored(calm.folder)) > FRAMES / 2
    job = finding_job(studio, tmp_path / "storm", video=still, rules=calm.rules, mode=Mode.RESUME, checkpoint_s=0.02)
    dice = random.Random(time.time_ns())
    for _ in range(3):
        _run_and_kill(job, tmp_path / "ticks", dice.randint(3, 20), dice.uniform(0.0, 0.03))
    outcome = run_segment(job)
    assert (outcome.state, outcome.frames) == ("finished", FRAMES)
    assert stored(job.folder) == stored(calm.folder)
    assert objects_of(job.folder) == objects_of(calm.folder)


def test_a_resumed_run_is_held_to_what_was_asked(studio: Path, tmp_path: Path) -> None:
    job = finding_job(studio, tmp_path / "out", stop=2)
    run_segment(job)
    again = {"mode": Mode.RESUME, "stop": None}
    for changes, says in [
        ({"concepts": (Concept(1, "cow"),)}, r"what to find \('mover' then, 'cow' now\)"),
        ({"detector": "everything"}, r"detector \(motion then, everything now\)"),
        ({"rules": {"detect_every": 2}}, "rules"),
        ({"removed": (3,)}, "removed"),
        ({"selection": "decoupled"}, r"policy \(sam2 then, dms now\)"),
    ]:
        with pytest.raises(InputError, match=says):
            run_segment(finding_job(studio, job.folder, **again | changes))
    assert run_segment(finding_job(studio, job.folder, **again)).state == "finished"


def test_selection_is_a_policy_and_motion_needs_no_word(studio: Path, tmp_path: Path) -> None:
    job = finding_job(studio, tmp_path / "out", concepts=(), selection="decoupled", stop=2)
    assert "'thing' only labels it" in str(run_segment(job).detector)
    with Project.open(job.project_path) as project:
        settings = project.runs(1)[0].settings
    assert (settings["policy"], settings["detector"], settings["concepts"]) == ("dms", "motion", {"thing": []})
    assert np.isfinite(stored(job.folder)[0].time_s)


def test_a_stream_finds_what_comes(studio: Path, tmp_path: Path, script: Callable[[Scripted], None]) -> None:
    script(Scripted(lambda frame: truth(frame) if frame >= 3 else []))
    sign = np.zeros((72, 96), bool)
    sign[2:12, 40:60] = True
    said = (Prompt(1, 5, mask=Mask.from_array(sign), label="sign"), Prompt(2, 6, points=((80.0, 55.0),), labels=(1,)))
    job = finding_job(
        studio, tmp_path / "out", prompts=said, dealt=frozenset({1}), stop=8, outputs=Outputs(crops=False)
    )
    outcome = run_live(job)
    assert (outcome.state, outcome.frames) == ("finished", 8)
    results = stored(job.folder)
    assert [len(result.objects) for result in results[:4]] == [0, 0, 0, 2]
    labels = objects_of(job.folder)
    # Whoever nobody gave a number takes the next one when its frame comes.
    sign_id = next(one for one, label in labels.items() if label == "sign")
    assert sign_id > 2
    assert labels[1] == labels[2] == "mover"
    assert [sign_id in {item.object_id for item in result.objects} for result in results[4:]] == [
        False,
        True,
        True,
        True,
    ]
    assert results[6][2].source is Source.PROMPT
    assert outcome.found["mover"] == list(labels.values()).count("mover")
    assert {path.name for path in job.folder.iterdir()} >= {"recording.mp4", "overlay.mp4", "report.html"}
    with pytest.raises(InputError, match="do not apply to a live source"):
        run_live(finding_job(studio, tmp_path / "no", removed=(1,)))
