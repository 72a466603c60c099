"""A clip that does not fit into memory: less at a time, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from found_jobs import AT_ONCE, Scripted, truth

from keepsight.core import MemoryExhausted
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.manifest import Unit
from keepsight.pipeline.batch.peaks import PeakMemory
from keepsight.pipeline.batch.smaller import TRIES_NAME, Try, tries_of
from keepsight.pipeline.batch.units import Done, Equipment, clip_path, perform, work_folder
from keepsight.pipeline.trouble import is_out_of_memory
from keepsight.store import Project
from keepsight.video import cut_clip, open_video

Fits = Callable[[int, torch.dtype], bool]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fits], list[int]]:
    """Runs out of memory, really, whenever so many units in that precision do not fit; gives the units of each such call."""

    def script(fits: Fits) -> list[int]:
        refused: list[int] = []
        condition = HFVideoBackbone.condition

        def scripted(self: HFVideoBackbone, features: Any, reads: Any, views: Any) -> Any:
            if not fits(len(reads), self.dtype):
                refused.append(len(reads))
                torch.empty(2**60, dtype=torch.uint8)
            return condition(self, features, reads, views)

        monkeypatch.setattr(HFVideoBackbone, "condition", scripted)
        return refused

    return script


@pytest.fixture
def follow(studio: Path, tmp_path: Path, script: Callable[[Scripted], None]) -> tuple[Callable[[], Done | None], Path]:
    """Follows two objects through a clip, and where to."""
    config = BatchConfig(
        input_folder=tmp_path,
        output_folder=tmp_path / "out",
        detector="motion",
        rules=AT_ONCE,
        model=str(studio / "model"),
        dtype="float32",
    )
    script(Scripted(lambda frame: truth(0)))
    unit = Unit(**_UNIT, source=str(studio / "clip.mp4"))
    with open_video(unit.source) as video:
        cut_clip(video, clip_path(unit, config), 0, 6)
    return lambda: perform(unit, config, Equipment("cpu")), work_folder(unit, config)


_UNIT: dict[str, Any] = {
    "id": 1,
    "video": "v",
    "clip": 1,
    "stage": "segment",
    "state": "running",
    "attempts": 1,
    "owner": None,
    "worker": "",
    "lease": 0.0,
    "error": "",
    "seconds": 0.0,
    "settings": {},
    "results": {},
    "outputs": {},
    "completed": 0,
    "changed": 0,
}


def run_of(folder: Path) -> dict[str, Any]:
    with Project.open(folder / "project.keepsight", read_only=True) as project:
        [run] = project.runs(1)
        assert run.state == "finished"
        return run.settings


def test_fewer_objects_a_batch_until_it_fits(follow: Any, memory: Callable[[Fits], list[int]]) -> None:
    refused = memory(lambda units, dtype: units < 2)
    work, folder = follow
    done = work()
    assert refused == [2, 2]
    assert [line.partition(":")[0] for line in done.results["tried"]] == [
        "as many objects as usual in float32",
        "4 at a time in float32",
    ]
    assert done.results["settled"] == "1 at a time in float32"
    assert done.results["objects"] >= 2
    assert run_of(folder)["dtype"] == "float32"
    masks = [path.read_bytes() for path in done.files]
    for path in done.files:
        path.unlink()
    # Asked for once more, it is begun with what has worked, so that it comes out the same.
    again = work()
    assert [path.read_bytes() for path in again.files] == masks
    assert again.results["tried"] == done.results["tried"]
    assert refused == [2, 2]


def test_then_less_precision(follow: Any, memory: Callable[[Fits], list[int]]) -> None:
    refused = memory(lambda units, dtype: dtype == torch.bfloat16)
    work, folder = follow
    done = work()
    assert refused == [2, 2, 1]
    assert len(done.results["tried"]) == 3
    assert done.results["settled"] == "1 at a time in bfloat16"
    assert run_of(folder)["dtype"] == "bfloat16"


def test_failing_that_it_is_said_and_a_retry_begins_anew(follow: Any, memory: Callable[[Fits], list[int]]) -> None:
    refused = memory(lambda units, dtype: False)
    work, folder = follow
    with pytest.raises(MemoryExhausted, match=r"tried: as many .*; 4 at .*; 1 at .* float32; 1 at .* bfloat16\)"):
        work()
    assert len(refused) == 4
    assert not (folder / TRIES_NAME).exists()


def test_a_kill_between_two_tries_goes_on_with_the_second(follow: Any, memory: Callable[[Fits], list[int]]) -> None:
    work, folder = follow
    folder.mkdir(parents=True)
    (folder / TRIES_NAME).write_text(json.dumps({"failed": ["a", "b", "c"]}))
    refused = memory(lambda units, dtype: True)
    assert work().results["settled"] == "1 at a time in bfloat16"
    assert refused == []


def test_what_can_be_tried() -> None:
    assert tries_of("auto", "cpu", "builtin")[-1] == Try(1, "float32")
    assert tries_of("bfloat16", "cpu", "sam2")[0] == Try(None, "bfloat16")
    assert len(tries_of("bfloat16", "cpu", "sam2")) == 3


def test_exhausted_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("not enough memory for a joke"))


def test_the_peak_is_that_of_the_unit() -> None:
    with PeakMemory() as first:
        block = bytearray(200 * 2**20)
        block[::4096] = b"x" * len(block[::4096])
        high = first.results()
    del block
    with PeakMemory() as second:
        low = second.results()
    assert low["peak_mib"] > 1
    if low.get("peak_since_start"):
        pytest.skip("this system does not set the mark back")
    assert high["peak_mib"] - low["peak_mib"] > 150
