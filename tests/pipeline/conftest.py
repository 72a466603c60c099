"""The clip and the model are made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_jobs import write_clip, write_model


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `clip.mp4` and `model/`."""
    folder = tmp_path_factory.mktemp("studio")
    write_clip(folder / "clip.mp4")
    write_model(folder / "model")
    return folder
