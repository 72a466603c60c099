"""Names, folders, the hub's cache, and what a person is told when a download goes wrong."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors as hub_errors

from keepsight.core.errors import ModelError
from keepsight.models import download as downloading
from keepsight.models.registry import ENTRIES, is_cached, local_dir, resolve


def _model_folder(folder: Path, model_type: str = "sam2_video", weights: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    if weights:
        (folder / "model.safetensors").write_bytes(b"\0" * 8)
    return folder


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of this test's own, so that nothing depends on what this machine has downloaded."""
    cache = tmp_path / "hub"
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HF_HUB_CACHE", str(cache), raising=False)
    return cache


def _fill_cache(cache: Path, hub_id: str, weights: bool = True) -> Path:
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    return _model_folder(repository / "snapshots" / ("a" * 40), weights=weights)


def test_every_name_and_alias_is_unique_and_resolves() -> None:
    spoken = [word for entry in ENTRIES for word in (entry.name, *entry.aliases)]
    assert len(spoken) == len(set(spoken))
    assert all(resolve(word.upper()).name == entry.name for entry in ENTRIES for word in (entry.name, *entry.aliases))
    assert resolve("facebook/sam2.1-hiera-base-plus").name == "sam2.1-base-plus"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sam2.1-tin", "sam2.1-tiny"),
        ("buildin", "builtin"),
        ("edgtam", "edgetam"),
        ("sam3.0", "sam3"),
        ("sam2", "sam2.1-tiny"),
    ],
)
def test_mistyped_name_is_answered_with_the_closest(typed: str, meant: str) -> None:
    with pytest.raises(ModelError, match=rf"Did you mean .*{meant}"):
        resolve(typed)


def test_folder_is_a_model_when_its_config_says_so(tmp_path: Path) -> None:
    folder = _model_folder(tmp_path / "mine", "edgetam_video")
    entry = resolve(folder)
    assert (entry.family, local_dir(entry)) == ("edgetam", folder)
    with pytest.raises(ModelError, match="type 'bert'"):
        resolve(_model_folder(tmp_path / "bert", "bert"))
    with pytest.raises(ModelError, match=r"no complete model\.safetensors"):
        resolve(_model_folder(tmp_path / "empty", weights=False))
    with pytest.raises(ModelError, match="does not exist"):
        resolve(str(tmp_path / "nowhere"))


def test_cache_counts_only_complete_models(empty_cache: Path) -> None:
    tiny, small = resolve("sam2.1-tiny"), resolve("sam2.1-small")
    assert not is_cached(tiny)
    assert tiny.hub_id is not None
    assert small.hub_id is not None
    folder = _fill_cache(empty_cache, tiny.hub_id)
    assert local_dir(tiny) == folder
    _fill_cache(empty_cache, small.hub_id, weights=False)
    assert not is_cached(small)
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    (folder / "model-1.safetensors").touch()
    assert not is_cached(tiny)
    (folder / "model-2.safetensors").touch()
    assert is_cached(tiny)


def test_any_hub_id_is_taken_and_its_family_read_once_it_is_here(empty_cache: Path) -> None:
    assert resolve("someone/finetuned-sam2").family == "unknown"
    _fill_cache(empty_cache, "someone/finetuned-sam2")
    assert resolve("someone/finetuned-sam2").family == "sam2"


def _http_error(kind: type[Exception]) -> Exception:
    response = SimpleNamespace(headers={}, request=None, status_code=503)
    return kind("first line\nsecond line", response=response)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("sam2.1-tiny", hub_errors.LocalEntryNotFoundError("no network"), "cannot be reached"),
        ("sam2.1-tiny", ConnectionError("refused"), "cannot be reached"),
        ("sam2.1-tiny", hub_errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE"),
        ("sam3", _http_error(hub_errors.GatedRepoError), r"accept its licence at .*facebook/sam3.*hf auth login"),
        ("some/typo", _http_error(hub_errors.RepositoryNotFoundError), "check the spelling"),
        ("sam2.1-large", OSError(errno.ENOSPC, "No space left on device"), "disk is full.*898 MB.*HF_HOME"),
        ("sam2.1-large", _http_error(hub_errors.HfHubHTTPError), "status 503"),
        ("sam2.1-large", PermissionError(errno.EACCES, "Permission denied"), "may write"),
    ],
)
def test_failed_download_is_one_line_with_the_remedy(
    name: str, error: Exception, says: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match=says) as caught:
        downloading.download(name)
    assert "\n" not in str(caught.value)


def test_download_fetches_no_pickles_and_nothing_twice(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def fetch(hub_id: str, **options: Any) -> str:
        calls.append(options)
        return str(_fill_cache(empty_cache, hub_id))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert downloading.download("edgetam") == downloading.download("edgetam")
    assert calls == [{"allow_patterns": ["*.safetensors", "*.json", "vocab.txt", "merges.txt"]}]


def test_the_table_needs_no_torch() -> None:
    code = "import keepsight.models.registry, keepsight.models.download, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
