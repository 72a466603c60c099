"""Finds what moves before a camera that stands still: background subtraction, no weights needed.

OpenCV remembers the last colours of each pixel (Zivkovic and van der Heijden, Efficient adaptive density estimation per image
pixel for the task of background subtraction, 2006). What does not fit them is cleaned and gathered into blobs. A word given along
only labels what is found.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from keepsight.concepts.decoding import masks_from_boxes
from keepsight.concepts.detector import Concept, Detections
from keepsight.concepts.overlap import boxes_of
from keepsight.core import Options, option
from keepsight.core.errors import InputError
from keepsight.models.backbone import Backbone
from keepsight.tracking import Sight, Zoom
from keepsight.video import VideoSource

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

SURE_LOGIT = 6.0
"""Logit of a blob's pixels where the decoder has no say."""

_SHADOW, _FOREGROUND = 127, 255
_STEADY_SIDE = 320  # of the pictures by which the camera is watched


@dataclass(frozen=True)
class MotionRules(Options):
    """What counts as something that moves.

    Raises:
        InputError: a value outside its range, which is named.
    """

    name = "motion"

    side: int = option(
        640, "longest side in px of the pictures that are compared", effect="smaller things, slower", low=64
    )
    model: str = option(
        "knn",
        "how the background is described",
        effect="mog2: as a mixture of Gaussians; knn: by its last colours",
        choices=("mog2", "knn"),
    )
    difference: float = option(
        16.0,
        "squared distance, in deviations, from which a pixel is foreground (knn: a 25th of it in grey levels)",
        effect="less noise, more holes in things of the background's colours",
        low=1,
    )
    memory_frames: int = option(
        500, "frames over which the background is learnt", effect="things that stopped are found longer", low=10
    )
    warm_up_frames: int = option(
        15,
        "frames from which the background is learnt before anything is found, where it was not shown beforehand",
        effect="a later start, a better background",
        low=1,
    )
    open_px: int = option(
        3, "specks up to this many px wide go (at `side`)", effect="less noise, thin things go", low=0
    )
    close_px: int = option(
        7, "gaps up to this many px wide close (at `side`)", effect="fewer holes, blurred outlines", low=0
    )
    merge_share: float = option(
        0.012,
        "pieces closer than this share of the longest side are one thing",
        effect="fewer things in pieces, more neighbours in one",
        low=0,
        high=0.5,
    )
    least_share: float = option(
        0.0004, "least area of a thing as a share of the frame", effect="small things and noise go", low=0, high=1
    )
    most_share: float = option(
        0.5,
        "foreground as a share of the frame from which the light or the camera has changed, and nothing is found",
        effect="larger things",
        low=0,
        high=1,
        low_open=True,
    )
    even_contrast: float = option(
        12.0,
        "mean difference from the background, in grey levels, at which a thing's score is 0.5",
        effect="faint things score less",
        low=0,
        low_open=True,
    )
    camera_px: float = option(
        1.0,
        "a camera moves when most of the picture shifts by more than this in five frames (at 320 px)",
        effect="more shake is borne",
        low=0,
        low_open=True,
    )
    edges: str = option(
        "blobs",
        "who draws the outlines",
        effect="blobs: the pixels that differ; decoder: the tracker, from the blob's box, where both overlap by half (IoU)",
        choices=("blobs", "decoder"),
    )


