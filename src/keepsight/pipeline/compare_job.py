"""What a comparison of policies is told, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepsight.core import FrameResult, InputError
from keepsight.memory import POLICIES, policy_factory
from keepsight.pipeline.job import SegmentJob


@dataclass(frozen=True)
class CompareJob:
    """What to compare.

    Attributes:
        job: video, prompts, model, device, range; its policy, direction and outputs are not used.
        policies: names, each once.
        options: parameters by policy.
        truth: folder of palette PNGs (DAVIS) named by frame; frames that exist count.
        overwrite: replace an earlier comparison in the folder.
    """

    job: SegmentJob
    policies: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    truth: Path | None = None
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        if self.job.out is not None:
            return Path(self.job.out)
        return self.job.folder.with_name(self.job.folder.name + "-compare")


@dataclass(frozen=True)
class Row:
    """One policy; quality is over the objects, ``None`` without truth.

    Attributes:
        j, f, j_and_f: means over objects.
        agreement: mean J with the other policies, ``None`` when there is no other.
        seconds: what it would take by itself, decoding of frames left out.
        own_seconds: of that, without the image encoder, which all share.
        units: hypotheses decoded.
        peak_bytes: most that its objects remembered.
        revised: frames that were changed at the end.
        uncertain: share of (object, frame) on which it was in doubt, ``None`` when it does not say.
        objects: ``{object id: {"j", "f", "present", "score"}}``.
    """

    policy: str
    j: float | None
    f: float | None
    j_and_f: float | None
    agreement: float | None
    seconds: float
    own_seconds: float
    units: int
    peak_bytes: int
    revised: int
    uncertain: float | None
    objects: dict[int, dict[str, float | None]]


@dataclass
class Comparison:
    """What a comparison left behind.

    Attributes:
        rows: one a policy.
        frames: frames followed.
        views: views of frames that went through the image encoder, for all policies together.
        decode_s, encode_s: seconds, likewise.
        pairs: mean J between two policies.
        look: one line about where to look.
        results: what each policy gave in the end: policy -> frame -> result.
        state: ``finished`` or ``cancelled``.
        files: (what, where).
        notes: lines a person should read.
    """

    out: Path
    state: str
    rows: list[Row]
    frames: int
    views: int
    decode_s: float
    encode_s: float
    pairs: dict[tuple[str, str], float]
    look: str
    results: dict[str, dict[int, FrameResult]]
    files: list[tuple[str, Path]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or 130 after Ctrl-C."""
        return 130 if self.state == "cancelled" else 0


def read_policies(text: str) -> tuple[str, ...]:
    """``sam2,mosam`` to names.

    Raises:
        InputError: none, one twice, or one that does not exist.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise InputError(f"--policies names at least one policy: {','.join(POLICIES)}.")
    for name in names:
        policy_factory(name)
        if names.count(name) > 1:
            raise InputError(f"--policies names {name} twice.")
    return names


def read_options(names: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``{"sam2long.pathways": 2}`` to options by policy.

    Raises:
        InputError: no such policy here, or an option that it refuses.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, value in options.items():
        policy, dot, name = key.partition(".")
        if not dot or policy not in names:
            raise InputError(f"--policy-option {key}: expected POLICY.NAME=VALUE with a policy of {', '.join(names)}.")
        found.setdefault(policy, {})[name] = value
    for policy, chosen in found.items():
        policy_factory(policy, chosen)
    return found
