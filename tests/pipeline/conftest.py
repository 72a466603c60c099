"""The clip and the model are made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from found_jobs import Scripted, write_still
from small_jobs import write_clip, write_model


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `clip.mp4` and `model/`."""
    folder = tmp_path_factory.mktemp("studio")
    write_clip(folder / "clip.mp4")
    write_model(folder / "model")
    return folder


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of a camera that stands still."""
    return write_still(tmp_path_factory.mktemp("still") / "still.mp4")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scripted], None]:
    from keepsight.concepts import choosing

    return lambda detector: monkeypatch.setattr(choosing, "pick", lambda *_, **__: detector)
