"""SAM2Long without a model: a rig that asks the policy as the engine does, and the published rule written out at length."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from keepsight.memory import (
    Candidates,
    FrameRecord,
    MemoryLimits,
    ObjectMemory,
    Role,
    SAM2Long,
    SAM2LongPolicy,
    Step,
)

LIMITS = MemoryLimits(slots=7, pointers=16)
Path = tuple[tuple[int, int], ...]  # (frame, candidate) from the first tracked frame on
Offers = Callable[[int, Path], tuple[tuple[float, ...], float]]  # IoU estimates and object score


def drawn(seed: int, certain: float = 0.5, present: float = 0.7) -> Offers:
    """Scores that depend on the frame and on the whole history, coarse enough for ties.

    Args:
        certain, present: shares of the frames.
    """

    def offers(frame: int, path: Path) -> tuple[tuple[float, ...], float]:
        dice = random.Random(f"{seed} {frame} {path}")
        sign = 1 if dice.random() < present else -1
        size = (
            dice.choice([2.5, 7.0]) if random.Random(f"{seed} {frame}").random() < certain else dice.choice([0, 1, 2])
        )
        return tuple(dice.choice([0.1, 0.3, 0.5, 0.504, 0.7, 0.9]) for _ in range(3)), float(sign * size)

    return offers


class Read(NamedTuple):
    """What one history reads: ``(path, slot code)``, ``(path, position)``, key scales."""

    spatial: list[tuple[Path, int]]
    pointers: list[tuple[Path, int]]
    scales: list[float]

    @property
    def frames(self) -> list[tuple[int, int]]:
        """``(frame, slot code)``."""
        return [(path[-1][0], code) for path, code in self.spatial]


class Rig:
    """One object, followed by one policy; a record's ``memory``, ``pointer`` and ``logits`` are its path."""

    def __init__(self, offers: Offers, settings: SAM2Long, *, limits=LIMITS, count: int | None = 1000, evict=True):
        self.policy = SAM2LongPolicy(limits, settings=settings)
        self.bank = ObjectMemory()
        self.offers, self.count, self.evicts = offers, count, evict
        self.evaluations = 0
        self.shown: dict[int, Path] = {}

    def prompt(self, frame: int) -> FrameRecord:
        path = ((frame, -1),)
        record = FrameRecord(frame, Role.PROMPT, path, path, path, iou=1.0, object_score=10.0)
        self.bank.add_conditioning(record)
        self.policy.reset(record)
        return record

    def reads(self, frame: int, *, reverse: bool = False, stride: int = 1) -> list[Read]:
        """What each distinct history reads on a frame; all of it must be there."""
        step = Step(frame, reverse, self.count, stride)
        found = []
        for hypothesis in self.policy.active_hypotheses(step, self.bank):
            selection = self.policy.modulate(step, self.policy.select_memory(step, self.bank, hypothesis))
            # Taken now: a record may be emptied at the end of the step.
            assert all(read.record.memory is not None for read in selection.spatial)
            assert all(read.record.pointer is not None for read in selection.pointers)
            found.append(
                Read(
                    [(read.record.memory, read.slot_code) for read in selection.spatial],
                    [(read.record.pointer, read.position) for read in selection.pointers],
                    [read.key_scale for read in (*selection.spatial, *selection.pointers)],
                )
            )
        return found

    def visit(self, frame: int, *, reverse: bool = False, stride: int = 1) -> list[Read]:
        step = Step(frame, reverse, self.count, stride)
        read: list[Read] = []
        if frame not in self.bank.conditioning:
            read = self.reads(frame, reverse=reverse, stride=stride)
            leaves = list(self.policy._leaves)
            candidates = []
            for hypothesis in range(len(read)):
                parent = leaves[hypothesis] if leaves else None
                ious, score = self.offers(frame, parent.memory if parent else ())
                candidates.append(Candidates(hypothesis, ious, score, parent, lambda j: np.zeros((2, 2), bool)))
            self.evaluations += len(candidates)
            survivors = self.policy.choose(step, candidates)
            plans = self.policy.write_plan(step, survivors, candidates)
            records = []
            for slot, (survivor, plan) in enumerate(zip(survivors, plans, strict=True)):
                assert plan.write
                assert not plan.binarize
                offer = candidates[survivor.hypothesis]
                path = (*(offer.parent.memory if offer.parent else ()), (frame, survivor.candidate))
                record = FrameRecord(frame, Role.TRACK, path, path, path)
                record.iou, record.object_score = offer.ious[survivor.candidate], offer.object_score
                record.slot, record.score, record.marks = slot, survivor.score, dict(plan.marks)
                records.append(record)
            self.policy.commit(step, self.bank, records)
        if self.evicts:
            self.policy.evict(step, self.bank)
        shown = self.policy.emit(step, self.bank)
        assert shown is not None
        self.shown[frame] = shown.logits
        return read

    def final(self) -> dict[int, Path]:
        """What is shown in the end, after revision."""
        return self.shown | {record.frame: record.logits for record in self.policy.finalize(self.bank)}

    def pathways(self) -> list[tuple[Path, float]]:
        """Path and score of each pathway, by rank."""
        leaves = self.bank.tracked[max(self.bank.tracked)]
        found = {}
        for leaf in leaves:
            for rank in range(16):
                if int(leaf.marks["ranks"]) >> rank & 1:
                    found[rank] = (leaf.memory, leaf.score)
        return [found[rank] for rank in sorted(found)]


