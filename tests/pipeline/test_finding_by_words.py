"""Words from the job to the project, by detectors that read them: small random weights in folders, as a person names them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from found_jobs import finding_job
from small_jobs import stored

from keepsight.core import Concept, Exemplar
from keepsight.pipeline.job import Mode, Progress
from keepsight.pipeline.segment import run_segment
from keepsight.store import Project

sys.path.append(str(Path(__file__).parents[1] / "concepts"))

COWS = (Concept(1, "cow"), Concept(2, "red car"))
#: Random weights are unsure.
LENIENT = {"score_threshold": 0.2, "new_score": 0.2}
PATIENT = {"hotstart_frames": 4, "hotstart_unmatched": 4, "hotstart_duplicates": 4}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny_detectors
    import tiny_sam3

    folder = tmp_path_factory.mktemp("weights")
    tiny_detectors.save(tiny_detectors.grounding_dino(), tiny_detectors.bert_tokenizer(), folder / "dino")
    tiny_sam3.sam3().save_pretrained(folder / "sam3")
    tiny_sam3.tokenizer().save_pretrained(folder / "sam3")
    return folder


def settings_of(out: Path) -> dict[str, Any]:
    with Project.open(out / "project.keepsight") as project:
        return project.runs(1)[-1].settings


def test_grounding_dino_beside_another_tracker(studio: Path, weights: Path, tmp_path: Path) -> None:
    name = str(weights / "dino")
    rules = {**LENIENT, "hotstart_frames": 0, "detect_every": 2}
    job = finding_job(studio, tmp_path / "out", concepts=COWS, detector=name, rules=rules, stop=4)
    outcome = run_segment(job)
    assert outcome.detector == f"Detector: {name}."
    assert sum(outcome.found.values()) == outcome.objects > 0
    settings = settings_of(job.folder)
    assert (settings["policy"], len(settings["detector_weights"])) == ("sam2", 16)


def test_sam3_finds_and_follows_by_itself_and_goes_on_after_ctrl_c(studio: Path, weights: Path, tmp_path: Path) -> None:
    shown = (Exemplar(0, (10.0, 10.0, 30.0, 40.0)), Exemplar(9, (50.0, 10.0, 80.0, 40.0), positive=False))
    wanted = {
        "model": str(weights / "sam3"),
        "detector": None,
        "concepts": (Concept(1, "cow", shown), Concept(2, "red car")),
        "rules": {**LENIENT, **PATIENT},
        "stop": 12,
    }
    calm = finding_job(studio, tmp_path / "calm", **wanted)
    outcome = run_segment(calm)
    assert outcome.detector == "Detector: sam3, the best one at hand."
    assert outcome.objects > 0
    assert settings_of(calm.folder)["policy"] == "sam3"

    def press(event: Progress) -> None:
        if event.stage == "track" and event.done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    job = finding_job(studio, tmp_path / "stopped", **wanted)
    assert run_segment(job, progress=press).frames == 5 + 3
    resumed = finding_job(studio, job.folder, mode=Mode.RESUME, concepts=(), detector=None, model=None)
    assert run_segment(resumed).state == "finished"
    assert stored(job.folder) == stored(calm.folder)
