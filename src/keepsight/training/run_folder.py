"""The folder of a training run: what it began with, what came out, and whether that is a model.

A folder with `config.json` and weights is a model that can be named. So a run that made things worse leaves its weights below
`not-better`, without a `config.json`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepsight.core import InputError, StoreError
from keepsight.evaluation.paired import Estimate
from keepsight.store.files import replacing_file

SETTINGS, VERDICT, REFUSED = "settings.json", "verdict.json", "not-better"
TRIAL, SOURCES = ".trial", ".sources"
NOT_BETTER = 3
"""Exit code of a run that worked and did not help."""

_CONFIG = "config.json"
_BEGUN = {SOURCES, "cache"}
"""What a run that was stopped at once may have left before its settings were written."""

_WEIGHTS = ("model*.safetensors", "weights.safetensors", "model.safetensors.index.json")
_MADE = ("checkpoint.pt", "curve.csv", "curve.png", VERDICT)


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes.

    Attributes:
        path: ``--out``.
        settings: plain values that decide the result; a run goes on with those it began with.
        free: names of settings that decide none of it, and may change when a run goes on.
    """

    path: Path
    settings: Mapping[str, Any]
    free: frozenset[str] = frozenset()

    def begin(self, *, resume: bool, overwrite: bool) -> None:
        """Makes the folder, or refuses it; from here on it is no model until :meth:`settle`.

        Raises:
            InputError: nothing to go on with, or another run.
            StoreError: the folder is taken, or cannot be made.
        """
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is not a folder; choose another --out.")
        ours = (self.path / SETTINGS).is_file()
        if resume:
            if not ours:
                raise InputError(f"There is no run in {self.path} to go on with; leave --resume out.")
            self._check_same()
        elif ours and not overwrite:
            raise StoreError(
                f"{self.path} holds an earlier run; go on with it by --resume, replace it by --overwrite, or choose another "
                "--out."
            )
        elif self.path.is_dir() and not ours and any(item.name not in _BEGUN for item in self.path.iterdir()):
            raise StoreError(f"{self.path} is not empty and no run of this command; choose another --out.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"Cannot make the folder {self.path}: {error.strerror or error}; choose another --out."
            ) from error
        for pattern in (_CONFIG, *_WEIGHTS, *(() if resume else _MADE)):
            for file in self.path.glob(pattern):
                file.unlink()
        for name in () if resume else (REFUSED, "before", "after", TRIAL):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def _check_same(self) -> None:
        try:
            old = json.loads((self.path / SETTINGS).read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path / SETTINGS} cannot be read: {error}.") from error
        new = json.loads(json.dumps(self.settings))
        for name in new:
            if name not in self.free and old.get(name) != new[name]:
                raise InputError(
                    f"The run in {self.path} has {name} {old.get(name)}, not {new[name]}; a run goes on with the settings it "
                    "began with."
                )

    def write_settings(self, **more: Any) -> None:
        """Writes what the run does, with versions."""
        import torch

        from keepsight import __version__

        told = {"keepsight": __version__, "torch": torch.__version__, "settings": self.settings, **more}
        self.write(SETTINGS, told)

    def write(self, name: str, value: Any) -> None:
        """Writes a JSON file, whole or not at all."""
        with replacing_file(self.path / name) as path:
            path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")

    def trial(self) -> Path:
        """An empty folder for the model that is to be judged."""
        folder = self.path / TRIAL
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def settle(self, *, better: bool) -> Path:
        """Offers the model on trial, or puts it away; returns the folder of its weights."""
        trial = self.path / TRIAL
        place = self.path if better else self.path / REFUSED
        place.mkdir(exist_ok=True)
        # config.json is what makes a folder a model, so it comes last, and not at all where there is none to offer.
        for file in sorted(trial.iterdir(), key=lambda file: file.name == _CONFIG):
            if better or file.name != _CONFIG:
                shutil.move(file, place / file.name)
        shutil.rmtree(trial, ignore_errors=True)
        return place


def is_better(gain: Estimate) -> bool:
    """Whether a result is offered: a model that is no worse on what was kept back."""
    return gain.value >= 0


def measures_of(
    before: Mapping[str, float], after: Mapping[str, float], gain: Mapping[str, Estimate]
) -> dict[str, dict[str, float | None]]:
    """What a verdict says of each measure."""
    told: dict[str, dict[str, float | None]] = {}
    for name in before:
        told[name] = {"before": before[name], "after": after.get(name)}
        if name in gain:
            told[name] |= {"gain": gain[name].value, "low": gain[name].low, "high": gain[name].high}
    return told