@dataclass
class _Node:
    path: Path
    q: float
    o: float


@dataclass
class Literal:
    """Section 2 of the specification, one prompted frame, forward: maps copied, every pathway run, nothing forgotten."""

    offers: Offers
    start: int
    count: int
    pathways: int = 3
    iou: float = 0.3
    confidence: float = 2.0
    levels: dict[int, list[_Node]] = field(default_factory=dict)
    maps: list[dict[int, int]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    seen: dict[int, list[dict[int, int]]] = field(default_factory=dict)

    def reads(self, f: int, p: int) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
        budget = min(self.count, 16)
        own = self.maps[p] if self.maps else {}
        v: list[int] = []
        for i in range(f - 1, self.start, -1):
            if len(v) == budget - 1:
                break
            node = self.levels[i][own[i]]
            if node.q > self.iou and node.o > 0:
                v.insert(0, i)
        if f - 1 > self.start and f - 1 not in v:
            v.append(f - 1)
        prompt = ((self.start, -1),)
        spatial = [(prompt, 6)]
        spatial += [(self.levels[i][own[i]].path, code) for code, i in enumerate(reversed(v[-6:]))]
        pointers = [(prompt, f - self.start)]
        d = 1
        while d < len(v) and d <= budget - 1:
            pointers.append((self.levels[v[-d]][own[v[-d]]].path, d))
            d += 1
        return spatial, pointers

    def step(self, f: int) -> None:
        if f == self.start + 1:
            q, o = self.offers(f, ())
            best = q.index(max(q))
            self.levels[f] = [_Node(((f, best),), q[best], o)]
            self.maps = [{f: 0} for _ in range(self.pathways)]
            self.scores = [0.0] * self.pathways
            self.seen[f] = self.maps
            return
        entries, offers = [], []
        for p in range(self.pathways):
            parent = self.levels[f - 1][self.maps[p][f - 1]]
            q, o = self.offers(f, parent.path)
            offers.append((q, o, parent.path))
            entries += [(self.scores[p] + math.log(q[j] + 1e-5), p, j) for j in range(3)]
        entries.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
        if max(abs(o) for _, o, _ in offers) > self.confidence:
            kept = entries[: self.pathways]
        else:
            kept, keys = [], set()
            for entry in entries:
                q, o, _ = offers[entry[1]]
                key = round((1 if o > 0 else -1) * q[entry[2]], 2)
                if key not in keys and len(kept) < self.pathways:
                    keys.add(key)
                    kept.append(entry)
            missing = [p for p in range(self.pathways) if p not in {entry[1] for entry in kept}]
            for p in missing:
                if len(kept) < self.pathways:
                    kept.append(next(entry for entry in entries if entry[1] == p))
        self.levels[f] = [_Node((*offers[p][2], (f, j)), offers[p][0][j], offers[p][1]) for _, p, j in kept]
        self.maps = [dict(self.maps[p]) | {f: slot} for slot, (_, p, _) in enumerate(kept)]
        self.scores = [score for score, _, _ in kept]
        self.seen[f] = self.maps

    def best(self) -> dict[int, Path]:
        return {i: self.levels[i][slot].path for i, slot in self.maps[0].items()}
