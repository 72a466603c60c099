"""SAM2Long: several pathways through the video, the best of which is known at the end (Ding et al., ICCV 2025).

Pathways are kept as a tree: a level a frame, a record a node, ``FrameRecord.parent`` its way back. A level holds the nodes
that a living pathway passes, the best pathway's first, so the best history so far is the first record of every level. Pathways
with the same history are one node (``marks["ranks"]`` says which they are, a bit a rank) and are run once. A level with a
single node is settled: whatever comes, this is its mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keepsight.core import option
from keepsight.memory.beam import is_certain, key_weights, prune
from keepsight.memory.policy import (
    Candidates,
    MemoryLimits,
    PointerRead,
    ReferenceRules,
    Selection,
    SpatialRead,
    Step,
    Survivor,
    WritePlan,
    best_candidate,
    with_scales,
)
from keepsight.memory.reach import behind, nearest_behind
from keepsight.memory.records import FrameRecord, ObjectMemory
from keepsight.memory.sam2 import SAM2Policy, prompted_frames_option
from keepsight.memory.settings import PolicySettings, Summary
from keepsight.memory.shelf import fold, unfolded

CONDITIONING_SCORE = 10.0
"""Object score that a conditioning frame counts with when keys are scaled."""

# Scalars kept with the records.
_RANKS = "ranks"  # which pathways have this history, a bit a rank
_SHOWN = "shown"  # 1: what was shown when this frame was new
_UNCERTAIN = "uncertain"  # 1: the pathways were told apart by their masks here
_SINCE = "since"  # valid frames on this history since the prompt that began the tree, this one included
_BEFORE = "before"  # this is the n-th valid frame before a later prompt


class SAM2LongPolicy(SAM2Policy):
    """The memory tree (section 3 of the paper), for any number of prompted frames, in both directions."""

    name = "sam2long"
    settings: SAM2Long

    def __init__(
        self, limits: MemoryLimits, rules: ReferenceRules | None = None, settings: PolicySettings | None = None
    ) -> None:
        super().__init__(limits, rules, settings)
        # Of the step being taken.
        self._leaves: list[FrameRecord] = []
        self._survivors: list[Survivor] = []
        self._ranks: list[int] = []
        self._uncertain = False
        # The frame last followed.
        self._latest = -1
        # Frames that may hold tensors, to look at on eviction; None: not known (at the beginning, after a checkpoint).
        self._held: set[int] | None = None

    def state(self) -> dict[str, Any]:
        return {"latest": self._latest}

    def restore(self, state: dict[str, Any]) -> None:
        self._latest = state["latest"]
        self._held = None

    # -- reading -----------------------------------------------------------------------------------------------------
    def active_hypotheses(self, step: Step, bank: ObjectMemory) -> list[int]:
        """One a distinct history, however many pathways share it."""
        previous = self._previous(step, bank)
        self._leaves = [] if previous is None else bank.tracked.get(previous, [])
        return list(range(max(len(self._leaves), 1)))

    def valid(self, record: FrameRecord) -> bool:
        """Whether a frame may be remembered: the object was there, and its mask good (both strict)."""
        threshold = self.settings.iou_threshold
        return threshold is None or (record.iou > threshold and record.object_score > 0)

    def reach(self, step: Step) -> int:
        """Valid frames that are looked for: one less than the pointers, or the slots where these are more."""
        return max(self.pointer_budget(step), self.limits.slots) - 1

    def recent(self, step: Step, bank: ObjectMemory, hypothesis: int = 0) -> list[FrameRecord]:
        """Frames that a history reads, oldest first: the latest valid ones, and the previous one in any case."""
        _, unselected = self.conditioning(step, bank)
        limit, previous = self.reach(step), self._previous(step, bank)
        found: list[FrameRecord] = []
        if limit > 0:
            for record in self._history(bank, previous, hypothesis, step.reverse):
                if self.valid(record):
                    found.append(record)
                if len(found) == limit:
                    break
        # A prompted frame beyond the limit is an ordinary one.
        found += [record for record in unselected.values() if behind(step, record.frame) > 0 and self.valid(record)]
        found.sort(key=lambda record: record.frame, reverse=step.reverse)
        found = found[max(len(found) - limit, 0) :]
        if previous is not None:
            last = unselected.get(previous)
            if last is None and previous in bank.tracked:
                last = _of(bank.tracked[previous], hypothesis)
            if last is not None and last not in found:
                found.append(last)
        return found

    def select_memory(self, step: Step, bank: ObjectMemory, hypothesis: int) -> Selection:
        if self.settings.iou_threshold is None:
            return super().select_memory(step, self._history_as_bank(step, bank, hypothesis), 0)
        selected, _ = self.conditioning(step, bank)
        recent = self.recent(step, bank, hypothesis)
        spatial = [SpatialRead(record, self.limits.slots - 1) for record in selected.values()]
        for code, record in enumerate(reversed(recent[-(self.limits.slots - 1) :])):
            if record.memory is not None:
                spatial.append(SpatialRead(record, code))
        if self.limits.pointers == 0:
            return Selection(tuple(spatial))
        pointers = self.conditioning_pointers(step, bank, selected)
        # A rank, not a distance; the oldest one is counted but not read, as released.
        for rank in range(1, min(len(recent), self.pointer_budget(step))):
            if recent[-rank].pointer is not None:
                pointers.append(PointerRead(recent[-rank], rank))
        return Selection(tuple(spatial), tuple(pointers))

    def modulate(self, step: Step, selection: Selection) -> Selection:
        """Keys of what surely shows the object weigh more (section 3.4 of the paper); values stay."""
        spread = self.settings.key_spread
        if spread == 0 or len(selection.spatial) < 2:
            return selection
        spatial, pointers = (
            [CONDITIONING_SCORE if read.record.conditioning else read.record.object_score for read in reads]
            for reads in (selection.spatial, selection.pointers)
        )
        return with_scales(selection, key_weights(spatial, spread), key_weights(pointers, spread) if pointers else ())

    # -- choosing and writing ----------------------------------------------------------------------------------------
    def choose(self, step: Step, candidates: Sequence[Candidates]) -> list[Survivor]:
        count = self.settings.pathways
        self._uncertain = False
        if not self._leaves:
            # The first frame after a prompt: one mask for all pathways, and its score is not counted.
            best = best_candidate(candidates)
            self._survivors, self._ranks = [Survivor(best.hypothesis, best.candidate, 0.0)], [_all_ranks(count)]
            return self._survivors
        pathways = self._pathways(count)
        scores = [self._leaves[hypothesis].score for hypothesis in pathways]
        self._uncertain = not is_certain(candidates, self.settings.uncertainty)
        survivors: dict[tuple[int, int], Survivor] = {}
        ranks: dict[tuple[int, int], int] = {}
        for rank, entry in enumerate(prune(pathways, scores, candidates, self.settings.uncertainty)):
            key = (entry.hypothesis, entry.candidate)
            survivors.setdefault(key, Survivor(entry.hypothesis, entry.candidate, entry.score))
            ranks[key] = ranks.get(key, 0) | 1 << rank
        self._survivors, self._ranks = list(survivors.values()), list(ranks.values())
        return self._survivors

    def write_plan(
        self, step: Step, survivors: Sequence[Survivor], candidates: Sequence[Candidates]
    ) -> list[WritePlan]:
        return [
            WritePlan(marks={_RANKS: float(ranks), _SHOWN: float(place == 0), _UNCERTAIN: float(self._uncertain)})
            for place, ranks in enumerate(self._ranks)
        ]

    def commit(self, step: Step, bank: ObjectMemory, records: list[FrameRecord]) -> None:
        previous = self._previous(step, bank)
        # A root that no prompt lies next to is nothing to turn round at.
        beyond = 0 if previous in bank.conditioning else self.reach(step) + 1
        for record, survivor in zip(records, self._survivors, strict=True):
            if self._leaves:
                record.parent = _of(self._leaves, survivor.hypothesis)
            since = beyond if record.parent is None else record.parent.marks.get(_SINCE, beyond)
            record.marks[_SINCE] = since + self.valid(record)
        bank.add_tracked(step.frame, records)
        if self._leaves:
            self._prune_levels(bank, records)
        else:
            self._settle_all(step, bank, previous)
        if self._held is not None:
            self._held.add(step.frame)
        self._leaves, self._latest = [], step.frame

    # -- the end -----------------------------------------------------------------------------------------------------
    def finalize(self, bank: ObjectMemory) -> list[FrameRecord]:
        """The best pathway's records where another one's were shown. The bank stays as it is."""
        if not self.settings.revise:
            return []
        best = (records[0] for _, records in sorted(bank.tracked.items()))
        return [unfolded(record) for record in best if _may_revise(record) and record.logits is not None]

    def evict(self, step: Step, bank: ObjectMemory) -> None:
        """Frees what no pathway can select any more, and shelves the masks of frames that are still undecided.

        A pathway going on reads its latest valid frames, also when a person corrects the frame just shown. A person may turn
        round at a prompt, and then the valid frames nearest to it on its far side are the latest ones; a stream cannot.
        """
        self.forget_conditioning(step, bank)
        tiers = self._tiers(step, bank)
        held = set(bank.tracked) if self._held is None else self._held
        for frame in list(held):
            records = bank.tracked.get(frame, [])
            for record in records:
                tier = min(tiers.get(id(record), 2), self._tier_at_prompts(step, bank, record))
                if tier > 0:
                    record.memory = None
                    if self.settings.revise and not step.endless and _may_revise(record):
                        fold(record)
                    else:
                        record.logits = None
                if tier > 1:
                    record.pointer = None
            if any(_is_remembered(record) for record in records):
                continue
            held.discard(frame)
            if len(records) == 1 and records[0].logits is None and frame != step.frame:
                del bank.tracked[frame]
        self._held = held

    def _tiers(self, step: Step, bank: ObjectMemory) -> dict[int, int]:
        """By record: 0 for what a later step may read whole, 1 for what it may read the pointer of or counts."""
        if self.settings.iou_threshold is None:
            return {}
        tiers: dict[int, int] = {}
        slots, limit = self.limits.slots - 1, self.reach(step)
        leaves = bank.tracked.get(step.frame, [])
        for hypothesis in range(max(len(leaves), 1)):
            # Counted from the frame before: the latest one is the one that a person is most likely to correct.
            count, passed = 0, -len(leaves[:1])
            for record in self._history(bank, step.frame, hypothesis, step.reverse):
                if passed < 1:
                    tiers[id(record)] = 0  # read as the frame before, valid or not
                if passed >= 0 and self.valid(record):
                    count += 1
                    tiers[id(record)] = min(tiers.get(id(record), 1), 0 if count <= slots else 1)
                passed += 1
                if count == limit:
                    break
        return tiers

    def _tier_at_prompts(self, step: Step, bank: ObjectMemory, record: FrameRecord) -> int:
        """The same for turning round at a prompted frame; without a filter also for going on (as ``sam2`` has it)."""
        if self.settings.iou_threshold is None:
            spatial = (self.limits.slots - 1) * step.stride + step.stride
            pointer = max(self.limits.pointers * step.stride, spatial)
            centres = [step.frame] if step.endless else [step.frame, *bank.conditioning]
            nearest = min(abs(record.frame - centre) for centre in centres)
            return 0 if nearest <= spatial else 1 if nearest <= pointer else 2
        if step.endless or not self.valid(record):
            return 2
        limit = self.reach(step)
        place = min(record.marks.get(_SINCE, limit + 1), record.marks.get(_BEFORE, limit + 1))
        return 0 if place <= self.limits.slots - 1 else 1 if place <= limit else 2

    # -- the tree ----------------------------------------------------------------------------------------------------
    def _pathways(self, count: int) -> list[int]:
        """Place among the leaves of each pathway, by rank; all on the first where nothing is known."""
        pathways = [0] * count
        for place, leaf in enumerate(self._leaves):
            ranks = int(leaf.marks.get(_RANKS, 0))
            for rank in range(count):
                if ranks >> rank & 1:
                    pathways[rank] = place
        return pathways

    def _previous(self, step: Step, bank: ObjectMemory) -> int | None:
        """The last frame behind this one that is known, prompted or tracked: the step before, as a rule."""
        before = step.back(1)
        # Off the grid of a strided run lie prompted frames: this object's, and others' that it was followed onto.
        between = [frame for frame in bank.conditioning if min(before, step.frame) < frame < max(before, step.frame)]
        if self._latest in bank.tracked and min(before, step.frame) < self._latest < max(before, step.frame):
            between.append(self._latest)
        if between:
            return min(between) if step.reverse else max(between)
        if before in bank.conditioning or before in bank.tracked:
            return before
        known = [*bank.conditioning, *(f for f, records in bank.tracked.items() if _is_remembered(records[0]))]
        return next(iter(nearest_behind(step, known)), None)

    @staticmethod
    def _history(bank: ObjectMemory, start: int | None, hypothesis: int, reverse: bool) -> Iterator[FrameRecord]:
        """Tracked records that a pathway has passed, newest first, from ``start`` on.

        Along the parents as far as the tree goes; from there, across prompts, along what was settled.
        """
        if start is None:
            return
        last = start
        node = _of(bank.tracked[start], hypothesis) if start in bank.tracked else None
        # A corrected frame's old record is no longer in the bank, and nobody shall remember it.
        while node is not None and node in bank.tracked.get(node.frame, ()):
            yield node
            last, node = node.frame, node.parent
        further = (frame for frame in bank.tracked if (frame > last if reverse else frame < last))
        for frame in sorted(further, reverse=not reverse):
            if _is_remembered(bank.tracked[frame][0]):
                yield bank.tracked[frame][0]

    def _history_as_bank(self, step: Step, bank: ObjectMemory, hypothesis: int) -> ObjectMemory:
        """The recent past of one pathway as if there were no others."""
        own = ObjectMemory()
        own.conditioning = bank.conditioning
        reach = max(self.limits.pointers, self.limits.slots)
        for record in self._history(bank, self._previous(step, bank), hypothesis, step.reverse):
            if step.distance(record.frame) > reach:
                break
            own.tracked[record.frame] = [record]
        return own

    def _prune_levels(self, bank: ObjectMemory, newest: list[FrameRecord]) -> None:
        """Drops what no new record descends from and puts the best one's ancestors first, back to where nothing changes."""
        level, settled = newest, []
        while (best := level[0].parent) is not None and best in bank.tracked.get(best.frame, ()):
            living = {id(record.parent) for record in level}
            before = bank.tracked[best.frame]
            level = sorted((record for record in before if id(record) in living), key=lambda record: record is not best)
            bank.tracked[best.frame] = level
            if len(level) == 1:
                settled.append(best)
            if level == before:
                break
        for record in settled:
            # What lies behind is settled as well; it is found by its frame.
            record.parent = None
            if self._held is not None:
                self._held.add(record.frame)

    def _settle_all(self, step: Step, bank: ObjectMemory, previous: int | None) -> None:
        """A new tree: the best of every earlier one is what it starts from."""
        for frame, records in bank.tracked.items():
            if frame != step.frame:
                records[0].parent = None
                bank.tracked[frame] = records[:1]
        self._held = None
        if previous in bank.conditioning and not step.endless:
            before = (r for r in self._history(bank, previous, 0, step.reverse) if self.valid(r))
            for place, record in zip(range(1, self.reach(step) + 1), before, strict=False):
                record.marks[_BEFORE] = float(place)


