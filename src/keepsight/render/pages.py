"""HTML pages that hold everything they show: they can be mailed, archived, opened without a network."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cv2
from jinja2 import Environment, PackageLoader

from keepsight.core import InputError
from keepsight.render.tags import RgbArray
from keepsight.store.files import replacing_file

# What a reader looks for first; the rest follows in the order given.
_FIRST = ("model", "policy", "device", "dtype", "direction", "start", "stop", "stride", "frames", "seconds", "fps")


def write_page(path: str | os.PathLike[str], template: str, **values: Any) -> None:
    """Fills a template of this package; whatever text the values hold is shown and never read as HTML.

    Args:
        template: file in ``templates/``; the name of this program is ``program`` there.

    Raises:
        StoreError: the page cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("keepsight.render"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template(template).render(program=program(), **values)
    with replacing_file(path) as temporary:
        # Names of files may hold what no encoding has.
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def jpeg(rgb: RgbArray, quality: int = 88) -> bytes:
    """A picture, uint8 (H, W, 3), as a JPEG file.

    Raises:
        InputError: a side is longer than the format has room for.
    """
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InputError("The picture could not be encoded; its sides must be below 65,500 px.")
    return data.tobytes()


def inline(data: bytes) -> str:
    """A file's bytes as they stand in a page."""
    return base64.b64encode(data).decode("ascii")


def fact_rows(known: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Rows of a table of facts: ``(name, text)`` or ``(name, [(name, text), ...])``; what is empty is left out."""
    names = [name for name in _FIRST if name in known] + [name for name in known if name not in _FIRST]
    rows: list[tuple[str, Any]] = []
    for name in names:
        value = known[name]
        if value is None or value in ("", [], {}):
            continue
        label = name.replace("_", " ")
        if isinstance(value, Mapping):
            rows.append((label, [(str(key).replace("_", " "), fact_text(inner)) for key, inner in value.items()]))
        else:
            rows.append((label, fact_text(value)))
    return rows


def fact_text(value: Any) -> str:
    """A fact in few characters."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(fact_text(inner) for inner in value)
    return str(value)


def program() -> str:
    """Name and version of this program."""
    try:
        return f"Keepsight {version('keepsight')}"
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "Keepsight"
