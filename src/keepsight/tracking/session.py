"""A video being followed: prompts on any frame, ranges in any direction, corrections, cancel, checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import torch

from keepsight.core import Direction, Frame, FrameResult, Mask, Prompt, Region, TrackedObject
from keepsight.core.errors import InputError
from keepsight.memory import FrameRecord, PolicyFactory, Step
from keepsight.models.backbone import Backbone
from keepsight.tracking import checkpoint
from keepsight.tracking.looks import PreviousMask
from keepsight.tracking.motion import MotionEstimator
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.plan import Visit, plan_visits
from keepsight.tracking.sight import Sight, SightSource
from keepsight.tracking.track import Track
from keepsight.tracking.tracks import FeatureCache, TrackSet
from keepsight.tracking.visiting import frames_of
from keepsight.video import VideoSource


class Session:
    """Follows objects through one video that can be rewound.

    Not safe for use from several threads, but :meth:`cancel` may be called from anywhere.

    Args:
        sights: where the sight of a frame comes from; sessions that go in step may share one (:mod:`.together`). Default:
            this session makes its own.

    Attributes:
        last_logits: low-resolution mask logits of the frame last shown, by object.
        last_marks: what the policies noted about it (:attr:`keepsight.memory.FrameRecord.marks`), by object.
    """

    def __init__(
        self,
        backbone: Backbone,
        policy: PolicyFactory,
        options: EngineOptions,
        video: VideoSource,
        sights: SightSource | None = None,
    ) -> None:
        if video.live:
            raise InputError("A live source cannot be rewound; follow it with tracker.step(frame).")
        if not video.frame_count:
            raise InputError(f"'{video.name}' has no frames.")
        self.video = video
        self.frame_count: int = video.frame_count
        self.backbone = backbone
        self.options = options = options.settled(backbone.info.zoom)
        self._set = TrackSet(backbone, policy, options)
        self._new_sight: SightSource = sights or (lambda index, rgb: Sight(backbone, rgb, options.units_per_decode))
        self._sights = FeatureCache(options.feature_cache_bytes)
        self._latest: tuple[int, Sight] | None = None
        self._motion = MotionEstimator()
        self._cancelled = False
        self._on_frame: Callable[[Frame], None] = lambda frame: None
        self._visited = 0
        self.last_logits: dict[int, torch.Tensor] = {}
        self.last_marks: dict[int, dict[str, float]] = {}

    @property
    def object_ids(self) -> list[int]:
        """Ids of the objects being followed, in the order they were added."""
        return list(self._set.tracks)

    @property
    def labels(self) -> dict[int, str]:
        """Labels by object id, for objects that have one."""
        return {track.object_id: track.label for track in self._set.tracks.values() if track.label}

    @property
    def visited(self) -> int:
        """Results given so far by the current :meth:`propagate`, counted on through resumptions."""
        return self._visited

    @property
    def units_decoded(self) -> int:
        """Hypotheses of objects that went through memory attention and decoder on frames without a prompt."""
        return self._set.engine.units_decoded

    def memory_bytes(self) -> int:
        """What the objects remember just now, in bytes; what they share is counted once."""
        return checkpoint.held_bytes(self._set.tracks.values())

    # -- prompts -----------------------------------------------------------------------------------------------------
    def add(
        self,
        *,
        object_id: int,
        frame: int,
        points: Sequence[tuple[float, float]] = (),
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        mask: Any | None = None,
        label: str | None = None,
        clear: bool = False,
        previous: Mask | None = None,
    ) -> TrackedObject:
        """Points at an object on a frame, or corrects it there, and returns its mask on that frame at once.

        Clicks add up: those of earlier calls on the same frame are kept, and the mask that is there is refined.

        Args:
            object_id: any id >= 0 that was not removed before.
            frame: frame index in the video.
            points: ``(x, y)`` in px of the frame; all positive unless ``labels`` says otherwise.
            labels: 1 on the object, 0 not on it, one a point.
            box: ``(x1, y1, x2, y2)`` in px.
            mask: :class:`~keepsight.core.Mask` or ``(H, W)`` array; stands by itself.
            label: a name.
            clear: forget earlier prompts of this object on this frame.
            previous: the mask that is there, when the session has already let it go (a store has it), or, with ``clear``, the
                one that is to be refined.

        Raises:
            InputError: a prompt that does not fit the frame or the video.
        """
        prompt = Prompt.of(object_id, frame, points=points, labels=labels, box=box, mask=mask, label=label)
        return self.add_prompt(prompt, clear=clear, previous=previous)

    def add_prompt(self, prompt: Prompt, *, clear: bool = False, previous: Mask | None = None) -> TrackedObject:
        """:meth:`add` with a :class:`~keepsight.core.Prompt`."""
        if not 0 <= prompt.frame < self.frame_count:
            raise InputError(
                f"Prompt for object {prompt.object_id}: frame {prompt.frame} is not in '{self.video.name}', "
                f"whose frames are 0 to {self.frame_count - 1}."
            )
        height, width = self.video.height, self.video.width
        prompt.check_inside(height, width)
        undo = self._set.remember(prompt.object_id)
        track = self._set.take_prompt(prompt, clear=clear)
        reverse = bool(track.tracked.direction(prompt.frame))
        step = Step(prompt.frame, reverse, self.frame_count, track.tracked.stride(prompt.frame))
        whole = Region.whole(height, width)
        there = None
        record = None if clear else track.bank.at(prompt.frame)
        if record is not None and record.logits is not None:
            there = PreviousMask(record.logits, record.region or whole)
        elif previous is not None:
            there = PreviousMask(self._logits_of(previous), whole)
        try:
            self._consolidate(except_frame=prompt.frame)
            record = self._ask_engine(track, step, self._sight_of(prompt.frame, keep=True), there)
        except Exception:
            undo()
            raise
        return self._set.present([(track, record)], height, width)[0]

    def _ask_engine(self, track: Track, step: Step, sight: Sight, previous: PreviousMask | None) -> FrameRecord:
        return self._set.engine.prompt(track, step, sight, previous)

    def remove(self, object_id: int) -> None:
        """Stops following an object; the others are not touched, and its id is not given out again.

        Raises:
            InputError: no such object.
        """
        self._set.remove(object_id)

    def clear_prompts(self, object_id: int, frame: int) -> None:
        """Takes back what was said about an object on a frame; its other prompts stay.

        Raises:
            InputError: no such object, or nothing was said there.
        """
        track = self._set.tracks.get(object_id)
        if track is None or frame not in track.prompts:
            raise InputError(f"Nothing was said about object {object_id} on frame {frame}.")
        del track.prompts[frame]
        track.pending.pop(frame, None)
        track.bank.discard(frame)
        if not track.prompts and track.found in (None, frame):
            del self._set.tracks[object_id]

    # -- following ---------------------------------------------------------------------------------------------------
    def propagate(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        stride: int = 1,
        direction: Direction | str = Direction.FORWARD,
        resume: bool = False,
        on_stage: Callable[[str], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Iterator[FrameResult]:
        """Follows all objects over a range of frames, a result a frame, as they come.

        Objects may be added, corrected and removed between two results. An object begins at its first prompt in the
        direction of travel (see ``EngineOptions.track_before_prompt``).

        Args:
            start: first frame of the range; default: the earliest prompt going forward, 0 otherwise.
            stop: end of the range, exclusive; default: the end of the video, or just after the last prompt going
                backward.
            stride: follow every n-th frame; prompted frames are always visited.
            direction: forward; backward (from the last prompt down to ``start``); or both: forward from the earliest
                prompt, then backward from the last one, where each object is followed only before its first prompt,
                so a frame may come twice, the second time with other objects.
            resume: go on after the last result of the run whose state was loaded; all other arguments as they were.
            on_stage: told "decode", "encode" and "track" as these begin, for timing.
            on_frame: given every frame before it is followed, for whoever wants its pixels too.

        Raises:
            InputError: nothing to follow, or an empty range.
        """
        if stride < 1:
            raise InputError(f"The stride must be 1 or more, not {stride}.")
        if direction not in list(Direction):
            raise InputError(f"The direction is forward, backward or both, not '{direction}'.")
        direction = Direction(direction)
        visits = self._plan(start, stop, stride, direction)
        skip = self._visited if resume else 0
        self._visited = skip
        self._cancelled = False
        self._on_frame = on_frame or (lambda frame: None)
        return self._run(visits, skip, stride, direction, on_stage or (lambda stage: None))

    def _plan(self, start: int | None, stop: int | None, stride: int, direction: Direction) -> list[Visit]:
        """The frames of a run, in order.

        Raises:
            InputError: nothing to follow, or an empty range.
        """
        if not self._set.tracks:
            raise InputError("Nothing to follow: point at an object first.")
        tracks = list(self._set.tracks.values())
        spans = [(track.first_prompt, track.last_prompt) for track in tracks]
        prompted = sorted({frame for track in tracks for frame in track.told})
        visits = plan_visits(self.frame_count, spans, prompted, start, stop, stride, direction)
        if not visits:
            raise InputError(
                f"No frame to follow: the range is empty or lies on the wrong side of every prompt "
                f"(direction {direction.value}, prompts on frames {_few(prompted)})."
            )
        return visits

    def _run(
        self,
        visits: Sequence[Visit],
        skip: int,
        stride: int,
        direction: Direction,
        on_stage: Callable[[str], None],
    ) -> Iterator[FrameResult]:
        remaining = visits[skip:]
        hold_back = None
        if self.options.compatibility.binarize_neighbours and remaining:
            hold_back = remaining[0].frame
        self._consolidate(except_frame=hold_back)
        if skip and self._needs_motion():
            # As if the run had not been broken off.
            before = visits[skip - 1].frame
            self._motion.hold(before, self.video.read(before).rgb)
        with closing(self._frames(remaining)) as frames:
            for visit in remaining:
                if self._cancelled:
                    return
                on_stage("decode")
                frame = next(frames)
                self._on_frame(frame)
                on_stage("encode")
                sight = self._known_sight(frame.index) or self._new_sight(frame.index, frame.rgb)
                self._latest = (frame.index, sight)
                step = Step(frame.index, visit.reverse, self.frame_count, stride)
                tracks = [track for track in self._set.tracks.values() if self._active(track, visit, direction)]
                if self._needs_motion():
                    sight.see_motion(self._motion.look(frame.index, frame.rgb, step.back(1)))
                self._set.engine.look(tracks, step, sight)
                on_stage("track")
                self._consolidate(except_frame=frame.index)
                result = self._visit(frame, sight, step, tracks)
                self._visited += 1
                yield result

    def _visit(self, frame: Frame, sight: Sight, step: Step, tracks: Sequence[Track]) -> FrameResult:
        self._set.engine.step(tracks, step, sight)
        shown = self._set.shown(tracks, step)
        self.last_logits = {track.object_id: record.logits for track, record in shown if record.logits is not None}
        self.last_marks = {track.object_id: dict(record.marks) for track, record in shown}
        return self._set.result(frame, shown)

    def _active(self, track: Track, visit: Visit, direction: Direction) -> bool:
        if not track.told:
            return False
        if direction is Direction.BOTH:
            started = visit.frame >= track.first_prompt
            return not started if visit.reverse else started or self.options.track_before_prompt
        if self.options.track_before_prompt:
            return True
        return visit.frame <= track.last_prompt if visit.reverse else visit.frame >= track.first_prompt

    def _frames(self, visits: Sequence[Visit]) -> Generator[Frame, None, None]:
        return frames_of(self.video, visits, self.options.look_ahead)

    def cancel(self) -> None:
        """Stops a running :meth:`propagate` after the frame in flight; everything so far is kept."""
        self._cancelled = True

    def finalize(self) -> list[FrameResult]:
        """Frames that a policy revises once the end is known (none for most policies); call after the last result."""
        revised: dict[int, list[tuple[Track, FrameRecord]]] = {}
        for track in self._set.tracks.values():
            for record in track.policy.finalize(track.bank):
                revised.setdefault(record.frame, []).append((track, record))
        height, width = self.video.height, self.video.width
        return [
            FrameResult(
                frame,
                float(self.video.times_s[frame]),
                height,
                width,
                tuple(self._set.present(shown, height, width)),
                revised=True,
            )
            for frame, shown in sorted(revised.items())
        ]

    # -- state -------------------------------------------------------------------------------------------------------
    def save_state(self) -> bytes:
        """The exact state, to continue from on another day or machine; safetensors, nothing executable."""
        extra = {
            "visited": self._visited,
            "retired": sorted(self._set.retired_ids),
            "video": [self.frame_count, self.video.height, self.video.width],
            **self._own_state(),
        }
        return checkpoint.pack(self.backbone, list(self._set.tracks.values()), extra)

    def load_state(self, data: bytes) -> None:
        """Takes back what :meth:`save_state` gave, for the same video, model and policy.

        Raises:
            StoreError: damaged, or of another model or policy.
            InputError: of another video.
        """
        tracks, extra = checkpoint.unpack(data, self.backbone, self._set.new_track)
        if extra["video"] != [self.frame_count, self.video.height, self.video.width]:
            raise InputError(f"The saved state belongs to another video than '{self.video.name}'.")
        self._set.tracks = {track.object_id: track for track in tracks}
        self._set.retired_ids = set(extra["retired"])
        self._visited = extra["visited"]
        self._restore_own(extra)

    def _own_state(self) -> dict[str, Any]:
        """What a kind of session adds to its state, as JSON values."""
        return {}

    def _restore_own(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`_own_state` gave."""

    def _needs_motion(self) -> bool:
        return any(track.policy.needs_motion for track in self._set.tracks.values())

    # -- inside ------------------------------------------------------------------------------------------------------
    def _known_sight(self, frame: int) -> Sight | None:
        """What is still here of a prompted frame, or of the frame last shown, which is clicked most."""
        if self._latest is not None and self._latest[0] == frame:
            return self._latest[1]
        return self._sights.get(frame)

    def _sight_of(self, frame: int, *, keep: bool) -> Sight:
        sight = self._known_sight(frame)
        if sight is None:
            sight = self._new_sight(frame, self.video.read(frame).rgb)
        if keep:
            if self.options.closely is None:
                sight.see([sight.whole])
                sight.forget_pixels()
            self._sights.put(frame, sight)
        return sight

    def _consolidate(self, except_frame: int | None) -> None:
        """Writes the memories of prompted frames, apart from one that is about to be visited or clicked again."""
        frames = {frame for track in self._set.tracks.values() for frame in track.pending} - {except_frame}
        for frame in sorted(frames):
            self._set.engine.write_pending(self._set.tracks.values(), frame, self._sight_of(frame, keep=False))

    def _logits_of(self, mask: Mask) -> torch.Tensor:
        pixels = torch.from_numpy(mask.to_array())[None, None].float()
        size = (self.backbone.info.mask_size,) * 2
        low = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        return (low[0, 0] * 20.0 - 10.0).to(self.backbone.device)


def _few(frames: Sequence[int]) -> str:
    shown = ", ".join(str(frame) for frame in frames[:5])
    return shown + (", ..." if len(frames) > 5 else "")
