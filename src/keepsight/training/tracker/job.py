"""What a run is asked to do, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from keepsight.core import InputError
from keepsight.evaluation.paired import Estimate
from keepsight.evaluation.results import Results
from keepsight.training.tracker.learner import PARTS, check_lora

KINDS = ("mask", "box", "click")
FREE = frozenset({"out", "device", "cache", "memory_gb"})
"""Settings that may change when a run goes on."""


@dataclass(frozen=True)
class TrackerTraining:
    """What is to be done; ``None`` takes the default of the model's family, and is resolved before anything begins.

    Attributes:
        data: see :func:`keepsight.training.tracker.footage.collect`, with ``format_name``, ``video`` and ``tracked``.
        base: model to begin from.
        held_out: share that is kept back; up: surer to say whether it helped, less to learn from.
        steps, minutes: how long; exactly one. A run of minutes cannot be repeated bit by bit.
        rate: learning rate. Up: faster, until what the model knew is lost.
        frames, objects: of a clip, at most. Up: learns to remember longer and more; memory grows.
        clicks: corrective clicks a frame (SAM 2 families).
        stride: at most so many frames with truth from one frame of a clip to the next.
        reverse: share of clips that run backward.
        parts: what learns beside LoRA, of "decoder" and "memory" (SAM 2 families; all heads of the built-in model).
        lora: rank of LoRA on the image encoder; 0 leaves it frozen, with its features kept on the disk.
        keep: how far the result is pulled back to the base, in [0, 1): weights lie between the two (Wortsman et al. 2022).
            Up: forgets less of what it knew, learns less of what is new.
        accumulate: clips whose gradients make one step (SAM 2 families; the built-in model has three in a batch).
        kinds: how objects are pointed at where it is measured; all count alike.
        cache: folder for features; default: ``cache`` in ``out``.
        cache_gb: what it may hold.
        memory_gb: memory that may be used; default: what is free.
    """

    data: tuple[Path, ...]
    out: Path
    base: str = "builtin"
    format_name: str | None = None
    video: str | None = None
    tracked: bool = False
    held_out: float = 0.2
    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    rate: float | None = None
    frames: int | None = None
    objects: int = 3
    clicks: int = 3
    stride: int = 3
    reverse: float = 0.5
    parts: tuple[str, ...] = ("decoder", "memory")
    lora: int = 0
    keep: float | None = None
    accumulate: int = 1
    image_size: int | None = None
    kinds: tuple[str, ...] = ("mask", "click")
    device: str = "auto"
    cache: Path | None = None
    cache_gb: float = 10.0
    memory_gb: float | None = None

    def settled(self, family: str) -> TrackerTraining:
        """With every default filled in.

        Raises:
            InputError: a setting that cannot be, with one line that says what to do.
        """
        builtin = family == "builtin"
        check_lora(self.lora, family)
        if builtin and self.image_size is not None:
            raise InputError("The built-in model has one input size; leave --image-size out.")
        if self.steps is not None and self.minutes is not None:
            raise InputError("Give --steps or --minutes, not both.")
        for name, value, low, high in (
            ("--held-out", self.held_out, 0.01, 0.9),
            ("--reverse", self.reverse, 0.0, 1.0),
            ("--keep", self.keep or 0.0, 0.0, 0.99),
        ):
            if not low <= value <= high:
                raise InputError(f"{name} is a share from {low:g} to {high:g}, not {value:g}.")
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise InputError(f"--judge is of {', '.join(KINDS)}, not {','.join(self.kinds) or 'nothing'}.")
        if not self.parts or not set(self.parts) <= set(PARTS):
            raise InputError(f"--parts are {' and '.join(PARTS)}, not {','.join(self.parts) or 'none'}.")
        return replace(
            self,
            steps=self.steps or (None if self.minutes else 300),
            rate=self.rate if self.rate is not None else (1e-4 if builtin else 2e-5),
            frames=self.frames or (5 if builtin else 8),
            keep=self.keep if self.keep is not None else (0.5 if builtin else 0.0),
        )

    def resolved(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self) | {"data": [str(path.resolve()) for path in self.data]}
        return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        better: the result is offered as a model, in ``folder``; otherwise it lies there under another name.
        weights: where they are.
    """

    better: bool
    folder: Path
    weights: Path
    before: Results
    after: Results
    gain: dict[str, Estimate]
    interval: str

    def lines(self) -> list[str]:
        """For people, the verdict last."""
        told = []
        for name, item in self.gain.items():
            span = "" if item.low is None or item.high is None else f" ({item.low:+.3f} to {item.high:+.3f})"
            old, new = self.before.summary[name], self.after.summary[name]
            told.append(f"{name.replace('@', ' by ')}: {old:.3f} before, {new:.3f} after, {item.value:+.3f}{span}")
        if any(item.low is not None for item in self.gain.values()):
            told.append(f"95 % intervals {self.interval}")
        if not self.better:
            told.append(
                f"Not better, so this is no model: the weights are in {self.weights}. Try a lower --rate or a higher --keep, "
                "correct more frames, or give videos that are more like those kept back."
            )
        elif self.gain["J&F"].certain:
            told.append(f"Better: use it as --model {self.folder}")
        else:
            gain = self.gain["J&F"]
            crosses = gain.low is not None and gain.high is not None and gain.low <= 0 <= gain.high
            why = "the interval holds zero" if crosses or not gain.why else f"it rests on little ({gain.why})"
            told.append(
                f"Not worse, but it may be luck, as {why}: use it as --model {self.folder}, or correct more frames for a surer "
                "answer."
            )
        return told


def names_of(text: str) -> Sequence[str]:
    """``"decoder,memory"`` as names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
