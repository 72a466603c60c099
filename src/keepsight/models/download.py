"""Fetches a model's weights from the Hugging Face hub into its usual cache.

Only safetensors, JSON and the word lists of tokenizers are fetched: pickled weights (``.bin``, ``.pt``) can run code when
they are read, so they never reach this machine through us.
"""

from __future__ import annotations

import errno
from pathlib import Path

from keepsight.core.errors import ModelError
from keepsight.models.registry import ModelEntry, local_dir, resolve

PATTERNS = ("*.safetensors", "*.json", "vocab.txt", "merges.txt")


def download(name: str) -> Path:
    """Makes sure that a model is on this machine.

    Args:
        name: as for :func:`keepsight.models.registry.resolve`.

    Returns:
        The folder with its config.json and safetensors.

    Raises:
        ModelError: unknown, gated, no network, disk full, or no safetensors in the repository; one line with the remedy.
    """
    entry = resolve(name)
    present = local_dir(entry)
    if present is not None:
        return present
    if entry.hub_id is None:
        raise ModelError(
            "The built-in model's weights are missing from this installation; reinstall Keepsight, or train them with "
            "`keepsight train builtin`."
            if entry.folder is None
            else f"{entry.folder} is a local folder without weights; there is nothing to download it from."
        )
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(entry.hub_id, allow_patterns=list(PATTERNS)))
    except Exception as error:
        raise _explain(entry, error) from error
    if local_dir(entry) is None:
        raise ModelError(
            f"{entry.hub_id} has no safetensors weights beside a config.json (looked in {folder}); "
            "pickled weights are not loaded. Choose a repository converted for transformers."
        )
    return folder


def missing_weights(entry: ModelEntry) -> ModelError:
    """The error for a model that is wanted but not here: says how to get it."""
    if entry.hub_id is None:
        return ModelError(
            "The built-in model's weights are missing from this installation; reinstall Keepsight, or train them with "
            "`keepsight train builtin`."
        )
    size = "" if entry.download_mb is None else f" (about {entry.download_mb:.0f} MB)"
    steps = f" It is gated: first {entry.access_steps}." if entry.gated else ""
    return ModelError(
        f"Model {entry.name} is not on this machine; run `keepsight models download {entry.name}`{size}.{steps}"
    )


def _explain(entry: ModelEntry, error: Exception) -> ModelError:
    """One line about what went wrong between us and the hub."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    name = entry.hub_id
    page = entry.page
    # Gated first: it is a kind of "not found".
    if isinstance(error, GatedRepoError):
        return ModelError(
            f"{name} is gated: accept its licence at {page}, wait until access is granted, "
            f"run `hf auth login` with a token of that account, then `keepsight models download {entry.name}` again."
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
        return ModelError(
            f"The Hugging Face hub has no model {name!r} that you can see; check the spelling, or log in with `hf auth login` "
            "if it is private."
        )
    if _is_disk_full(error):
        size = "" if entry.download_mb is None else f" It needs about {entry.download_mb:.0f} MB."
        return ModelError(
            f"The disk is full: {name} could not be stored.{size} Free some space, or set HF_HOME to a folder on a larger disk."
        )
    if isinstance(error, LocalEntryNotFoundError) or _is_network(error):
        return ModelError(
            f"The Hugging Face hub cannot be reached, and {name} is not on this machine. Check the connection or proxy "
            "(HF_HUB_OFFLINE must not be set), or copy the model's folder here and pass its path."
        )
    if isinstance(error, HfHubHTTPError):
        status = getattr(error.response, "status_code", "unknown")
        return ModelError(
            f"The Hugging Face hub answered with status {status} for {name}; try again later, or see {page}."
        )
    if isinstance(error, PermissionError):
        return ModelError(f"Cannot write to the model cache: {error}. Set HF_HOME to a folder that you may write to.")
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelError(f"Downloading {name} failed: {first_line}")


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _is_disk_full(error: Exception) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(isinstance(item, OSError) and item.errno in full for item in _chain(error))


def _is_network(error: Exception) -> bool:
    """Connection trouble. By class name, since the hub's client has changed its HTTP library between versions."""
    kinds = {"TransportError", "TimeoutException", "ConnectError", "ProxyError", "ConnectionError", "MaxRetryError"}
    return any(
        isinstance(item, (ConnectionError, TimeoutError)) or kinds & {base.__name__ for base in type(item).__mro__}
        for item in _chain(error)
    )
