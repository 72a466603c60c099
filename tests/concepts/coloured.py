"""A world of coloured things, for the concept loop without weights.

A frame is black with things painted on it, a colour each. The backbone remembers the colour under a mask and finds it again;
the detector says what the script of a test says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from keepsight.concepts import Concept, Detections
from keepsight.concepts.session import ConceptSession
from keepsight.concepts.settings import ConceptRules
from keepsight.core import FrameResult
from keepsight.models.backbone import Backbone, BackboneInfo, Decoded
from keepsight.tracking import EngineOptions, Sight, Tracker
from keepsight.video import ArrayVideo

SIDE = 64
Box = tuple[int, int, int, int]


class ColourBackbone(Backbone):
    """Follows colours; an object whose colour is not in the frame is absent."""

    def __init__(self) -> None:
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.info = BackboneInfo("colours", "builtin", SIDE, SIDE, slots=7, pointers=0)

    def preprocess(self, rgb: Any) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        return F.interpolate(pixels, (SIDE, SIDE), mode="nearest")

    def join_features(self, parts: Sequence[Any]) -> torch.Tensor:
        return torch.cat(list(parts))

    def feature_bytes(self, features: torch.Tensor) -> int:
        return features.numel() * 4

    def condition(self, features, reads, views) -> list[torch.Tensor | None]:
        seen = []
        for unit in reads:
            known = [read for read in unit.spatial if read.memory is not None and read.memory[3] > 0]
            newest = min(known, key=lambda read: read.age if read.age > 0 else 10**6, default=None)
            seen.append(None if newest is None else newest.memory[:3])
        return seen

    def decode(self, features, conditioned, prompts, multimask, views) -> Decoded:
        logits, scores = [], []
        for row, (colour, view) in enumerate(zip(conditioned, views, strict=True)):
            image = features[view]
            there = torch.zeros(SIDE, SIDE, dtype=torch.bool)
            if prompts is not None and prompts.points.shape[1]:
                there = self._pointed_at(image, prompts.points[row], prompts.labels[row])
            elif colour is not None:
                there = (image - colour[:, None, None]).abs().amax(0) < 8
            logits.append(torch.where(there, 8.0, -8.0))
            scores.append(5.0 if there.any() else -5.0)
        return Decoded(torch.stack(logits)[:, None], torch.full((len(logits), 1), 0.9), torch.tensor(scores), None)

    @staticmethod
    def _pointed_at(image: torch.Tensor, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The colour in the middle of what was said, where it is."""
        x, y = points[labels > 0].mean(0).long().clamp(0, SIDE - 1).tolist()
        colour = image[:, y, x]
        return ((image - colour[:, None, None]).abs().amax(0) < 8) & bool(colour.any())

    def select_units(self, conditioned, units):
        return [conditioned[unit] for unit in units]

    def mask_prompt_pointer(self, features, masks, multimask, views):
        return None

    def encode_memory(self, features, mask_logits, object_scores, binarize, views):
        memories = []
        for mask, score, view in zip(mask_logits, object_scores, views, strict=True):
            inside = features[view][:, mask[0] > 0]
            seen = inside.shape[1] > 0 and float(score) > 0
            colour = inside.median(1).values if seen else torch.zeros(3)
            memories.append(torch.cat([colour, torch.tensor([float(seen)])]))
        return memories

    def pack_memory(self, memory):
        return {"colour": memory}

    def unpack_memory(self, tensors):
        return tensors["colour"]


def colour_of(thing: int) -> tuple[int, int, int]:
    return 40 + 40 * (thing % 6), 40 + 40 * (thing // 6 % 6), 240 - 30 * (thing // 36)


def paint(boxes: dict[int, Box]) -> np.ndarray:
    """A frame; later things lie on earlier ones."""
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    for thing, (x1, y1, x2, y2) in boxes.items():
        frame[y1:y2, x1:x2] = colour_of(thing)
    return frame


def mask_of(box: Box) -> torch.Tensor:
    logits = torch.full((SIDE, SIDE), -8.0)
    x1, y1, x2, y2 = box
    logits[y1:y2, x1:x2] = 8.0
    return logits


@dataclass(frozen=True)
class Seen:
    """One detection of a script."""

    box: Box
    score: float = 0.9
    concept: int = 1


class ScriptedDetector:
    """Gives what a script says for each frame; frames are told apart by a number in their corner."""

    understands_words = True

    def __init__(
        self, script: Callable[[int], Sequence[Seen]], *, masks: bool = True, frames_per_call: int = 1
    ) -> None:
        self.name, self.script, self.masks, self.frames_per_call = "scripted", script, masks, frames_per_call
        self.calls: list[list[int]] = []

    def detect(self, sights: Sequence[Sight], concepts: Sequence[Concept]) -> list[Detections]:
        frames = [int(sight.pixels(sight.whole)[-1, -1, 0]) for sight in sights]
        self.calls.append(frames)
        return [self._of(frame) for frame in frames]

    def _of(self, frame: int) -> Detections:
        seen = self.script(frame)
        if not seen:
            return Detections.none()
        masks = torch.stack([mask_of(item.box) for item in seen]) if self.masks else None
        return Detections.of(
            [item.concept for item in seen], [item.score for item in seen], [item.box for item in seen], masks
        )


def film(frames: Sequence[dict[int, Box]]) -> ArrayVideo:
    pictures = np.stack([paint(boxes) for boxes in frames])
    pictures[:, -1, -1] = 0
    pictures[:, -1, -1, 0] = np.arange(len(frames))
    return ArrayVideo(pictures, fps=10)


def session(
    frames: Sequence[dict[int, Box]],
    script: Callable[[int], Sequence[Seen]] | None = None,
    *,
    words: str | Sequence[str] = "thing",
    policy: str = "sam2",
    detector: Any = None,
    options: EngineOptions | None = None,
    **rules: Any,
) -> ConceptSession:
    """A session on a film; by default the detector sees everything that is painted."""

    def all_there(frame: int) -> list[Seen]:
        return [Seen(box) for box in frames[frame].values()]

    tracker = Tracker(ColourBackbone(), policy, options)
    chosen = detector or ScriptedDetector(script or all_there)
    return ConceptSession(tracker, film(frames), words, chosen, ConceptRules(**rules))


def areas(results: Sequence[FrameResult], object_id: int) -> dict[int, int]:
    """Area in px by frame of an object, where results hold it."""
    return {
        result.frame: item.mask.area for result in results for item in result.objects if item.object_id == object_id
    }


def ids(results: Sequence[FrameResult]) -> set[int]:
    return {item.object_id for result in results for item in result.objects}
