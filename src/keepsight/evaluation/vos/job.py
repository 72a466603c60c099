"""What a run over a data set is told, and the settings that a run which goes on is held to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepsight.core import StoreError
from keepsight.evaluation.results import Results
from keepsight.evaluation.running import Shard, check_known, check_shard, hold_to
from keepsight.evaluation.vos.clips import Clip, Dataset
from keepsight.evaluation.vos.layouts import open_dataset
from keepsight.evaluation.vos.protocol import DatasetKind, FirstPrompt
from keepsight.pipeline.settings import Settings, canonical_model
from keepsight.store.files import replacing_file

PREDICTIONS, DONE, SETTINGS = "predictions", "done", "settings.json"


@dataclass(frozen=True)
class VosJob:
    """A data set, what follows its objects, and where the predictions go.

    Attributes:
        root, dataset, split, all_frames: see :func:`~keepsight.evaluation.vos.layouts.open_dataset`.
        videos: patterns of names; all of them where it is empty.
        out: folder of the run; several processes and machines may share it.
        model, policy, policy_options, device, dtype, zoom: as for :func:`keepsight.load`.
        prompt: how objects are pointed at on the frame of their first annotation.
        shard: (i, n): follow the i-th of n parts of the videos, from 1.
        ray: follow the videos on the devices of a Ray cluster; excludes a shard.
        ray_address: of the cluster; ``None``: the one that Ray finds, or this machine.
        switches: of the protocol, by name; the set's own where they are ``None``.
        processes: workers that score; ``None``: one a core.
        overwrite: throw away what an earlier run has left in ``out``.
    """

    root: Path
    dataset: DatasetKind
    out: Path
    split: str | None = None
    all_frames: bool = False
    videos: tuple[str, ...] = ()
    model: str = "builtin"
    policy: str = "sam2"
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"
    zoom: bool | None = None
    prompt: FirstPrompt = FirstPrompt.MASK
    shard: Shard = (1, 1)
    ray: bool = False
    ray_address: str | None = None
    switches: Mapping[str, Any] = field(default_factory=dict)
    processes: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_shard(self.shard, ray=self.ray, overwrite=self.overwrite, folder=self.out, what="videos")

    def open(self) -> Dataset:
        """The data set, with the chosen videos only."""
        found = open_dataset(self.root, self.dataset, self.split, all_frames=self.all_frames)
        return found.only(self.videos) if self.videos else found

    def asked(self) -> Settings:
        """What the tracker is to be made of."""
        return Settings(
            model=canonical_model(self.model),
            policy=self.policy,
            policy_options=dict(self.policy_options),
            device=self.device,
            dtype=self.dtype,
            zoom=self.zoom,
        )

    def share(self, clips: Sequence[Clip]) -> list[Clip]:
        """The clips of this shard."""
        number, parts = self.shard
        return list(clips[number - 1 :: parts])


@dataclass(frozen=True)
class VosOutcome:
    """What a run came to.

    Attributes:
        results: the scores; ``None`` while predictions of other shards lack, or where the truth is not public.
        lines: what else a person must know.
        predictions: folder to be handed in.
    """

    out: Path
    predictions: Path
    results: Results | None
    lines: tuple[str, ...]


class PredictionFolder:
    """The folder of a run: predictions, a note for every clip that is complete, and the settings that made them.

    Several processes may work in it at once, each on clips of its own.
    """

    def __init__(self, out: Path, subfolder: str = "") -> None:
        self.out = out
        self.root = out / PREDICTIONS
        self.predictions = self.root / subfolder if subfolder else self.root

    def begin(self, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Writes down the settings, or holds this run to those that are there.

        Raises:
            InputError: predictions of other settings are there.
            StoreError: the folder cannot be written.
        """
        if overwrite:
            for name in (PREDICTIONS, DONE):
                shutil.rmtree(self.out / name, ignore_errors=True)
            (self.out / SETTINGS).unlink(missing_ok=True)
        hold_to(self.out / SETTINGS, settings, f"The predictions in {self.out}")

    def check(self, settings: Mapping[str, Any]) -> None:
        """Holds a run to the settings that are there, as far as it names them; nothing where there are none.

        Raises:
            InputError: predictions of other settings are there, or the file is damaged.
        """
        check_known(self.out / SETTINGS, settings, f"The predictions in {self.out}")

    def settings(self) -> dict[str, Any]:
        """What made the predictions; empty where nothing has begun.

        Raises:
            StoreError: the file is damaged.
        """
        path = self.out / SETTINGS
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(f"{path} cannot be read: {error}; start anew with --overwrite.") from error

    def is_done(self, clip: Clip) -> bool:
        """Whether a clip's predictions are complete."""
        return (self.out / DONE / f"{clip.name}.json").is_file() and (self.predictions / clip.name).is_dir()

    def done(self, clip: Clip, facts: Mapping[str, Any]) -> None:
        """Notes that a clip's predictions are complete, and what they took."""
        with replacing_file(self.out / DONE / f"{clip.name}.json") as path:
            path.write_text(json.dumps(dict(facts)), encoding="utf-8")

    def facts(self, clip: Clip) -> dict[str, Any]:
        """What :meth:`done` was told."""
        try:
            return dict(json.loads((self.out / DONE / f"{clip.name}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}
