"""Frames that a policy revises at the end are stored as such, also after a stop and a resume."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from small_jobs import small_job, stored

from keepsight.core import Source
from keepsight.pipeline.job import Mode, Progress
from keepsight.pipeline.segment import run_segment


@pytest.mark.usefixtures("torn")
def test_revised_frames_are_stored_also_after_a_stop(studio: Path, tmp_path: Path) -> None:
    policy: dict[str, Any] = {"policy": "sam2long", "policy_options": {"uncertainty": 1000}, "stop": 20}
    calm = small_job(studio, tmp_path / "calm", **policy)
    live = small_job(studio, tmp_path / "live", **policy | {"policy_options": {"uncertainty": 1000, "revise": False}})
    run_segment(calm)
    run_segment(live)
    revised = {
        (result.frame, item.object_id): item.mask
        for result in stored(calm.folder)
        for item in result.objects
        if item.source is Source.REVISED
    }
    assert revised
    # Everything else is what was shown live.
    for first, second in zip(stored(calm.folder), stored(live.folder), strict=True):
        for item in first.objects:
            if (first.frame, item.object_id) not in revised:
                assert item == second[item.object_id]

    def press_ctrl_c(event: Progress) -> None:
        if event.stage == "track" and event.done == 9:
            os.kill(os.getpid(), signal.SIGINT)

    job = small_job(studio, tmp_path / "stopped", mode=Mode.RESUME, **policy)
    assert run_segment(job, progress=press_ctrl_c).state == "cancelled"
    assert all(item.source is not Source.REVISED for result in stored(job.folder) for item in result.objects)
    assert run_segment(job).state == "finished"
    assert stored(job.folder) == stored(calm.folder)
