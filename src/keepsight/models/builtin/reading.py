"""From what units of a frame read to the prior that the decoder is given: who shares which work.

Pathways of one object, and objects that are seen through one view, mostly remember the same frames. How alike the present
frame is to a remembered one does not depend on who asks, so it is worked out once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keepsight.models.backbone import MemoryRead, UnitReads
from keepsight.models.builtin.affinity import PRIOR_CHANNELS, AffinityMemory, Reader, gate_prior, with_flow
from keepsight.models.builtin.flow import warp_previous
from keepsight.models.builtin.passes import Features
from keepsight.models.builtin.refine import Guide
from keepsight.models.crew import Crew


@dataclass(frozen=True, eq=False)
class BuiltinMemory:
    """Memory of one object on one frame.

    Attributes:
        keys: (64, S/8, S/8) unit-length keys of the view; one tensor shared by all objects seen in it.
        value: (4, S/8, S/8) mask in 2x2 sub-cells, in [0, 1].
        grey: (S, S) uint8, the view itself, for the optical flow to the next frame; shared likewise.
    """

    keys: Tensor
    value: Tensor
    grey: Tensor


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """Maps of V views of a frame.

    keys: those of `maps`, a tensor of its own for each view, so that a memory holds no more than it reads; greys: the views
    as (S, S) uint8; guides: what pulls masks to the edges of the picture (None: leave them as decoded).
    """

    maps: Features
    keys: list[Tensor]
    greys: list[Tensor]
    guides: list[Guide] | None


class MemoryReader:
    """Reads memories for all units of a frame.

    Args:
        affinity: propagates masks.
        crew: runs pieces of work side by side.
        motion_gate: see :class:`keepsight.models.builtin.backbone.BuiltinBackbone`.
    """

    def __init__(self, affinity: AffinityMemory, crew: Crew, motion_gate: bool) -> None:
        self._affinity, self._crew, self._motion_gate = affinity, crew, motion_gate

    def read(self, features: FrameFeatures, reads: Sequence[UnitReads], views: Sequence[int]) -> Tensor:
        """The prior (B, 6, S/4, S/4) of B units.

        Args:
            reads: what each of them attends to.
            views: the row of ``features`` that each of them sees.
        """
        # Units that see the same view and read the same frames in the same way share one affinity matrix.
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, (unit, view) in enumerate(zip(reads, views, strict=True)):
            groups.setdefault((view, *(_identity(read) for read in unit.spatial)), []).append(i)
        by_view: dict[int, list[list[int]]] = {}
        for members in groups.values():
            by_view.setdefault(views[members[0]], []).append(members)
        # Groups of one shape that have nothing in common go through the network together.
        alike: dict[tuple[object, ...], list[list[int]]] = {}
        prior = features.maps.keys.new_empty(len(reads), PRIOR_CHANNELS, *features.maps.s4.shape[-2:])
        for view, rows in by_view.items():
            firsts = [reads[members[0]].spatial for members in rows]
            frames = {_frame_of(read) for first in firsts for read in first}
            if len(frames) < sum(map(len, firsts)):
                together = [[reads[i].spatial for i in members] for members in rows]
                for members, part in zip(rows, self._propagate_together(features, view, together), strict=True):
                    prior[members] = part
                continue
            for members, first in zip(rows, firsts, strict=True):
                kinds = (len(members), *(r.conditioning for r in first), any(r.token_keep is not None for r in first))
                alike.setdefault(kinds, []).append(members)
        for batch in alike.values():
            at = [views[members[0]] for members in batch]
            part = self._propagate(features, at, [[reads[i].spatial for i in members] for members in batch])
            prior[[i for members in batch for i in members]] = part.flatten(0, 1)
        if self._motion_gate:
            self._gate(prior, reads)
        return prior

    def _propagate(
        self, features: FrameFeatures, rows: Sequence[int], groups: Sequence[Sequence[Sequence[MemoryRead]]]
    ) -> Tensor:
        """Prior (G, K, 6, S/4, S/4) of G groups of K units; those of a group see one view and read the same frames."""
        firsts = [members[0] for members in groups]
        units, frames = len(groups[0]), len(firsts[0])
        values = torch.stack([read.memory.value for members in groups for reads in members for read in reads])
        keys = torch.stack([read.memory.keys for first in firsts for read in first])
        keep, placement = _kept(firsts, features.maps.keys), _placements(firsts, features.maps.keys)
        scale = None
        if any(read.key_scale != 1.0 for first in firsts for read in first):
            scale = features.maps.keys.new_tensor([[read.key_scale for read in first] for first in firsts])
        prior = self._affinity(
            features.maps.keys[list(rows)],
            keys.unflatten(0, (-1, frames)),
            values.unflatten(0, (-1, units, frames)),
            torch.tensor([read.conditioning for read in firsts[0]]),
            keep,
            scale,
            placement,
            self._crew.map,
        )
        flows = self._crew.map(lambda seen: _flow(features, *seen), list(zip(rows, groups, strict=True)))
        last = [prior[i, :, 0] if flow is None else flow for i, flow in enumerate(flows)]
        return with_flow(prior, torch.stack(last))

    def _propagate_together(
        self, features: FrameFeatures, view: int, groups: Sequence[Sequence[Sequence[MemoryRead]]]
    ) -> list[Tensor]:
        """The same for groups that see one view and have frames in common, (K, 6, S/4, S/4) each."""
        frames: dict[tuple[object, ...], tuple[int, MemoryRead]] = {}
        readers = []
        for members in groups:
            for read in members[0]:
                frames.setdefault(_frame_of(read), (len(frames), read))
            values = torch.stack([torch.stack([read.memory.value for read in reads]) for reads in members])
            readers.append(
                Reader([frames[_frame_of(r)][0] for r in members[0]], [r.key_scale for r in members[0]], values)
            )
        shared = [read for _, read in frames.values()]
        keep, placement = _kept([shared], features.maps.keys), _placements([shared], features.maps.keys)
        priors = self._affinity.forward_together(
            features.maps.keys[view],
            torch.stack([read.memory.keys for read in shared]),
            torch.tensor([read.conditioning for read in shared]),
            readers,
            None if keep is None else keep[0],
            None if placement is None else placement[0],
            self._crew.map,
        )
        # Of the frame before there is one, seen through one view as a rule: its flow is everybody's.
        seen: dict[tuple[object, ...], list[int]] = {}
        for i, members in enumerate(groups):
            before = _before(members[0])
            seen.setdefault(() if before is None else _frame_of(members[0][before]), []).append(i)
        flows: dict[int, Tensor] = {}
        for who in seen.values():
            flow = _flow(features, view, [reads for i in who for reads in groups[i]])
            if flow is not None:
                flows.update(zip(who, flow.split([len(groups[i]) for i in who]), strict=True))
        return [with_flow(prior, flows.get(i)) for i, prior in enumerate(priors)]

    def _gate(self, prior: Tensor, reads: Sequence[UnitReads]) -> None:
        """Applies the motion gate in place, units with as many recent memories together."""
        recents: dict[int, list[tuple[int, list[MemoryRead]]]] = {}
        for i, unit in enumerate(reads):
            recent = sorted((r for r in unit.spatial if not r.conditioning), key=lambda r: r.slot_code)
            # A gap, where a policy left frames out, says nothing about how far the object may have come.
            if recent and recent[0].age <= 1:
                recents.setdefault(len(recent), []).append((i, recent))
        for group in recents.values():
            units = [i for i, _ in group]
            values = torch.stack([torch.stack([read.memory.value for read in recent]) for _, recent in group])
            placement = _placements([recent for _, recent in group], prior)
            prior[units] = gate_prior(prior[units], values, placement=placement)


def _before(reads: Sequence[MemoryRead]) -> int | None:
    """Place of the frame before among the reads."""
    return next((i for i, read in enumerate(reads) if read.age == 1), None)


def _flow(features: FrameFeatures, view: int, members: Sequence[Sequence[MemoryRead]]) -> Tensor | None:
    """Masks (K, S/4, S/4) of the frame before, carried along by optical flow; None when it is not among the reads.

    Args:
        members: what K units read who remember the frame before through one view.
    """
    first = _before(members[0])
    if first is None:
        return None
    read = members[0][first]
    values = torch.stack([next(r.memory.value for r in reads if r.age == 1) for reads in members])
    grey = read.memory.grey.numpy()
    return warp_previous(features.greys[view].numpy(), grey, values, read.placement).to(features.maps.keys.dtype)


def _frame_of(read: MemoryRead) -> tuple[object, ...]:
    """A remembered frame, as it is seen from the present view; all that likeness hangs on but for the key's scale."""
    keep = None if read.token_keep is None else read.token_keep.tobytes()
    # By address: views of one frame's keys are new objects each time. All reads of a step are alive together.
    return (read.memory.keys.data_ptr(), read.conditioning, read.placement, keep)