class MotionDetector:
    """Finds what moves; see the module.

    Learns the background as it goes: frames of one video, in order. Where frames can be seen beforehand (:meth:`prepare`), it
    starts with the median of some of them, and finds things from the first frame on, those that move later included.

    Args:
        backbone: of the tracker; only for ``edges="decoder"``.
        zoom: how small boxes are looked at (``EngineOptions.closely``).

    Attributes:
        remarks: what a person should know, said once each: that the camera moves, or the light changed.
    """

    name = "motion"
    understands_words = False
    frames_per_call = 1

    def __init__(
        self, backbone: Backbone | None = None, zoom: Zoom | None = None, rules: MotionRules | None = None
    ) -> None:
        self.backbone, self.zoom = backbone, zoom
        self.rules = rules or MotionRules()
        self.remarks: list[str] = []
        self._begin()

    def _begin(self) -> None:
        """Forgets the background."""
        rules = self.rules
        self._model: cv2.BackgroundSubtractorMOG2 | cv2.BackgroundSubtractorKNN
        if rules.model == "mog2":
            self._model = cv2.createBackgroundSubtractorMOG2(rules.memory_frames, rules.difference, True)
        else:
            self._model = cv2.createBackgroundSubtractorKNN(rules.memory_frames, 25 * rules.difference, True)
        self._learnt = 0
        self._recent: deque[U8] = deque(maxlen=6)

    def prepare(self, frames: Sequence[U8]) -> None:
        """Learns the background from frames, best spread over the whole video: what most of them show at a place stands still.

        Args:
            frames: uint8 ``(H, W, 3)`` each.
        """
        if not frames:
            return
        self._begin()
        small = np.stack([self._scaled(frame) for frame in frames])
        median = np.median(small, axis=0).astype(np.uint8)
        cv2.setRNGSeed(1)
        self._model.apply(median, learningRate=1.0)
        noise = np.abs(small.astype(np.int16) - median).max(-1, keepdims=True)
        for picture, away in zip(small, noise, strict=True):
            # The spread of each pixel is learnt too; what passed by there is not part of it.
            still = np.where(away < 30, picture, median)
            self._model.apply(np.ascontiguousarray(still), learningRate=1 / max(len(small), 10))
        self._learnt = max(self.rules.warm_up_frames, len(frames))

    def prepare_from(self, video: VideoSource, count: int = 25) -> None:
        """:meth:`prepare` with frames spread evenly over a video that can be rewound.

        Args:
            count: frames to read. Up: things that stay for long are told from the background, slower start.
        """
        total = video.frame_count
        if not total:
            raise InputError(f"'{video.name}' cannot be looked at beforehand: its length is not known.")
        places = np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))
        self.prepare([video.read(int(place)).rgb for place in places])

    def detect(self, sights: Sequence[Sight], concepts: Sequence[Concept]) -> list[Detections]:
        """See :class:`keepsight.concepts.Detector`; everything found is of the first concept."""
        return [self._one(sight, concepts[0].number) for sight in sights]

    def watch(self, sight: Sight) -> None:
        """See :class:`keepsight.concepts.LearnsAlong`."""
        self._learn(self._scaled(sight.pixels(sight.whole)))

    def _one(self, sight: Sight, concept: int) -> Detections:
        small = self._scaled(sight.pixels(sight.whole))
        foreground = self._learn(small)
        if foreground is None:
            return Detections.none()
        blobs = self._blobs(foreground.astype(np.uint8))
        if not len(blobs):
            return Detections.none()
        height, width = sight.size
        masks = torch.from_numpy(blobs)
        boxes = boxes_of(masks, height, width)
        scores = self._scores(small, blobs)
        return Detections(np.full(len(blobs), concept, np.int64), scores, boxes, self._edges(sight, masks, boxes))

    def _learn(self, small: U8) -> NDArray[np.bool_] | None:
        """What does not fit the background that was learnt so far, bool ``(h, w)``; ``None`` when that cannot be said."""
        if self._camera_moves(small):
            self._say(
                "The camera moves; 'motion' finds nothing while it does. Use another --detector for such a video."
            )
            recent = self._recent
            self._begin()
            self._recent = recent
            return None
        # The model draws its samples by chance, from the library's own dice: the same for the same frame, in every run.
        cv2.setRNGSeed(self._learnt + 1)
        marks = self._model.apply(small)
        self._learnt += 1
        if self._learnt <= self.rules.warm_up_frames:
            return None
        foreground = marks == _FOREGROUND
        if foreground.mean() > self.rules.most_share:
            self._say(
                "Most of the picture changed at once (light, or the camera); 'motion' learns the background anew."
            )
            self._begin()
            return None
        return np.asarray(foreground)

    def _scaled(self, rgb: U8) -> U8:
        scale = self.rules.side / max(rgb.shape[:2])
        if scale >= 1:
            return rgb
        size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
        return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _camera_moves(self, small: U8) -> bool:
        """Whether most of what can be followed has shifted since five frames ago."""
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        scale = _STEADY_SIDE / max(grey.shape)
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self._recent.append(np.asarray(grey, np.uint8))
        if len(self._recent) < 2:
            return False
        before = self._recent[0]
        points = cv2.goodFeaturesToTrack(before, 200, 0.01, 8)
        if points is None or len(points) < 12:
            return False
        there, found, _ = cv2.calcOpticalFlowPyrLK(before, grey, points, None)
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(grey, before, there, None)
        sure = (found & found_back)[:, 0].astype(bool) & (np.abs(back - points).max((1, 2)) < 0.5)
        if sure.sum() < 12:
            return False
        shift = np.linalg.norm((there - points)[sure, 0], axis=1)
        return bool((shift > self.rules.camera_px).mean() > 0.6)

    def _blobs(self, foreground: U8) -> NDArray[np.bool_]:
        """Things ``(N, h, w)`` from the foreground ``(h, w)`` of 0 and 1."""
        rules = self.rules
        for operation, size in ((cv2.MORPH_OPEN, rules.open_px), (cv2.MORPH_CLOSE, rules.close_px)):
            if size > 1:
                kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
                foreground = np.asarray(cv2.morphologyEx(foreground, operation, kernel), np.uint8)
        outlines = cv2.findContours(foreground, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
        filled = cv2.drawContours(np.zeros_like(foreground), outlines, -1, 1, cv2.FILLED)
        reach = round(rules.merge_share * max(filled.shape) / 2)
        near = filled if reach < 1 else cv2.dilate(filled, np.ones((2 * reach + 1,) * 2, np.uint8))
        count, labels = cv2.connectedComponents(np.asarray(near))
        labels = np.where(filled > 0, labels, 0)
        areas = np.bincount(labels.ravel(), minlength=count)[1:]
        wanted = 1 + np.flatnonzero(areas >= max(rules.least_share * filled.size, 1))
        return np.asarray(labels[None] == wanted[:, None, None])

    def _scores(self, small: U8, blobs: NDArray[np.bool_]) -> F32:
        """By how plainly each thing differs from what is behind it."""
        background = self._model.getBackgroundImage()
        away = np.abs(small.astype(np.float32) - background).mean(-1)
        contrast = np.array([away[blob].mean() for blob in blobs], np.float32)
        return np.asarray(contrast / (contrast + self.rules.even_contrast), np.float32)

    def _edges(self, sight: Sight, blobs: torch.Tensor, boxes: F32) -> torch.Tensor:
        """Logits: the decoder's where it agrees with the blobs, else the blobs themselves."""
        plain = (blobs.float() * 2 - 1) * SURE_LOGIT
        if self.backbone is None or self.rules.edges == "blobs":
            return plain
        decoded = masks_from_boxes(self.backbone, sight, boxes, self.zoom)
        plain = torch.nn.functional.interpolate(plain[:, None], decoded.shape[-2:], mode="area")[:, 0].to(
            decoded.device
        )
        ours, theirs = plain > 0, decoded > 0
        agree = (ours & theirs).sum((1, 2)) / (ours | theirs).sum((1, 2)).clamp(min=1) >= 0.5
        return torch.where(agree[:, None, None], decoded, plain)

    def _say(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)
