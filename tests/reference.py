"""Runs the same script of prompts through transformers' own session and through ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from keepsight.core import Mask
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.tracking import Compatibility, EngineOptions, Session, Tracker
from keepsight.video import ArrayVideo


class PixelBackbone(HFVideoBackbone):
    """Reads the prepared clip instead of resizing frames: preprocessing is compared elsewhere.

    A frame carries its index in its first two bytes.
    """

    def __init__(self, model: Any, clip: torch.Tensor, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.clip = clip

    def preprocess(self, rgb: Any) -> torch.Tensor:
        return self.clip[int(rgb[0, 0, 0]) * 256 + int(rgb[0, 0, 1])][None]


def indexed_video(frames: int, size: int) -> ArrayVideo:
    """Black frames that carry their index."""
    pixels = np.zeros((frames, size, size, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = np.arange(frames) // 256, np.arange(frames) % 256
    return ArrayVideo(pixels, fps=10)


@dataclass(frozen=True)
class Said:
    """One prompt of a script, in px of the model input."""

    object_id: int
    frame: int
    points: Sequence[tuple[float, float]] = ()
    labels: Sequence[int] = ()
    box: tuple[float, float, float, float] | None = None
    mask: np.ndarray | None = None


@dataclass
class Run:
    """Low-resolution logits by (frame, object)."""

    logits: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)

    def difference(self, other: Run) -> float:
        assert self.logits.keys() == other.logits.keys(), (sorted(self.logits), sorted(other.logits))
        return max(float((self.logits[key] - other.logits[key]).abs().max()) for key in self.logits)


def options(reference: str = "transformers", **changes: Any) -> EngineOptions:
    compatibility = Compatibility.of(reference).but(**changes)  # type: ignore[arg-type]
    return EngineOptions(compatibility=compatibility, track_before_prompt=True)


def our_session(model: Any, clip: torch.Tensor, engine_options: EngineOptions) -> Session:
    tracker = Tracker(PixelBackbone(model, clip), "sam2", engine_options)
    return tracker.open(indexed_video(len(clip), clip.shape[-1]))


def follow(session: Session, run: Run | None = None, upto: int | None = None, **arguments: Any) -> Run:
    """Logits by place in the run, since "both" visits frames twice."""
    run = run or Run()
    for _ in session.propagate(**arguments):
        for object_id, logits in session.last_logits.items():
            run.logits[session.visited, object_id] = logits.clone()
        if session.visited == upto:
            break
    return run


def equal(first: Run, second: Run) -> bool:
    """The same places, to the last bit."""
    return first.logits.keys() == second.logits.keys() and all(
        torch.equal(first.logits[key], second.logits[key]) for key in first.logits
    )


def say(session: Session, said: Said) -> None:
    session.add(
        object_id=said.object_id,
        frame=said.frame,
        points=said.points,
        labels=said.labels or None,
        box=said.box,
        mask=None if said.mask is None else Mask.from_array(said.mask),
    )


def collect(session: Session, run: Run, **arguments: Any) -> Run:
    for result in session.propagate(**arguments):
        for object_id, logits in session.last_logits.items():
            run.logits[result.frame, object_id] = logits.clone()
    return run


def ours(
    model: Any, clip: torch.Tensor, script: Sequence[Said], engine_options: EngineOptions, **arguments: Any
) -> Run:
    session = our_session(model, clip, engine_options)
    for said in script:
        say(session, said)
    return collect(session, Run(), **arguments)


class TheirSession:
    """transformers' session, driven around its known hazards."""

    def __init__(self, model: Any, clip: torch.Tensor) -> None:
        import importlib

        module = importlib.import_module(type(model).__module__)
        cls = getattr(module, type(model).__name__.replace("Model", "InferenceSession"))
        self.model = model
        size = clip.shape[-1]
        self.session = cls(video=clip, video_height=size, video_width=size, dtype=torch.float32)

    def say(self, said: Said, *, forward: bool = True) -> None:
        """Adds a prompt; clicks replace those that were given before, so a script lists them all again."""
        index = self.session.obj_id_to_idx(said.object_id)
        if said.mask is not None:
            self.session.add_mask_inputs(index, said.frame, torch.from_numpy(said.mask).float()[None, None])
        else:
            points, labels = list(said.points), list(said.labels or [1] * len(said.points))
            if said.box is not None:
                x1, y1, x2, y2 = said.box
                points, labels = [(x1, y1), (x2, y2), *points], [2, 3, *labels]
            inputs = {
                "point_coords": torch.tensor(points, dtype=torch.float32)[None, None],
                "point_labels": torch.tensor(labels, dtype=torch.int32)[None, None],
            }
            self.session.add_point_inputs(index, said.frame, inputs)
        self.session.obj_with_new_inputs = [said.object_id]
        if forward:
            self.model(self.session, frame_idx=said.frame)

    def collect(self, run: Run, **arguments: Any) -> Run:
        for output in self.model.propagate_in_video_iterator(self.session, **arguments):
            for row, object_id in enumerate(output.object_ids):
                run.logits[output.frame_idx, object_id] = output.pred_masks[row].reshape(output.pred_masks.shape[-2:])
        return run


def theirs(model: Any, clip: torch.Tensor, script: Sequence[Said], **arguments: Any) -> Run:
    session = TheirSession(model, clip)
    for said in script:
        session.say(said)
    return session.collect(Run(), **arguments)


def disc(size: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


Maker = Callable[..., Any]