@dataclass(frozen=True)
class SAM2Long(PolicySettings):
    """Parameters of :class:`SAM2LongPolicy`; defaults are the paper's (section 4.1), ranges those of its ablations or wider."""

    policy = SAM2LongPolicy
    title = "SAM2Long"
    summary = Summary(
        idea="Follows several pathways through the video at once, each with a memory of frames on which the object was there "
        "and its mask good; where the model is unsure they take different masks, and what is best over the whole video wins.",
        choose="Long clips with occlusions, exits and returns, where one wrong mask would spoil all that follow, and there is "
        "time to look at the result at the end: frames may be revised then.",
        cost="About that of sam2 while the pathways agree; up to `pathways` times the memory attention, decoder and memory "
        "encoder where they differ. The image encoder runs once in any case.",
        paper="Ding et al., SAM2Long: Enhancing SAM 2 for Long Video Segmentation with a Training-Free Memory Tree, ICCV 2025.",
    )

    pathways: int = option(
        3,
        "pathways kept",
        effect="more alternatives, slower where they differ; the paper finds no gain above 3",
        low=1,
        high=16,
    )
    iou_threshold: float | None = option(
        0.3,
        "IoU estimate that a frame must exceed, with the object there, to be remembered; none: the frames that sam2 reads",
        effect="surer memories, from longer ago",
        low=0,
        high=1,
    )
    uncertainty: float = option(
        2.0,
        "presence score (a logit, either sign) up to which a frame is uncertain and pathways must take different masks",
        effect="branches more often, slower",
        low=0,
    )
    key_spread: float = option(
        0.05,
        "memories weigh 1 -+ this in the attention, by their presence scores",
        effect="prefers memories that surely show the object; 0 is off",
        low=0,
        high=0.5,
    )
    revise: bool = option(
        True,
        "keep what is needed to revise frames at the end, when the best pathway is known",
        effect="the result at the end is the paper's; off: what was shown live stays",
    )
    max_conditioning: int | None = prompted_frames_option()


def _all_ranks(count: int) -> int:
    return (1 << count) - 1


def _of(records: Sequence[FrameRecord], hypothesis: int) -> FrameRecord:
    return records[hypothesis] if hypothesis < len(records) else records[0]


def _is_remembered(record: FrameRecord) -> bool:
    return record.memory is not None or record.pointer is not None


def _may_revise(record: FrameRecord) -> bool:
    """Whether this was not what was shown; a frame that a person corrected was."""
    return record.marks.get(_SHOWN, 1.0) == 0.0
