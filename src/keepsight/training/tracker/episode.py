"""One clip, followed as the product follows it, with gradients: point, remember, attend, decode, be corrected.

The memory rule, the reads, the treatment of given masks and the gate are the engine's own (`keepsight.tracking`), so a
model learns what it will be asked to do. What is simulated is the person: the first prompt, and clicks where it went
wrong. The scheme is SAM 2's (Ravi et al. 2024, appendix): a mask on the first frame for half of the clips, a box or a
click for the others, and clicks on frames that came out badly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from keepsight.core import Region
from keepsight.memory import FrameRecord, MemoryLimits, ObjectMemory, Role, Step, policy_factory
from keepsight.models.backbone import ABSENT_LOGIT, Decoded, PromptBatch, UnitReads
from keepsight.models.sam2.hf_video import HFImageFeatures, HFVideoBackbone
from keepsight.tracking.calls import Calls
from keepsight.tracking.masks import mask_to_model
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.prompting import REFINE_CLAMP, Prompting
from keepsight.tracking.sight import Sight
from keepsight.training import prompts
from keepsight.training.losses import candidate_ious
from keepsight.training.tracker.losses import MaskLoss, mask_losses
from keepsight.training.tracker.sampler import Drawn

Encode = Callable[[int], HFImageFeatures]
"""Features of the clip's frame ``t``."""


NOTHING = (0.0, 0.0, -1)
"""A click that says nothing: all units of a batch have the same number."""


@dataclass(frozen=True)
class ClipOptions:
    """What a clip is made of.

    Attributes:
        frames: of a clip, at most. Up: learns to remember longer; memory grows with it.
        objects: of a clip, at most. Up: more to learn from a frame; memory grows with it.
        masks: share of clips whose objects are given as masks; half of the others begin with a box, half with a click.
        corrected: share of clips with clicks on the frame that came out worst, and on the first one after a box or a click.
        clicks: how many of them a frame, one after the other.
    """

    frames: int = 8
    objects: int = 3
    masks: float = 0.5
    corrected: float = 0.5
    clicks: int = 3


@dataclass
class _Tally:
    """What a clip gave so far."""

    losses: list[MaskLoss] = field(default_factory=list)
    counted: float = 0.0
    ious: list[float] = field(default_factory=list)  # a frame, of what would be shown


