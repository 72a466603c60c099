"""The folder of a run: whether it may be used, and what is noted in it."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from keepsight.core import InputError, StoreError
from keepsight.store.files import replacing_file
from keepsight.training.tracker.job import Outcome, TrackerTraining
from keepsight.training.tracker.split import Split

SETTINGS, REFUSED, TRIAL, SOURCES = "settings.json", "not-better", ".trial", ".sources"
_BEGUN = {"cache", SOURCES}
"""What a run that was stopped at once may leave behind."""

_FREE = {"out", "device", "cache", "memory_gb"}
"""Settings that may change when a run goes on."""


def check_folder(job: TrackerTraining, *, resume: bool, overwrite: bool) -> None:
    """Refuses a folder that is not for this run, else makes it ready: no model is in it until there is a new one.

    Raises:
        InputError: nothing to go on with, or other settings than the run began with.
        StoreError: an earlier run or somebody's files are there, or it cannot be written.
    """
    if job.out.exists() and not job.out.is_dir():
        raise StoreError(f"{job.out} is not a folder; choose another --out.")
    ours = (job.out / SETTINGS).is_file()
    if resume:
        if not ours:
            raise InputError(f"There is no run in {job.out} to go on with; leave --resume out.")
        _check_same(job)
    elif ours and not overwrite:
        raise StoreError(
            f"{job.out} holds an earlier run; go on with it by --resume, replace it by --overwrite, or choose another --out."
        )
    elif job.out.is_dir() and not ours and any(item.name not in _BEGUN for item in job.out.iterdir()):
        raise StoreError(f"{job.out} is not empty and no run of this command; choose another --out.")
    try:
        job.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"Cannot make the folder {job.out}: {error.strerror or error}; choose another --out."
        ) from error
    for name in ("config.json", "model.safetensors", "weights.safetensors"):
        (job.out / name).unlink(missing_ok=True)
    if not resume:
        for name in ("checkpoint.pt", "curve.csv", "curve.png", "verdict.json"):
            (job.out / name).unlink(missing_ok=True)
        for name in (REFUSED, "before", "after", TRIAL):
            shutil.rmtree(job.out / name, ignore_errors=True)


def _as_json(job: TrackerTraining) -> dict[str, Any]:
    said = asdict(job)
    said["data"] = [str(path.resolve()) for path in job.data]
    said["parts"], said["kinds"] = list(job.parts), list(job.kinds)
    return {name: str(value) if isinstance(value, Path) else value for name, value in said.items()}


def _check_same(job: TrackerTraining) -> None:
    try:
        old = json.loads((job.out / SETTINGS).read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{job.out / SETTINGS} cannot be read: {error}.") from error
    new = _as_json(job)
    other = [name for name in new if name not in _FREE and old.get(name) != new[name]]
    if other:
        name = other[0]
        raise InputError(
            f"The run in {job.out} has {name} {old.get(name)}, not {new[name]}; a run goes on with the settings it began with."
        )


def write_settings(job: TrackerTraining, parted: Split) -> None:
    """Notes every setting as it was resolved, and what is kept back."""
    from keepsight import __version__

    told = {
        "keepsight": __version__,
        "torch": torch.__version__,
        "settings": _as_json(job),
        "split": parted.rule,
        "training": [str(part) for part in parted.training],
        "held_out": [str(part) for part in parted.held_out],
    }
    with replacing_file(job.out / SETTINGS) as path:
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def write_verdict(job: TrackerTraining, outcome: Outcome) -> None:
    """Notes what came of it, for programs."""
    told = {
        "better": outcome.better,
        "weights": str(outcome.weights),
        "interval": outcome.interval,
        "measures": {
            name: {
                "before": outcome.before.summary[name],
                "after": outcome.after.summary[name],
                "gain": item.value,
                "low": item.low,
                "high": item.high,
            }
            for name, item in outcome.gain.items()
        },
    }
    with replacing_file(job.out / "verdict.json") as path:
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
