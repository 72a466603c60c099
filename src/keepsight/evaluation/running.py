"""What runs over data sets share: parts of the work, and settings that predictions of one folder must have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keepsight.core import InputError
from keepsight.store.files import claim_file

Shard = tuple[int, int]
"""Number of a part, from 1, and how many parts there are."""


def read_shard(text: str | None) -> Shard:
    """``I/N`` as two numbers; 1/1 where nothing is said.

    Raises:
        InputError: something else, or a part that does not exist.
    """
    if text is None:
        return (1, 1)
    number, slash, parts = text.partition("/")
    digits = slash and all(part.isascii() and part.isdecimal() and len(part) < 7 for part in (number, parts))
    if not digits or not 1 <= int(number) <= int(parts):
        raise InputError(f"--shard {text}: give I/N with I from 1 to N, such as 2/8.")
    return int(number), int(parts)


def check_shard(shard: Shard, *, ray: bool, overwrite: bool, folder: Path, what: str) -> None:
    """Refuses what one of several parts cannot have.

    Args:
        folder: of the run.
        what: is followed, for the message.

    Raises:
        InputError: Ray, which deals by itself; overwriting, which is the other parts' loss.
    """
    if shard[1] == 1:
        return
    if ray:
        raise InputError(f"Ray deals the {what} to its devices by itself: leave --shard out.")
    if overwrite:
        raise InputError(
            f"--overwrite would throw away other shards' predictions; remove {folder} by hand, or take another --out."
        )


def check_known(path: Path, known: Mapping[str, Any], what: str) -> None:
    """Holds what is known before a model is loaded to the settings that :func:`hold_to` wrote; nothing where it has not yet.

    Raises:
        InputError: other settings, as far as ``known`` names them.
    """
    if path.is_file():
        before = _settings_in(path)
        _refuse(before, json.loads(json.dumps(known)), known, what)


def hold_to(path: Path, made: Mapping[str, Any], what: str) -> bool:
    """Holds what is predicted to the settings with which the first prediction of the folder was made.

    Args:
        path: JSON file of the settings; written where there is none.
        made: settings, plain values.
        what: the predictions, for the message.

    Returns:
        Whether there were settings already, the same ones.

    Raises:
        InputError: other settings; they are named.
        StoreError: the file cannot be written.
    """
    wanted = json.loads(json.dumps(made))
    # Shards may begin at the same instant: the first one's settings hold, and the others are held to them.
    if claim_file(path, json.dumps(wanted, indent=1) + "\n"):
        return False
    before = _settings_in(path)
    _refuse(before, wanted, {**before, **wanted}, what)
    return True


def _settings_in(path: Path) -> dict[str, Any]:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if not isinstance(before, dict):
        raise InputError(f"{path} is damaged; start anew with --overwrite or another --out.")
    return before


def _refuse(before: Mapping[str, Any], wanted: Mapping[str, Any], names: Iterable[str], what: str) -> None:
    """Raises :class:`InputError` that lists which of the named settings differ, if any do."""
    differing = [
        f"{name} ({before.get(name)} then, {wanted.get(name)} now)"
        for name in names
        if before.get(name) != wanted.get(name)
    ]
    if differing:
        raise InputError(
            f"{what} were made with other settings: {', '.join(differing)}. Start anew with --overwrite or another --out."
        )
