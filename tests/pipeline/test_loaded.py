"""What stays from one job to the next, and what does not."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from found_jobs import finding_job
from small_jobs import small_job, stored

from keepsight.concepts import CorrectedSession, choosing
from keepsight.models import loading
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.manifest import Unit
from keepsight.pipeline.batch.units import Equipment, clip_path, perform
from keepsight.pipeline.loaded import LoadedModels
from keepsight.pipeline.segment import run_segment
from keepsight.tracking import Session
from keepsight.video import cut_clip, open_video


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that were read from disk."""
    counted: list[str] = []
    read = loading.load_backbone

    def count(name: str, **settings: object) -> object:
        counted.append(str(name))
        return read(name, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "load_backbone", count)
    return counted


def held() -> int:
    """Elements of all tensors that are alive."""
    gc.collect()
    return sum(one.numel() for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter))


def test_a_worker_reads_its_model_once_and_keeps_nothing_of_a_clip(
    studio: Path, still: Path, tmp_path: Path, loads: list[str]
) -> None:
    config = BatchConfig(
        input_folder=tmp_path,
        output_folder=tmp_path / "out",
        detector="motion",
        rules={"hotstart_frames": 0},
        model=str(studio / "model"),
    )
    equipment, after = Equipment("cpu"), []
    for clip in range(1, 4):
        unit = Unit(clip, "v", str(still), clip, "segment", "running", 1, None, "", 0.0, {}, {}, {}, 0, 0)
        with open_video(still) as video:
            cut_clip(video, clip_path(unit, config), 6, 14)
        done = perform(unit, config, equipment)
        assert done is not None
        assert done.results["objects"] >= 1
        after.append(held())
    assert loads == [str(studio / "model")]
    assert equipment.models.loads == 1
    assert after[0] == after[1] == after[2]
    assert not [one for one in gc.get_objects() if type(one) in (Session, CorrectedSession)]
    masks = [[path.read_bytes() for path in sorted((tmp_path / f"out/work/v/000{n}/masks").glob("*"))] for n in (1, 2)]
    assert masks[0] == masks[1]
    assert masks[0]


def test_another_model_or_precision_is_read_anew(studio: Path, tmp_path: Path, loads: list[str]) -> None:
    models = LoadedModels()
    fresh = run_segment(small_job(studio, tmp_path / "alone"))
    first = run_segment(small_job(studio, tmp_path / "a"), models=models)
    again = run_segment(small_job(studio, tmp_path / "b", policy="sam2long"), models=models)
    assert (len(loads), models.loads) == (2, 1)
    assert stored(first.out) == stored(fresh.out)
    assert stored(again.out) != stored(first.out)
    run_segment(small_job(studio, tmp_path / "c", dtype="bfloat16"), models=models)
    assert models.loads == 2


def test_a_detector_is_kept_unless_it_learns_along(
    studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picked = []
    pick = choosing.pick
    monkeypatch.setattr(choosing, "pick", lambda *args, **named: picked.append(args[0]) or pick(*args, **named))
    models = LoadedModels()
    for number, detector in enumerate(("motion", "motion", "everything", "everything")):
        job = finding_job(studio, tmp_path / str(number), detector=detector, stop=1)
        run_segment(job, models=models)
    assert picked == ["motion", "motion", "everything"]
