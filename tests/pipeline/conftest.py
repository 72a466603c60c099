"""The clip and the model are made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from found_jobs import Scripted, write_still
from small_jobs import write_clip, write_model

from keepsight.models.sam2.hf_video import HFVideoBackbone


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


@pytest.fixture
def torn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head of a random model prefers the same mask for ever; here the estimate hangs on every detail of a mask."""
    decode = HFVideoBackbone.decode

    def torn_decode(self: HFVideoBackbone, *args: Any, **kwargs: Any) -> Any:
        decoded = decode(self, *args, **kwargs)
        detail = decoded.logits.double().mean(dim=(-2, -1))
        return replace(decoded, ious=(0.5 + 0.45 * torch.sin(500 * detail)).to(decoded.ious.dtype))

    monkeypatch.setattr(HFVideoBackbone, "decode", torn_decode)
