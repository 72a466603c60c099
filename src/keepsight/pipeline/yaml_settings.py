"""Settings from a YAML file, with one line for a person where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from keepsight.core import InputError

Settings = TypeVar("Settings", bound=BaseModel)


def read_yaml(path: Path, start_from: str) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Args:
        start_from: the command that writes a file to start from, for the error line.

    Raises:
        InputError: unreadable, not YAML, or no mapping.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no settings; `{start_from}` writes a file to start from.")
    return values


def make_settings(model: type[Settings], values: dict[str, Any], where: str) -> Settings:
    """Settings from plain values.

    Raises:
        InputError: settings that do not exist or do not fit; they are named.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise InputError(f"{where}: {'; '.join(lines)}.") from error