class Episode:
    """Follows drawn clips on a backbone that is learning."""

    def __init__(self, backbone: HFVideoBackbone, options: ClipOptions) -> None:
        self.backbone, self.options = backbone, options
        self._calls = Calls(backbone, EngineOptions())
        self._prompting = Prompting(self._calls)
        info = backbone.info
        self._limits = MemoryLimits(info.slots, info.pointers, info.max_conditioning)
        self._policy = policy_factory("sam2")
        self._region = Region.whole(info.image_size, info.image_size)

    def __call__(
        self, clip: Drawn, encode: Encode, rng: np.random.Generator, kind: str | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of a clip, with its graph, and figures for the curve.

        Args:
            kind: how objects are pointed at: "mask", "box" or "click"; default: drawn.
        """
        chosen = kind or _draw_kind(rng, self.options.masks)
        corrects = bool(rng.random() < self.options.corrected)
        seed = int(rng.integers(2**31))
        truth = self._truth(clip)
        worst: int | None = None
        if corrects and len(clip.frames) > 1:
            with torch.no_grad():
                dry = self._follow(clip, truth, encode, chosen, None, np.random.default_rng(seed), clicks=0)
            worst = 1 + int(np.argmin(dry.ious[1:]))
        clicks = self.options.clicks if corrects else 0
        tally = self._follow(clip, truth, encode, chosen, worst, np.random.default_rng(seed), clicks)
        count = max(tally.counted, 1.0)
        loss = torch.stack([item.total for item in tally.losses]).sum() / count
        figures = {
            name: float(sum(float(getattr(item, name).detach()) for item in tally.losses) / count)
            for name in ("focal", "dice", "iou", "presence")
        }
        figures["J"] = float(np.mean(tally.ious[1:]))
        if chosen != "mask":
            figures[f"J {chosen}"] = tally.ious[0]
        return loss, figures

    # -- one pass ----------------------------------------------------------------------------------------------------
    def _follow(
        self,
        clip: Drawn,
        truth: NDArray[np.bool_],
        encode: Encode,
        kind: str,
        worst: int | None,
        rng: np.random.Generator,
        clicks: int,
    ) -> _Tally:
        tally = _Tally()
        banks = [ObjectMemory() for _ in clip.objects]
        policies = [self._policy(self._limits, self._calls.options.compatibility.rules) for _ in clip.objects]
        for t in range(len(clip.frames)):
            features = encode(t)
            # Frames are counted along the clip, whichever way it runs: the rule sees a video that goes forward.
            step = Step(t, False, None)
            known = torch.from_numpy(clip.known[t]).to(self.backbone.device)
            if t == 0 and kind == "mask":
                records = self._given(truth[0], features, step)
                tally.ious.append(1.0)
                self._remember(records, features, binarize=True)
                self._store(banks, records, conditioning=True)
                continue
            reads = [UnitReads()] * len(banks)
            if t:
                reads = [
                    self._calls.reads(policy.select_memory(step, bank, 0), step, self._region)
                    for policy, bank in zip(policies, banks, strict=True)
                ]
            said = [prompts.simulate(mask, kind, rng) for mask in truth[0]] if t == 0 else None
            rounds = clicks if t in (0, worst) else 0
            decoded = self._decode(features, reads, said, None, truth[t], known, tally, rounds, rng)
            tally.ious.append(self._shown_iou(decoded, truth[t], clip.known[t]))
            prompted = t == 0 or rounds > 0
            records = self._records(decoded, step, Role.PROMPT if prompted else Role.TRACK)
            self._remember(records, features, binarize=prompted)
            self._store(banks, records, conditioning=prompted)
        return tally

    def _decode(
        self,
        features: HFImageFeatures,
        reads: Sequence[UnitReads],
        said: list[prompts.Points] | None,
        logits: Tensor | None,
        truth: NDArray[np.bool_],
        known: Tensor,
        tally: _Tally,
        rounds: int,
        rng: np.random.Generator,
    ) -> Decoded:
        """One frame, and then as many clicks where it is wrong; the loss of every answer counts."""
        views = [0] * len(reads)
        conditioned = self.backbone.condition(features, reads, views)
        wanted = self._at_mask_size(truth)
        tally.counted += float(known.sum())
        points: list[prompts.Points] = said or [[] for _ in reads]
        for turn in range(rounds + 1):
            batch = None
            if any(points):
                places, labels = prompts.collate(points)
                batch = PromptBatch(places, labels, logits)
            count = max(len(item) for item in points)
            multimask = self.backbone.info.multimask(count, prompted=count > 0)
            decoded = self.backbone.decode(features, conditioned, batch, multimask, views)
            loss = mask_losses(decoded, wanted, known)
            tally.losses.append(loss)
            if turn < rounds:
                best = _best(decoded).detach()
                logits = best[:, None].clamp(-REFINE_CLAMP, REFINE_CLAMP)
                shown = self._at_input_size(best, decoded.object_scores)
                fresh = [
                    _click(mask, seen, rng) if sure else [NOTHING]
                    for mask, seen, sure in zip(truth, shown, known.tolist(), strict=True)
                ]
                points = [[*old, *new] for old, new in zip(points, fresh, strict=True)]
        return decoded

    # -- records -----------------------------------------------------------------------------------------------------
    def _given(self, truth: NDArray[np.bool_], features: HFImageFeatures, step: Step) -> list[FrameRecord]:
        pixels = torch.from_numpy(truth)[:, None].to(self.backbone.device, torch.float32)
        sight = Sight.of_features(self.backbone, features, (self.backbone.info.image_size,) * 2)
        return self._prompting.records_of_masks(pixels, [self._region] * len(truth), step, sight)

    def _records(self, decoded: Decoded, step: Step, role: Role) -> list[FrameRecord]:
        """What the engine would keep: the most trusted candidate, emptied where the object is held to be away."""
        rows = torch.arange(len(decoded.ious), device=decoded.ious.device)
        best = decoded.ious.argmax(1)
        present = decoded.object_scores > 0
        logits = torch.where(present[:, None, None], decoded.logits[rows, best], ABSENT_LOGIT)
        pointers: Sequence[Tensor | None] = [None] * len(rows)
        if decoded.pointers is not None:
            absent = self.backbone.absent_pointer()
            pointers = list(torch.where(present[:, None], decoded.pointers[rows, best], absent).split(1))
        scores = decoded.object_scores.detach().tolist()
        return [
            FrameRecord(step.frame, role, None, pointers[i], logits[i], object_score=scores[i], region=self._region)
            for i in range(len(rows))
        ]

    def _remember(self, records: Sequence[FrameRecord], features: HFImageFeatures, *, binarize: bool) -> None:
        masks = torch.stack([record.logits for record in records])[:, None]  # type: ignore[misc]
        scores = torch.tensor([record.object_score for record in records], device=self.backbone.device)
        views = [0] * len(records)
        memories = self.backbone.encode_memory(features, masks, scores, binarize, views)
        for record, memory in zip(records, memories, strict=True):
            record.memory = memory

    def _store(self, banks: Sequence[ObjectMemory], records: Sequence[FrameRecord], *, conditioning: bool) -> None:
        for bank, record in zip(banks, records, strict=True):
            if conditioning:
                bank.add_conditioning(record)
            else:
                bank.add_tracked(record.frame, [record])

    # -- sizes -------------------------------------------------------------------------------------------------------
    def _truth(self, clip: Drawn) -> NDArray[np.bool_]:
        """``(T, N, S, S)`` true masks as the model is given masks; empty where nothing is known."""
        size = self.backbone.info.image_size
        truth = np.zeros((len(clip.frames), len(clip.objects), size, size), np.bool_)
        for n, item in enumerate(clip.objects):
            wanted = [frame for t, frame in enumerate(clip.frames) if clip.known[t, n]]
            masks = clip.footage.masks(item.object_id, wanted)
            for t, frame in enumerate(clip.frames):
                mask = masks.get(frame)
                if mask is not None and mask.area:
                    truth[t, n] = mask_to_model(mask, size)[0, 0].bool().numpy()
        return truth

    def _at_mask_size(self, truth: NDArray[np.bool_]) -> Tensor:
        size = self.backbone.info.mask_size
        pixels = torch.from_numpy(truth)[:, None].to(self.backbone.device, torch.float32)
        small = F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False, antialias=True)[:, 0]
        # A thin object must not vanish, else it would be taught as absent.
        highest = small.flatten(1).amax(1)[:, None, None]
        return torch.where((highest > 0) & (highest <= 0.5), (small >= highest).float(), small)

    def _at_input_size(self, logits: Tensor, scores: Tensor) -> NDArray[np.bool_]:
        size = self.backbone.info.image_size
        large = F.interpolate(logits[:, None].float(), (size, size), mode="bilinear", align_corners=False)[:, 0]
        return ((large > 0) & (scores.detach() > 0)[:, None, None]).cpu().numpy()

    def _shown_iou(self, decoded: Decoded, truth: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
        """Mean J of what would be shown; 1 on a frame of which nothing is known."""
        if not known.any():
            return 1.0
        shown = torch.where((decoded.object_scores > 0)[:, None, None], _best(decoded).detach(), -1.0)
        ious = candidate_ious(shown[:, None], self._at_mask_size(truth))[:, 0]
        return float(ious[torch.from_numpy(known).to(ious.device)].mean())


def with_less(options: ClipOptions) -> ClipOptions | None:
    """A smaller clip: fewer objects, then fewer frames; ``None`` where there is none."""
    if options.objects > 1:
        return replace(options, objects=options.objects - 1)
    if options.frames > 2:
        return replace(options, frames=options.frames - 1)
    return None


def _draw_kind(rng: np.random.Generator, masks: float) -> str:
    return str(rng.choice(["mask", "box", "click"], p=[masks, (1 - masks) / 2, (1 - masks) / 2]))


def _best(decoded: Decoded) -> Tensor:
    """``(B, h, w)`` logits of the most trusted candidates."""
    return decoded.logits[torch.arange(len(decoded.ious), device=decoded.ious.device), decoded.ious.argmax(1)]


def _click(truth: NDArray[np.bool_], shown: NDArray[np.bool_], rng: np.random.Generator) -> prompts.Points:
    """A click where the mask is wrong; where nothing is, one that confirms it, or says nothing of an absent object."""
    wrong = prompts.correct(truth, shown, rng)
    if wrong:
        return wrong
    return prompts.simulate(truth, "click", rng) if truth.any() else [NOTHING]
