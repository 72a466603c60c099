"""What runs over data sets share: the settings that a folder of predictions is held to."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from keepsight.core import InputError
from keepsight.evaluation.running import hold_to

SHARDS = 8


@pytest.mark.parametrize("links", [True, False])
def test_of_shards_that_begin_at_once_with_other_settings_one_holds(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    start = Barrier(SHARDS)

    def shard(number: int, path: Path) -> str:
        start.wait()
        try:
            return "began" if not hold_to(path, {"policy": number}, "Predictions") else "went on"
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(SHARDS) as pool:
        for turn in range(20):
            path = tmp_path / str(turn) / "settings.json"
            said = list(pool.map(shard, range(SHARDS), [path] * SHARDS))
            assert said.count("began") == 1
            first = said.index("began")
            assert json.loads(path.read_text()) == {"policy": first}
            refused = [line for line in said if line != "began"]
            if links:  # without, one may be met half written
                assert all(f"policy ({first} then," in line for line in refused)
            assert all("--overwrite or another --out" in line for line in refused)
            assert list(path.parent.iterdir()) == [path]


def _no_links(source: object, target: object) -> None:
    raise PermissionError("no links here")


def test_the_same_settings_go_on_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run" / "settings.json"
    assert [hold_to(path, {"policy": "sam2", "zoom": None}, "Predictions") for _ in range(2)] == [False, True]
    with pytest.raises(InputError, match=r"Predictions were made with other settings: policy \(sam2 then, dms now\)"):
        hold_to(path, {"policy": "dms", "zoom": None}, "Predictions")
    path.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        hold_to(path, {"policy": "sam2", "zoom": None}, "Predictions")
