"""The browser page: its own unit tests pass, and what is committed under server/static is what its source builds into."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UI = ROOT / "ui"
STATIC = ROOT / "src" / "keepsight" / "server" / "static"

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node and npm build the page and run its tests"
)


def run(*command: str) -> str:
    """What a command of the page's tool chain prints; its whole output is the message when it fails."""
    done = subprocess.run(
        command, cwd=UI, capture_output=True, text=True, timeout=600, env=os.environ | {"CI": "1", "NO_COLOR": "1"}
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    installed = UI / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (UI / "package-lock.json").stat().st_mtime:
        run("npm", "ci", "--no-audit", "--no-fund", "--prefer-offline")


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_committed_page_is_what_its_source_builds_into(tmp_path: Path) -> None:
    run("npx", "--no-install", "tsc", "--noEmit")
    run("npx", "--no-install", "vite", "build", "--outDir", str(tmp_path / "static"), "--emptyOutDir")
    built, committed = files_below(tmp_path / "static"), files_below(STATIC)
    assert sorted(built) == sorted(committed), "run `make page` and commit the result"
    stale = [name for name in built if built[name] != committed[name]]
    assert not stale, f"{stale} differ from what the source builds into: run `make page` and commit the result"


def test_the_page_asks_no_other_host_and_has_no_inline_code() -> None:
    page = (STATIC / "index.html").read_text()
    assert "<style" not in page
    assert "style=" not in page
    for tag in page.split("<script")[1:]:
        assert " src=" in tag.split(">")[0], "a script without a file breaks the content security policy"
    for name, content in files_below(STATIC).items():
        text = content.decode()
        for scheme in ("http://", "https://"):
            hosts = {part.split("/")[0] for part in text.split(scheme)[1:]}
            # Names of XML vocabularies, which nothing fetches.
            assert hosts <= {"www.w3.org"}, f"{name} names {hosts}"


def test_the_pure_parts_of_the_page() -> None:
    run("npx", "--no-install", "vitest", "run")
