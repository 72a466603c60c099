"""The settings of a batch, as a YAML file says them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from keepsight.core import InputError
from keepsight.formats.tables import check_parquet
from keepsight.pipeline.clips import CutRule
from keepsight.pipeline.crops import crop_style_of
from keepsight.pipeline.seams import LinkRule
from keepsight.pipeline.words import ANYTHING
from keepsight.pipeline.yaml_settings import make_settings, read_yaml

TEMPLATE = """\
# Settings of `keepsight pipeline run`. What is left out has the value shown here.

input_folder: videos          # every video below it
output_folder: out/pipeline   # manifest, projects, report, and what the next two do not say otherwise
clip_folder: null             # default: clips in the output folder
crop_folder: null             # default: crops in the output folder

# Cutting: frames_per_clip or seconds_per_clip; neither leaves a video in one piece.
frames_per_clip: 300
seconds_per_clip: null
frame_step: 1                 # take every n-th frame; clips are counted in those
clip_overlap: 0               # frames that a clip shares with the one before

# What to find. Several are a list: [cow, person]. `detector: motion` and `everything` find without words.
prompt_class: null
detector: null                # default: the best one here that understands words
rules: {}                     # how detections become objects: docs/concepts.md
model: builtin
policy: null                  # default: by the model
dtype: auto

# Cutting out.
crop_size: null               # side in px; default: by the object, 64 to 640
crop_margin: 0.15             # room on every side, as a part of the object
crop_background: black        # black, blur or original
crop_path: smooth             # smooth, per-frame or fixed
boxes: csv                    # boxes by frame: csv, parquet (needs pyarrow) or both
overlay: false                # every clip with its masks drawn over it, too

# Going on across cuts: an object of a clip and one of the next are the same where their masks overlap at the cut.
link_clips: true              # false: every clip counts its objects anew, and that is all
link_iou: 0.3                 # least overlap (IoU), above 0, at most 1; more links fewer
link_gap: 5                   # frames for which it may be unseen at the cut

# Work: one process a device, and processes for decoding and encoding beside them; with `executor: ray` on every machine.
executor: local               # local or ray
ray_address: null             # of the cluster, `auto` to look for it; default: a Ray of its own on this machine
devices: [auto]
cpu_workers: 1
attempts: 2                   # how often a unit is tried whose process died
"""

#: Settings that may differ between two runs of one batch.
_FREE = {"executor", "ray_address", "devices", "cpu_workers", "attempts"}


class BatchConfig(BaseModel):
    """See :data:`TEMPLATE` for what each setting means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_folder: Path
    output_folder: Path = Path("out/pipeline")
    clip_folder: Path | None = None
    crop_folder: Path | None = None
    frames_per_clip: int | None = 300
    seconds_per_clip: float | None = None
    frame_step: int = 1
    clip_overlap: int = 0
    prompt_class: tuple[str, ...] = ()
    detector: str | None = None
    rules: dict[str, Any] = Field(default_factory=dict)
    model: str = "builtin"
    policy: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    crop_size: int | None = None
    crop_margin: float = 0.15
    crop_background: Literal["black", "blur", "original"] = "black"
    crop_path: Literal["smooth", "per-frame", "fixed"] = "smooth"
    boxes: Literal["csv", "parquet", "both"] = "csv"
    overlay: bool = False
    link_clips: bool = True
    link_iou: float = 0.3
    link_gap: int = 5
    executor: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    devices: tuple[str, ...] = Field(("auto",), min_length=1)
    cpu_workers: int = Field(1, ge=1, le=64)
    attempts: int = Field(2, ge=1, le=20)

    @field_validator("prompt_class", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return () if value is None else (value,) if isinstance(value, str) else value

    @property
    def clips(self) -> Path:
        return self.clip_folder or self.output_folder / "clips"

    @property
    def crops(self) -> Path:
        return self.crop_folder or self.output_folder / "crops"

    @property
    def texts(self) -> tuple[str, ...]:
        """What is looked for; a detector that needs no words finds things."""
        return self.prompt_class or (ANYTHING,)

    def rule(self) -> CutRule:
        return CutRule(self.frames_per_clip, self.seconds_per_clip, self.frame_step, self.clip_overlap)

    def link_rule(self) -> LinkRule:
        return LinkRule(self.link_iou, self.link_gap)

    def check(self) -> None:
        """Raises :class:`InputError` for what can be known to be wrong before any work."""
        self.rule()
        self.link_rule()
        crop_style_of(
            size=self.crop_size, margin=self.crop_margin, background=self.crop_background, path=self.crop_path
        )
        if self.boxes != "csv":
            check_parquet()
        if not self.prompt_class and self.detector not in ("motion", "everything"):
            raise InputError(
                "What is to be found? Say prompt_class (--text), or a detector that needs no words: motion."
            )
        if not self.input_folder.is_dir():
            raise InputError(f"There is no folder {self.input_folder} to take videos from.")

    def absolute(self) -> BatchConfig:
        """The same with paths that mean the same in every folder and, on shared storage, on every machine."""
        folders = {
            name: path.expanduser().absolute()
            for name in ("input_folder", "output_folder", "clip_folder", "crop_folder")
            if (path := getattr(self, name)) is not None
        }
        models = {
            name: str(path.absolute())
            for name in ("model", "detector")
            if (path := Path(getattr(self, name) or "").expanduser()) != Path() and (path / "config.json").is_file()
        }
        return self.model_copy(update=folders | models)

    def decisive(self) -> dict[str, Any]:
        """The settings that decide the results, as plain values."""
        return self.model_dump(mode="json", exclude=_FREE)


def load_config(path: Path, **changes: Any) -> BatchConfig:
    """Reads a YAML file; paths in it are as seen from the current folder.

    Args:
        changes: win over the file where they are not ``None``.

    Raises:
        InputError: unreadable, or with settings that do not exist or do not fit; they are named.
    """
    values = read_yaml(path, "keepsight pipeline init")
    return make_config(values | {name: value for name, value in changes.items() if value is not None}, str(path))


def make_config(values: dict[str, Any], where: str) -> BatchConfig:
    """Settings from plain values.

    Raises:
        InputError: settings that do not exist or do not fit; they are named.
    """
    return make_settings(BatchConfig, values, where)
