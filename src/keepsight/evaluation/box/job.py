"""What a run over a data set of boxes is told, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepsight.evaluation.box.following import Given
from keepsight.evaluation.box.layouts import Layout, open_layout
from keepsight.evaluation.results import Results
from keepsight.evaluation.running import Shard, check_shard
from keepsight.models.registry import local_dir, resolve
from keepsight.pipeline.settings import Settings, canonical_model, weights_fingerprint

PREDICTIONS, SETTINGS = "predictions", "settings.json"


@dataclass(frozen=True)
class BoxJob:
    """What to evaluate, on what, and where to write.

    Attributes:
        root: of the data set.
        dataset: its layout, a key of :data:`keepsight.evaluation.box.layouts.LAYOUTS`.
        split, listed: part of the set, or a file that names the sequences.
        out: folder of the run; default ``out/eval-DATASET``. Several processes and machines may share it.
        model, policy, policy_options, device, dtype, zoom: as for ``keepsight.load``.
        given: what is told on an object's first frame.
        shard: part of the sequences that is followed.
        ray: follow the sequences on the devices of a Ray cluster; excludes a shard.
        ray_address: of the cluster; ``None``: the one that Ray finds, or this machine.
        predictions: folder of predictions to score; nothing is followed then.
        as_toolkit: see :func:`keepsight.evaluation.box.scoring.score`.
        overwrite: throw away what an earlier run has left in ``out``.
    """

    root: Path
    dataset: str
    split: str | None = None
    listed: Path | None = None
    out: Path | None = None
    model: str = Settings.model
    policy: str = Settings.policy
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"
    zoom: bool | None = None
    given: Given = "box"
    shard: Shard = (1, 1)
    ray: bool = False
    ray_address: str | None = None
    predictions: Path | None = None
    as_toolkit: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_shard(self.shard, ray=self.ray, overwrite=self.overwrite, folder=self.folder, what="sequences")

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self.out or Path("out") / f"eval-{self.dataset}"

    @property
    def predicted(self) -> Path:
        """Folder of the predictions."""
        return self.predictions or self.folder / PREDICTIONS

    def open(self) -> Layout:
        """The data set."""
        return open_layout(self.dataset, self.root, split=self.split, listed=self.listed)

    def asked(self) -> Settings:
        """What the tracker is to be made of.

        Raises:
            ModelError: there is no such model.
        """
        return Settings(
            model=canonical_model(self.model),
            policy=self.policy,
            policy_options=dict(self.policy_options),
            device=self.device,
            dtype=self.dtype,
            zoom=self.zoom,
            weights=weights_fingerprint(local_dir(resolve(self.model))),
        )

    def decisive(self, settings: Settings) -> dict[str, Any]:
        """Everything that decides predictions; runs that differ in any of it do not share a folder. ``auto`` is no demand."""
        demanded = {
            "dataset": self.dataset,
            "given": self.given,
            "model": settings.model,
            "weights": settings.weights,
            "policy": settings.policy,
            "policy_options": dict(settings.policy_options),
        }
        # Any GPU of a kind: shards lie on several.
        machine = {"device": settings.device.partition(":")[0], "dtype": settings.dtype, "zoom": settings.zoom}
        return demanded | {name: value for name, value in machine.items() if value not in (None, "auto")}


@dataclass(frozen=True)
class BoxOutcome:
    """What a run has come to.

    Attributes:
        results: ``None`` where predictions are still missing, or the truth is withheld.
        out: folder of the report.
        predictions: folder of the predictions.
        lines: what a person should know.
    """

    results: Results | None
    out: Path
    predictions: Path
    lines: tuple[str, ...] = ()
