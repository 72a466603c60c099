"""The doors between the rooms: the contract states them, holds, and fails at each one."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / ".importlinter"

MAY_IMPORT = {
    "core": set(),
    "video": {"core"},
    "memory": {"core"},
    "models": {"core"},
    "tracking": {"core", "video", "models", "memory"},
    "concepts": {"core", "video", "models", "memory", "tracking"},
    "store": {"core"},
    "formats": {"core", "store"},
    "render": {"core", "video", "store"},
    "pipeline": {"core", "video", "memory", "models", "tracking", "concepts", "store", "formats", "render"},
    "evaluation": {
        *("core", "video", "memory", "models", "tracking", "concepts", "store", "formats", "render", "pipeline"),
    },
    "training": {
        *("core", "video", "memory", "models", "tracking", "concepts", "store", "formats", "render", "pipeline"),
        "evaluation",
    },
    "annotation": {
        *("core", "video", "memory", "models", "tracking", "concepts", "store", "formats", "render", "pipeline"),
    },
    "server": {
        *("core", "video", "memory", "models", "tracking", "concepts", "store", "formats", "render", "pipeline"),
        "annotation",
    },
}
LIGHT = {"core", "video", "memory", "store", "formats", "render"}
"""Rooms that work without torch."""


def _forbidden() -> set[tuple[str, str]]:
    rooms = {*MAY_IMPORT, "cli"}
    doors = {(room, f"keepsight.{other}") for room, allowed in MAY_IMPORT.items() for other in rooms - allowed - {room}}
    return (
        doors
        | {(room, package) for room in LIGHT for package in ("torch", "transformers")}
        | {("memory", "safetensors")}
    )


def _lint(cwd: Path) -> subprocess.CompletedProcess[str]:
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", linter, "--config", str(CONFIG), "--no-cache"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_room_has_its_contract():
    rooms = {path.parent.name for path in (ROOT / "src" / "keepsight").glob("*/__init__.py")}
    assert rooms - {"cli"} <= set(MAY_IMPORT), "a new room: say here and in .importlinter what it may import"
    config = configparser.ConfigParser()
    config.read(CONFIG)
    stated = set()
    for name in config.sections():
        if ":contract:" in name:
            section = config[name]
            assert section["type"] == "forbidden"
            # An exception would be a door that nobody sees.
            assert "ignore_imports" not in section
            assert section.get("allow_indirect_imports", "False") == "False"
            [source] = section["source_modules"].split()
            stated |= {(source.removeprefix("keepsight."), other) for other in section["forbidden_modules"].split()}
    assert stated == _forbidden()


def test_the_doors_are_shut():
    outcome = _lint(ROOT / "src")
    assert outcome.returncode == 0, outcome.stdout
    assert f"{len(MAY_IMPORT)} kept, 0 broken" in outcome.stdout


@pytest.fixture
def open_house(tmp_path):
    """A house of the same rooms in which every door stands open, one module a door."""
    house = tmp_path / "keepsight"
    rooms = [*MAY_IMPORT, "cli"]
    for room in rooms:
        (house / room).mkdir(parents=True)
        (house / room / "__init__.py").touch()
        for other in [f"keepsight.{name}" for name in rooms if name != room] + ["torch", "transformers", "safetensors"]:
            (house / room / f"to_{other.replace('.', '_')}.py").write_text(f"import {other}\n")
    (house / "__init__.py").touch()
    return tmp_path


def test_each_door_can_fail(open_house):
    outcome = _lint(open_house)
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    # One line a door, `keepsight.room.to_other -> other (l.1)`; the allowed ones are not among them.
    found = re.findall(r"keepsight\.(\w+)\.to_\w+ -> ([\w.]+) \(l\.1\)", outcome.stdout)
    assert set(found) == _forbidden()
