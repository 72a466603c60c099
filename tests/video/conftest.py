"""Generated videos, shared by the tests of a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from numbered_clips import encode


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``clips("a.mp4", codec, ...)`` writes a video once a session and returns its path."""
    folder = tmp_path_factory.mktemp("clips")

    def clip(name: str, *args: object, **kwargs: object) -> Path:
        path = folder / name
        return path if path.exists() else encode(path, *args, **kwargs)  # type: ignore[arg-type]

    return clip