def _identity(read: MemoryRead) -> tuple[object, ...]:
    return (*_frame_of(read), read.slot_code, read.key_scale, read.age)


def _kept(reads: Sequence[Sequence[MemoryRead]], like: Tensor) -> Tensor | None:
    """bool (rows, F, h, w), cells that may be read; None where all may."""
    if all(read.token_keep is None for row in reads for read in row):
        return None
    grid = like.shape[-2:]
    full = np.ones(grid, np.bool_)
    maps = [[full if read.token_keep is None else _to_grid(read.token_keep, grid) for read in row] for row in reads]
    return torch.from_numpy(np.array(maps)).to(like.device)


def _placements(reads: Sequence[Sequence[MemoryRead]], like: Tensor) -> Tensor | None:
    """(rows, F, 4); reads of the present view are where they are. None where all are of it."""
    if all(read.placement is None for row in reads for read in row):
        return None
    return like.new_tensor([[read.placement or (1.0, 1.0, 0.0, 0.0) for read in row] for row in reads])


def _to_grid(keep: NDArray[np.bool_], grid: torch.Size) -> NDArray[np.bool_]:
    if keep.shape == tuple(grid):
        return keep
    return cv2.resize(keep.astype(np.uint8), (grid[1], grid[0]), interpolation=cv2.INTER_NEAREST).astype(np.bool_)
