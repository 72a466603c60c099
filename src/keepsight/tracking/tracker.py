"""The door most people come in by: load a model, open a video, point, follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Frame, FrameResult, Prompt
from keepsight.core.errors import InputError
from keepsight.memory import FrameRecord, Policy, PolicyFactory, PolicySettings, Step, policy_factory
from keepsight.models.backbone import Backbone
from keepsight.tracking.looks import PreviousMask
from keepsight.tracking.motion import MotionEstimator
from keepsight.tracking.options import Compatibility, EngineOptions, Reference
from keepsight.tracking.session import Session
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import Track
from keepsight.tracking.tracks import TrackSet
from keepsight.tracking.zoom import Zoom
from keepsight.video import VideoSource, open_video


class Tracker:
    """A loaded model with a memory policy.

    Use :meth:`open` for a video that can be rewound, or :meth:`add` and :meth:`step` for a stream that has no end. A
    tracker serves any number of sessions, one after another or in turn; it keeps no state of theirs.
    """

    def __init__(
        self,
        backbone: Backbone,
        policy: str | type[Policy] | type[PolicySettings] | PolicyFactory = "sam2",
        options: EngineOptions | None = None,
    ) -> None:
        self.backbone = backbone
        self.options = (options or EngineOptions()).settled(backbone.info.zoom)
        self.policy: PolicyFactory = policy_factory(policy)
        self._stream: Stream | None = None

    def open(self, source: str | Path | VideoSource) -> Session:
        """A session on a video file, a folder of images, or an opened source.

        Raises:
            InputError: not a video that can be read, or a live one.
        """
        video = source if isinstance(source, VideoSource) else open_video(source)
        return Session(self.backbone, self.policy, self.options, video)

    # -- streams -----------------------------------------------------------------------------------------------------
    def add(
        self,
        *,
        object_id: int,
        points: Sequence[tuple[float, float]] = (),
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        mask: Any | None = None,
        label: str | None = None,
    ) -> None:
        """Points at an object on the frame that the next :meth:`step` brings; see :meth:`Session.add`."""
        prompt = Prompt.of(object_id, 0, points=points, labels=labels, box=box, mask=mask, label=label)
        self._streaming().wait_for(object_id)
        self._streaming().waiting.append(prompt)

    def remove(self, object_id: int) -> None:
        """Stops following an object of the stream."""
        self._streaming().remove(object_id)

    def step(self, rgb: NDArray[np.uint8], time_s: float | None = None) -> FrameResult:
        """Follows all objects onto the next frame of a stream.

        Args:
            rgb: uint8 ``(H, W, 3)``; the size may not change during the stream.
            time_s: when it was taken; default: the frame's number.

        Raises:
            InputError: not such an array, another size than before, or a prompt outside the frame.
        """
        return self._streaming().step(rgb, time_s)

    def reset(self) -> None:
        """Ends the stream; the next :meth:`step` begins a new one."""
        self._stream = None

    def _streaming(self) -> Stream:
        if self._stream is None:
            self._stream = Stream(TrackSet(self.backbone, self.policy, self.options))
        return self._stream


class Stream:
    """State of an endless stream: frames come once and are let go."""

    def __init__(self, tracks: TrackSet) -> None:
        self.set = tracks
        self.waiting: list[Prompt] = []
        self.index = 0
        self.size: tuple[int, int] | None = None
        self.motion = MotionEstimator()

    def wait_for(self, object_id: int) -> None:
        if object_id in self.set.retired_ids:
            raise InputError(f"Object {object_id} was removed; ids are never used again, take another.")

    def remove(self, object_id: int) -> None:
        self.waiting = [prompt for prompt in self.waiting if prompt.object_id != object_id]
        if object_id in self.set.tracks:
            self.set.remove(object_id)

    def step(self, rgb: NDArray[np.uint8], time_s: float | None) -> FrameResult:
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise InputError(f"A frame is a uint8 (height, width, 3) array, got {rgb.dtype} {rgb.shape}.")
        size = (int(rgb.shape[0]), int(rgb.shape[1]))
        if self.size is not None and size != self.size:
            raise InputError(
                f"The stream's frames were {self.size[1]}x{self.size[0]} px and now are {size[1]}x{size[0]} px; "
                "call tracker.reset() to begin a new one."
            )
        for prompt in self.waiting:
            prompt.check_inside(*size)
        self.size = size
        frame = Frame(self.index, float(self.index) if time_s is None else time_s, rgb)
        step = Step(self.index, False, None)
        engine = self.set.engine
        sight = Sight(self.set.backbone, rgb)
        if any(track.policy.needs_motion for track in self.set.tracks.values()):
            sight.see_motion(self.motion.look(self.index, rgb, self.index - 1))
        prompts, self.waiting = self.waiting, []
        known = list(self.set.tracks.values())
        fresh = [replace(prompt, frame=self.index) for prompt in prompts]
        corrected = {prompt.object_id for prompt in fresh}
        # A correction refines what the frame would have shown, so the object is followed onto it first.
        before = [track for track in known if track.object_id in corrected]
        if before:
            engine.step(before, step, sight)
        for prompt in fresh:
            track = self.set.take_prompt(prompt, clear=False)
            record = track.bank.at(self.index)
            previous = None
            if record is not None and record.logits is not None:
                previous = PreviousMask(record.logits, record.region or sight.whole)
            engine.prompt(track, step, sight, previous)
        tracks = list(self.set.tracks.values())
        shown = self.follow(tracks, step, sight)
        for track in tracks:
            # Only the latest prompt can still be clicked again; a stream must not grow with them.
            for past in [frame for frame in track.prompts if frame != self.index]:
                track.forget_prompt(past)
        self.index += 1
        return self.set.result(frame, shown)

    def follow(self, tracks: list[Track], step: Step, sight: Sight) -> list[tuple[Track, FrameRecord]]:
        """Follows objects onto a frame and gives what is to be shown."""
        self.set.engine.step(tracks, step, sight)
        return self.set.shown(tracks, step)


def load(
    model: str | Path = "builtin",
    *,
    policy: str | type[Policy] | type[PolicySettings] | PolicyFactory = "sam2",
    policy_options: dict[str, Any] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    reference: Reference = "meta",
    image_size: int | None = None,
    zoom: bool | Zoom | None = None,
    options: EngineOptions | None = None,
    with_detector: bool = False,
) -> Tracker:
    """Loads a model and gives it a memory policy.

    Args:
        model: a name from ``keepsight models``, a downloaded hub id, or a folder with config.json and safetensors.
        policy: a name from ``keepsight policies``, settings such as ``SAM2Long(pathways=3)``, a policy class, or a maker of
            policies.
        policy_options: parameters of a named policy.
        device: "auto", "cpu", "cuda", "cuda:N", "mps".
        dtype: "auto", "float32", "bfloat16", "float16".
        reference: whose behaviour where Meta's predictor and transformers' differ.
        image_size: another side of the model input in px, where the family allows it.
        zoom: look at small objects closely (see :class:`~keepsight.tracking.Zoom`); default: where the model gains by it,
            which is the built-in one.
        with_detector: of SAM 3, load the detector of words as well (for :class:`keepsight.ConceptSession`).
        options: further settings; its ``compatibility`` wins over ``reference``, and ``zoom`` given here over its own.

    Raises:
        ModelError: weights that are unknown, missing, gated or incomplete.
        InputError: a device, dtype, policy or option that cannot be used.
    """
    from keepsight.models.loading import load_backbone

    factory = policy_factory(policy, policy_options)
    backbone = load_backbone(model, device=device, dtype=dtype, image_size=image_size, with_detector=with_detector)
    chosen = options or EngineOptions(compatibility=Compatibility.of(reference))
    if zoom is not None:
        chosen = replace(chosen, zoom=zoom)
    return Tracker(backbone, factory, chosen)
