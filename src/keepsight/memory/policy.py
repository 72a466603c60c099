"""The interface between the engine and a memory policy.

The engine holds no memory rule. At every step it asks the object's policy, in this order:

``active_hypotheses`` -> ``select_memory`` -> ``modulate`` -> ``propose_prompts`` -> (attend, decode) -> ``choose`` ->
``write_plan`` -> (encode memory) -> ``commit`` -> ``role_changes`` -> ``evict`` -> ``emit``; ``finalize`` at the end.

Slot codes and pointer positions are explicit outputs of the policy (rank or distance, consumed but empty slots), because a
host that recomputes them cannot reach parity with the published methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Box, Region, mask_box
from keepsight.memory.records import FrameRecord, ObjectMemory, Role

if TYPE_CHECKING:
    from keepsight.memory.settings import PolicySettings


@dataclass(frozen=True)
class MemoryLimits:
    """What the backbone's weights were trained to read.

    Attributes:
        slots: memory slots, the conditioning class and ``slots - 1`` recent frames (SAM 2: 7).
        pointers: pointer budget (SAM 2: 16); 0 when the backbone has no pointers.
        max_conditioning: conditioning frames attended at most, -1 for all.
    """

    slots: int
    pointers: int
    max_conditioning: int = -1


@dataclass(frozen=True)
class ReferenceRules:
    """Where published implementations of the same selection differ.

    Attributes:
        pointers_of_unselected: read the pointers of conditioning frames that were not selected (transformers does).
        unselected_fill_pointers: an unselected conditioning frame among the recent ones still gives its pointer (Meta).
        limit_by_slicing: with ``max_conditioning == 1`` and prompts on both sides keep nearly all (transformers).
    """

    pointers_of_unselected: bool = False
    unselected_fill_pointers: bool = True
    limit_by_slicing: bool = False


@dataclass(frozen=True)
class Step:
    """The step being taken.

    Attributes:
        frame: current frame index.
        reverse: going backwards in time.
        frame_count: frames of the video, ``None`` for a stream without a known end.
        stride: frames between two steps (1 = every frame). Distances in time are counted in steps of this size.
    """

    frame: int
    reverse: bool
    frame_count: int | None
    stride: int = 1

    def back(self, steps: int) -> int:
        """Index of the frame ``steps`` steps before this one in the direction of travel."""
        return self.frame + steps * self.stride if self.reverse else self.frame - steps * self.stride

    @property
    def endless(self) -> bool:
        """A stream: frames come once, so nobody can turn round."""
        return self.frame_count is None

    def distance(self, frame: int) -> int:
        """How far ``frame`` lies behind in the direction of travel, in steps; negative when it lies ahead."""
        difference = frame - self.frame if self.reverse else self.frame - frame
        return difference if self.stride == 1 else round(difference / self.stride)


@dataclass(frozen=True)
class SpatialRead:
    """One record whose spatial memory is attended.

    Attributes:
        record: the record; its ``memory`` must be there.
        slot_code: index into the learned temporal table: ``slots - 1`` for the conditioning class, 0 for the newest
            recent frame (SAM 2's convention).
        token_keep: which memory positions may be attended, boolean ``(grid_h, grid_w)``, or ``None`` for all.
        key_scale: factor on the keys before projection.
    """

    record: FrameRecord
    slot_code: int
    token_keep: NDArray[np.bool_] | None = None
    key_scale: float = 1.0


@dataclass(frozen=True)
class PointerRead:
    """One record whose pointer is attended, with its position (a distance or a rank; the backbone normalises it)."""

    record: FrameRecord
    position: int
    key_scale: float = 1.0


@dataclass(frozen=True)
class Selection:
    """What one hypothesis reads; order does not matter to attention but is kept."""

    spatial: tuple[SpatialRead, ...] = ()
    pointers: tuple[PointerRead, ...] = ()


@dataclass(frozen=True)
class ProposedPrompts:
    """Prompts that a policy makes up for a frame (motion guidance), in px of the frame.

    They do not turn the frame into a prompted one; ``as_prompted`` only has its memory written binarised, as a prompted
    frame's is.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    force_multimask: bool = True
    as_prompted: bool = False


class Picture(Protocol):
    """What a policy may see of the current frame itself."""

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` of the frame in px."""

    def motion(self) -> NDArray[np.float32] | None:
        """Dense backward optical flow ``(h, w, 2)`` on a coarser grid over the whole frame, in cells of that grid.

        The cell ``(r, c)`` of this frame was at ``(c + flow[r, c, 0], r + flow[r, c, 1])`` on the frame followed before.
        Computed once a frame for all objects. ``None`` on the first frame, or unless the policy's ``needs_motion`` is set.
        """


@dataclass(frozen=True)
class Candidates:
    """What the decoder offered one hypothesis.

    Attributes:
        hypothesis: slot of the hypothesis that was run.
        ious: IoU estimates, one a candidate.
        object_score: presence logit, shared by the candidates.
        parent: the hypothesis' last record, or ``None``.
        mask: gives candidate ``j`` as boolean ``(h, w)`` at low resolution, absent gate applied; computed on demand.
        region: part of the frame that the masks cover.
        logits: gives candidate ``j`` as float32 logits ``(h, w)``, absent gate applied, on demand; ``None`` where a host has
            none to give.
    """

    hypothesis: int
    ious: tuple[float, ...]
    object_score: float
    parent: FrameRecord | None
    mask: Callable[[int], NDArray[np.bool_]]
    region: Region = field(default_factory=lambda: Region(0, 0, 1, 1))
    logits: Callable[[int], NDArray[np.float32]] | None = None

    def box(self, candidate: int) -> Box | None:
        """Box of a candidate in px of the frame, ``None`` when it is empty."""
        mask = self.mask(candidate)
        found = mask_box(mask)
        return None if found is None else self.region.box_from_grid(found, *mask.shape)


@dataclass(frozen=True)
class Survivor:
    """A candidate that lives on: which hypothesis, which candidate, and the score it now has."""

    hypothesis: int
    candidate: int
    score: float = 0.0


@dataclass(frozen=True)
class WritePlan:
    """How a survivor is written to memory.

    Attributes:
        write: whether spatial memory is encoded at all.
        binarize: encode the mask as 0/1 instead of soft.
        object_score: presence logit for the absent embedding, ``None`` for the decoder's own.
        marks: scalars to keep with the record.
    """

    write: bool = True
    binarize: bool = False
    object_score: float | None = None
    marks: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RoleChange:
    """A tracked record that becomes a conditioning one, or back; ``reencode`` writes its memory anew, binarised."""

    record: FrameRecord
    role: Role
    reencode: bool = False


class Policy(ABC):
    """Decides what one object remembers and which mask to trust. One instance belongs to one object of one session.

    Class attributes:
        name: what a person types.
        settings_type: its parameters; ``None`` for a policy without. Set by the settings class that names the policy, and
            inherited. What else people want to know about a policy stands there too.
        needs_motion: whether ``propose_prompts`` asks for the frame's motion; an instance may say so by its settings.
        mask_presence_threshold: masks and pointers are kept where the object score is above it (the absent embedding
            in memory always uses 0).

    Args:
        limits: what the backbone's weights were trained to read.
        rules: where published implementations differ; default: Meta's.
        settings: of ``settings_type``; default: its defaults.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[PolicySettings] | None] = None
    needs_motion: bool = False
    mask_presence_threshold: float = 0.0

    def __init__(
        self, limits: MemoryLimits, rules: ReferenceRules | None = None, settings: PolicySettings | None = None
    ) -> None:
        self.limits = limits
        self.rules = rules or ReferenceRules()
        # Any: a policy declares the settings that it has.
        self.settings: Any = settings if settings is not None or self.settings_type is None else self.settings_type()

    # -- life of the object ------------------------------------------------------------------------------------------
    def reset(self, prompt: FrameRecord) -> None:
        """A conditioning record was written by the person (first prompt or correction)."""

    def state(self) -> dict[str, Any]:
        """What the policy remembers beside the bank, as JSON values; for checkpoints."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state` gave."""

    # -- before the decoder ------------------------------------------------------------------------------------------
    def active_hypotheses(self, step: Step, bank: ObjectMemory) -> list[int]:
        """Slots to run on this frame; hypotheses with the same history may be run once."""
        return [0]

    @abstractmethod
    def select_memory(self, step: Step, bank: ObjectMemory, hypothesis: int) -> Selection:
        """Which records are read, in which slot; pointers with their positions."""

    def modulate(self, step: Step, selection: Selection) -> Selection:
        """Key scales and token masks on a selection; unchanged by default."""
        return selection

    def propose_prompts(
        self, step: Step, bank: ObjectMemory, hypothesis: int, picture: Picture
    ) -> ProposedPrompts | None:
        """Prompts for this frame, or ``None``."""
        return None

    # -- after the decoder -------------------------------------------------------------------------------------------
    @abstractmethod
    def choose(self, step: Step, candidates: Sequence[Candidates]) -> list[Survivor]:
        """Survivors in order, best first; at least one. Sees all hypotheses and all candidates at once."""

    def write_plan(
        self, step: Step, survivors: Sequence[Survivor], candidates: Sequence[Candidates]
    ) -> list[WritePlan]:
        """One plan a survivor."""
        return [WritePlan() for _ in survivors]

    def commit(self, step: Step, bank: ObjectMemory, records: list[FrameRecord]) -> None:
        """Puts the written records (one a survivor, best first) into the bank."""
        bank.add_tracked(step.frame, records)

    def role_changes(self, step: Step, bank: ObjectMemory) -> list[RoleChange]:
        """Records to promote to conditioning frames or to demote, after this step."""
        return []

    def emit(self, step: Step, bank: ObjectMemory) -> FrameRecord | None:
        """The record that is shown for this frame now."""
        return bank.at(step.frame)

    def finalize(self, bank: ObjectMemory) -> list[FrameRecord]:
        """Records that replace what was shown earlier, once the end is known; none by default."""
        return []

    @abstractmethod
    def evict(self, step: Step, bank: ObjectMemory) -> None:
        """Frees what can never be read again going on from this step."""

    @classmethod
    def reduce_group(cls, presences: NDArray[np.float64], qualities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of a frame, one an object, from all objects followed onto it; by default objects are independent.

        The engine keeps them with the records, as ``marks["frame_score"]``.

        Args:
            presences: ``(B,)`` ``max(0, 2 sigmoid(object score) - 1)``.
            qualities: ``(B,)`` best IoU estimate among the candidates.
        """
        return presences * qualities

    @classmethod
    def regroup(cls, banks: Sequence[ObjectMemory]) -> None:
        """Scores the frames anew over the objects that are left, after one was removed; nothing where objects are independent.

        Args:
            banks: of all objects that remain and follow this policy.
        """


def best_candidate(candidates: Sequence[Candidates]) -> Survivor:
    """The candidate with the highest IoU estimate; the first one on ties, as ``argmax`` has it."""
    best = max(
        ((c.hypothesis, j, iou) for c in candidates for j, iou in enumerate(c.ious)),
        key=lambda entry: entry[2],
    )
    return Survivor(hypothesis=best[0], candidate=best[1], score=best[2])


def with_scales(selection: Selection, spatial: Sequence[float], pointers: Sequence[float]) -> Selection:
    """A copy of ``selection`` with key scales set, one a read."""
    return Selection(
        tuple(replace(read, key_scale=scale) for read, scale in zip(selection.spatial, spatial, strict=True)),
        tuple(replace(read, key_scale=scale) for read, scale in zip(selection.pointers, pointers, strict=True)),
    )
