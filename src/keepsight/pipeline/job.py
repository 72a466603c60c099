"""What a segmentation job is told, what it reports while it runs, and what it leaves behind."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from keepsight.core import Concept, InputError, Prompt

PROJECT_NAME = "project.keepsight"
#: Stages that every followed frame goes through.
TRACKING_STAGES = ("decode", "encode", "detect", "track", "store", "hand over", "checkpoints", "finish")


class Mode(StrEnum):
    """What to do about results of an earlier run in the output folder."""

    FAIL = "fail"
    OVERWRITE = "overwrite"
    RESUME = "resume"


@dataclass(frozen=True)
class Outputs:
    """Which files are derived from the project once tracking is over."""

    overlay: bool = True
    crops: bool = True
    masks: bool = True
    annotations: bool = True
    report: bool = True

    def names(self) -> list[str]:
        """The wanted ones, in the order in which they are written."""
        return [name for name in ("masks", "annotations", "overlay", "crops", "report") if getattr(self, name)]


@dataclass(frozen=True)
class SegmentJob:
    """One video and everything a person said about it.

    A field that is ``None`` takes its default, or with ``mode=RESUME`` the value of the run that is resumed; the defaults stand
    in :mod:`keepsight.pipeline.settings`.

    Attributes:
        video: file, folder of images; for a live job a camera index or stream URL.
        out: output folder; default ``out/NAME``.
        prompts: what to follow; beside concepts: what refines, or adds to, what is found.
        dealt: object ids among those of the prompts that nobody chose: objects of their own, whatever is found.
        concepts: what to find.
        detector: that finds them; ``None``: the best one at hand.
        selection: of the memory of what was found, ``"group"`` or ``"decoupled"``; another way to say the policy.
        rules: fields of :class:`keepsight.concepts.ConceptRules` by name.
        removed: ids of found objects that are none.
        model, policy, policy_options, device, dtype, zoom: as for ``keepsight.load``.
        start, stop, stride, direction: as for ``Session.propagate``. For a live job only ``stop`` counts: the number of frames.
        mode: what to do about earlier results.
        outputs: what to write beside the project.
        crop_options: fields of :class:`keepsight.render.CropStyle` by name.
        units: objects (times hypotheses) that go through the model at a time; ``None``: as many as the engine takes. Down: less
            memory, more time.
        patches: keep what crops are made from in ``patches.bin`` (:mod:`keepsight.pipeline.along`), for a later
            :func:`keepsight.pipeline.crops.crop_objects`.
        checkpoint_s: least time between two checkpoints of the engine. Turning it up repeats more work after a crash and
            costs less; the pipeline waits longer by itself where checkpoints are expensive.
        credit: who made the footage and under which licence; shown in the report.
    """

    video: str | Path
    out: Path | None = None
    prompts: tuple[Prompt, ...] = ()
    dealt: frozenset[int] = frozenset()
    concepts: tuple[Concept, ...] = ()
    detector: str | None = None
    selection: str | None = None
    rules: dict[str, Any] | None = None
    removed: tuple[int, ...] = ()
    model: str | None = None
    policy: str | None = None
    policy_options: dict[str, Any] | None = None
    device: str | None = None
    dtype: str | None = None
    zoom: bool | None = None
    start: int | None = None
    stop: int | None = None
    stride: int | None = None
    direction: str | None = None
    mode: Mode = Mode.FAIL
    outputs: Outputs = field(default_factory=Outputs)
    crop_options: dict[str, Any] = field(default_factory=dict)
    units: int | None = None
    patches: bool = False
    checkpoint_s: float = 5.0
    credit: str | None = None

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        if self.out is not None:
            return Path(self.out)
        stem = Path(str(self.video).rstrip("/\\")).stem or "video"
        return Path("out") / "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in stem)

    @property
    def project_path(self) -> Path:
        """The project file."""
        return self.folder / PROJECT_NAME

    def resume_line(self) -> str:
        """The shortest command that goes on with this job."""
        return f"keepsight segment {shlex.quote(str(self.video))} --out {shlex.quote(str(self.folder))} --resume"


@dataclass(frozen=True)
class Progress:
    """How far a stage is: ``done`` of ``total`` frames (``None`` when there is no end in sight)."""

    stage: str
    done: int
    total: int | None


ProgressCallback = Callable[[Progress], None]


@dataclass
class SegmentOutcome:
    """What a job left behind.

    Attributes:
        out: the output folder.
        state: ``finished`` or ``cancelled``.
        frames: frames with a result in the project.
        tracked: frames that this process has followed (fewer than ``frames`` after a resume).
        objects: followed objects.
        times_s: seconds a stage; they add up to the whole.
        beside_s: seconds of threads that worked at the same time, by stage.
        files: (what, where) of everything written.
        notes: lines a person should read: warnings, what was reused.
        resume: command that goes on, when there is something to go on with.
        detector: what has found the objects, in a line.
        found: number of objects by concept.
    """

    out: Path
    state: str
    frames: int
    tracked: int
    objects: int
    times_s: dict[str, float]
    files: list[tuple[str, Path]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    resume: str | None = None
    detector: str | None = None
    beside_s: dict[str, float] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 130 as for every program that Ctrl-C has stopped."""
        return 130 if self.state == "cancelled" else 0

    def summary(self) -> str:
        """What happened, in one or two lines."""
        objects = _objects(self.objects)
        tracking_s = sum(self.times_s.get(stage, 0.0) for stage in TRACKING_STAGES)
        if self.tracked:
            before = f" ({self.frames - self.tracked} of them earlier)" if self.frames > self.tracked else ""
            rate = f" at {self.tracked / tracking_s:.1f} frames/s" if tracking_s > 0 else ""
            line = f"Followed {objects} through {self.frames} frames{before}{rate}."
        else:
            line = f"{objects} on {self.frames} frames were here already."
        stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.times_s.items() if seconds >= 0.05)
        if stages:
            line += f" {sum(self.times_s.values()):.1f} s in all: {stages}."
        if self.state == "cancelled":
            line = f"Stopped. {line} Everything so far is kept."
            if self.resume is not None:
                line += f" Go on with:\n  {self.resume}"
        return "\n".join([*self.findings(), line])

    def findings(self) -> list[str]:
        """What was looked for, by what, and how much of it there is."""
        counts = [f"'{text}': {_objects(count) if count else 'nothing found'}" for text, count in self.found.items()]
        return [*([self.detector] if self.detector else []), *([f"{', '.join(counts)}."] if counts else [])]


def _objects(count: int) -> str:
    return f"{count} object{'' if count == 1 else 's'}"


def parse_options(option: str, items: Sequence[str]) -> dict[str, Any]:
    """Reads ``NAME=VALUE`` options; a value that is JSON (a number, true, a list) becomes that, anything else stays text.

    Args:
        option: what they are called on the command line.
        items: the texts.

    Raises:
        InputError: no ``=``, or a name given twice.
    """
    options: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise InputError(f"{option} {item}: expected NAME=VALUE.")
        if name in options:
            raise InputError(f"{option} {item}: {name} is given twice.")
        try:
            options[name] = json.loads(value, parse_constant=lambda word: word)
        except ValueError:
            options[name] = value
    return options


def read_mode(*, overwrite: bool, resume: bool) -> Mode:
    """The mode for the two switches of the command line.

    Raises:
        InputError: both are given.
    """
    if overwrite and resume:
        raise InputError("Give --overwrite (start anew) or --resume (go on), not both.")
    return Mode.OVERWRITE if overwrite else Mode.RESUME if resume else Mode.FAIL
