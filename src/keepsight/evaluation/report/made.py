"""Which code, weights and machine made a run: enough to make it again, or to know why it cannot be."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import keepsight
from keepsight.core import KeepsightError

_PACKAGES = ("torch", "transformers", "numpy", "opencv-python-headless", "pycocotools", "trackeval")
_GIT_TIMEOUT_S = 10.0


def made_now(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of this moment and process, plain values of JSON.

    Args:
        settings: of the run; weights of what it calls ``model`` and ``detector`` are identified.
    """
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "keepsight": _version("keepsight"),
        "code": _commit(Path(keepsight.__file__).resolve()),
        "weights": {
            role: _weights(str(settings[role])) for role in ("model", "detector") if settings.get(role) is not None
        },
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "gpu": _gpu(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(file: Path) -> str | None:
    """The commit of the checkout that ``file`` runs from, and whether it was changed since; ``None`` where it is installed."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(file.parent), *words], capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S
        )
        return done.stdout.strip()

    try:
        # An environment inside some other project's checkout is no checkout of ours.
        git("ls-files", "--error-unmatch", file.name)
        changed = git("status", "--porcelain", "--untracked-files=no", ":/src")
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _weights(name: str) -> dict[str, str]:
    """Where weights came from and a digest of their file; only the name for what no table knows."""
    from keepsight.models.registry import local_dir, resolve
    from keepsight.pipeline.settings import weights_fingerprint

    try:
        entry = resolve(name)
        folder = local_dir(entry)
    except KeepsightError:
        return {"name": name}
    found = {"name": entry.name, "source": entry.source}
    if folder is not None:
        found["digest"] = weights_fingerprint(folder)
        if folder.parent.name == "snapshots":
            found["revision"] = folder.name
    return found


def _gpu() -> str | None:
    torch = sys.modules.get("torch")  # measuring has loaded it, or no GPU was used
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())
