"""The small clip and model of the pipeline's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "pipeline"))


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `clip.mp4` and `model/`."""
    from small_jobs import write_clip, write_model

    folder = tmp_path_factory.mktemp("studio")
    write_clip(folder / "clip.mp4")
    write_model(folder / "model")
    return folder
