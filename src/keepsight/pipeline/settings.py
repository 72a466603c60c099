"""The settings of a run as they are kept in the project, so that a resumed run can be held to them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from keepsight.core import Concept, Exemplar, InputError, Prompt
from keepsight.models.registry import resolve
from keepsight.pipeline.job import SegmentJob

_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16


@dataclass(frozen=True)
class Settings:
    """Everything that decides the masks of a run, defaults filled in.

    ``device`` and ``dtype`` are what ``auto`` came to, and ``weights`` identifies the file: two devices, precisions or
    trainings do not give the same masks, and a run must not be half of each.
    """

    model: str = "builtin"
    policy: str = "sam2"
    policy_options: dict[str, Any] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"
    zoom: bool | None = None
    start: int | None = None
    stop: int | None = None
    stride: int = 1
    direction: str = "forward"
    prompts: tuple[Prompt, ...] = ()
    dealt: tuple[int, ...] = ()
    concepts: tuple[Concept, ...] = ()
    detector: str | None = None
    rules: dict[str, Any] = field(default_factory=dict)
    removed: tuple[int, ...] = ()
    weights: str = ""
    detector_weights: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values for the project; the prompts, which have their own table there, only as a description."""
        plain = asdict(replace(self, prompts=(), concepts=()))
        shown = {
            concept.text: [[item.frame, list(item.box), item.positive] for item in concept.exemplars]
            for concept in self.concepts
        }
        return plain | {"prompts": describe_prompts(self.prompts) if self.prompts else "", "concepts": shown}

    @classmethod
    def from_json(cls, values: dict[str, Any], prompts: Sequence[Prompt]) -> Settings:
        """Inverse of :meth:`to_json`; keys of later versions are left out.

        Raises:
            InputError: the project's prompts are no longer those of the run.
        """
        if values.get("prompts") != (describe_prompts(prompts) if prompts else ""):
            raise InputError(
                "The prompts in the project have been changed since the run began, so it cannot be resumed; start anew."
            )
        known = {item.name for item in fields(cls)}
        kept = {key: value for key, value in values.items() if key in known} | {"prompts": tuple(prompts)}
        for name in ("dealt", "removed"):
            kept[name] = tuple(kept.get(name, ()))
        kept["concepts"] = tuple(
            Concept(number, text, tuple(Exemplar(frame, (*box,), positive) for frame, box, positive in shown))
            for number, (text, shown) in enumerate(kept.get("concepts", {}).items(), start=1)
        )
        return cls(**kept)


_GIVEN = (
    *("model", "policy", "policy_options", "device", "dtype", "zoom", "start", "stop", "stride", "direction"),
    *("detector", "rules"),
)


def settings_of(job: SegmentJob, earlier: Settings | None = None) -> Settings:
    """A job's settings: what it says, else what the earlier run had, else the defaults.

    Raises:
        InputError: a policy and a selection that contradict each other.
        ModelError: there is no such model.
    """
    values = {} if earlier is None else {item.name: getattr(earlier, item.name) for item in fields(earlier)}
    values |= {name: getattr(job, name) for name in _GIVEN if getattr(job, name) is not None}
    if job.prompts or earlier is None:
        values |= {"prompts": job.prompts, "dealt": tuple(sorted(job.dealt))}
    values["concepts"] = job.concepts or values.get("concepts", ())
    values["removed"] = job.removed or values.get("removed", ())
    values["model"] = canonical_model(values.get("model", Settings.model))
    values["direction"] = str(values.get("direction", "forward"))
    values["policy"] = _policy(job, values)
    for name in ("device", "dtype"):
        # "auto" is not a demand: the run that is resumed has settled what it came to.
        if earlier is not None and getattr(job, name) in (None, "auto"):
            values[name] = getattr(earlier, name)
        values[name] = str(values.get(name, "auto"))
    return Settings(**values)


def _policy(job: SegmentJob, values: dict[str, Any]) -> str:
    """The policy as it was said, in one way or the other; else SAM 3's own for what SAM 3 found."""
    if job.selection is not None:
        from keepsight.concepts import SELECTIONS

        if job.selection not in SELECTIONS:
            raise InputError(f"--selection is {' or '.join(SELECTIONS)}, not '{job.selection}'.")
        if job.policy not in (None, SELECTIONS[job.selection]):
            raise InputError(
                f"--selection {job.selection} is the policy {SELECTIONS[job.selection]}, but --policy says {job.policy}; "
                "give one of the two."
            )
        return SELECTIONS[job.selection]
    if "policy" in values:
        return str(values["policy"])
    return "sam3" if values["concepts"] and resolve(values["model"]).family == "sam3" else Settings.policy


def canonical_model(name: str | Path) -> str:
    """One spelling for a model, whatever alias or relative path was typed.

    Raises:
        ModelError: there is no such model.
    """
    entry = resolve(name)
    return entry.name if entry.folder is None else str(entry.folder.resolve())


def check_same(earlier: Settings, wanted: Settings, where: Path) -> None:
    """Holds a resumed run to its settings.

    Raises:
        InputError: naming every setting that differs.
    """
    differing = []
    for item in fields(Settings):
        before, now = getattr(earlier, item.name), getattr(wanted, item.name)
        if before == now:
            continue
        if item.name in ("prompts", "dealt"):
            differing += ["the prompts"] * ("the prompts" not in differing)
        elif item.name == "concepts":
            differing.append(f"what to find ({_texts(before)} then, {_texts(now)} now)")
        elif item.name == "weights":
            differing.append("the model's weights (the file has changed)")
        elif item.name == "detector_weights":
            differing.append("the detector's weights (the file has changed)")
        else:
            differing.append(f"{item.name} ({_said(before)} then, {_said(now)} now)")
    if differing:
        raise InputError(
            f"The run in {where} cannot be resumed with other settings: {', '.join(differing)}. "
            "Leave them out to keep its own, or start anew with --overwrite or another --out."
        )


def _texts(concepts: Sequence[Concept]) -> str:
    shown = [f"'{item.text}'{' with exemplars' if item.exemplars else ''}" for item in concepts]
    return ", ".join(shown) or "nothing"


def _said(value: Any) -> str:
    return "not given" if value is None else str(value)


def weights_fingerprint(folder: Path | None) -> str:
    """Identifies a model's safetensors by size and 16 samples each: certain enough, and instant for gigabytes."""
    if folder is None:
        return ""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size};".encode())
        with path.open("rb") as file:
            for sample in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def describe_prompts(prompts: Sequence[Prompt]) -> str:
    """One line for people that also tells any two lists of prompts apart."""
    digest = hashlib.sha256("\n".join(repr(prompt) for prompt in prompts).encode()).hexdigest()[:12]
    frames = sorted({prompt.frame for prompt in prompts})
    shown = ", ".join(map(str, frames[:5])) + (", ..." if len(frames) > 5 else "")
    objects = len({prompt.object_id for prompt in prompts})
    return f"{len(prompts)} for {objects} object(s), frame(s) {shown} [{digest}]"
