"""What is made of frames while they are followed, so that nobody decodes them again: patches for cut-outs, and the overlay.

All of it is a saving and none of it the truth: what is missing here (after a kill, where a policy revised frames at the end) is
made from the project and the video, with the same pictures.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from keepsight.core import Frame, FrameResult, StoreError
from keepsight.render import CropStyle, draw_overlay
from keepsight.render.crops import likely_rect
from keepsight.render.everything import OVERLAY_NAME
from keepsight.render.pairs import RisingTimes
from keepsight.render.patches import LIMIT_BYTES, Patch, PatchFile
from keepsight.video import VideoWriter
from keepsight.video.beside import Beside

if TYPE_CHECKING:
    from keepsight.store import Project
    from keepsight.video import VideoSource

PATCHES_NAME = "patches.bin"
_ALONG_NAME = "overlay.along.mp4"


class Along:
    """Takes frames as they are followed and results as they are stored; a thread of its own does the work.

    Frames wait here until their results come, which are late by as many frames as objects are on trial.

    Args:
        project, video_id: where results are stored.
        video: that is followed.
        folder: to write to.
        crops: keep what crops of this style are made from.
        overlay: draw the overlay; only of a run that begins at its first frame and goes forward.
        patch_limit_bytes: see :class:`keepsight.render.patches.PatchFile`.
    """

    def __init__(
        self,
        project: Project,
        video_id: int,
        video: VideoSource,
        folder: Path,
        *,
        crops: CropStyle | None = None,
        overlay: bool = False,
        patch_limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._project, self._video_id = project, video_id
        self._style, self._size = crops, (video.height, video.width)
        self._overlay_path = folder / _ALONG_NAME
        place_overlay(folder, None)
        self._frames: deque[Frame] = deque()
        self._times = RisingTimes()
        self._labels: dict[int, str | None] = {}
        self._patches: PatchFile | None = None
        if crops is not None:
            self._patches = PatchFile(folder / PATCHES_NAME, video.fingerprint(), patch_limit_bytes)
        self._overlay: VideoWriter | None = None
        if overlay:
            self._overlay = VideoWriter(self._overlay_path, height=video.height, width=video.width, fps=video.fps)
        self._beside = Beside() if crops is not None or overlay else None

    @property
    def times_s(self) -> Mapping[str, float]:
        """Seconds of work beside the following, by stage."""
        return {} if self._beside is None else self._beside.times_s

    def saw(self, frame: Frame) -> None:
        """Takes a frame that is about to be followed."""
        if self._beside is not None:
            self._frames.append(frame)

    def stored(self, result: FrameResult, labels: Mapping[int, str]) -> None:
        """Takes a result of one of these frames; may wait for the work before it.

        Args:
            labels: names by object id.
        """
        if self._beside is None or not self._frames or self._frames[0].index != result.frame:
            return  # a frame of before the run was resumed
        frame = self._frames.popleft()
        if self._patches is not None:
            self._beside.do("patches", partial(self._keep, frame, result))
        if self._overlay is not None:
            for item in result.objects:
                self._labels[item.object_id] = labels.get(item.object_id)
            # As the project gives it: objects in its order.
            shown = self._project.result(self._video_id, frame.index) or result
            time_s = self._times.of(frame)
            self._beside.do("overlay", partial(self._draw, self._overlay, frame, shown, dict(self._labels), time_s))

    def _keep(self, frame: Frame, result: FrameResult) -> None:
        if self._patches is None or self._style is None:
            return
        try:
            for item in result.objects:
                if item.mask.box is not None:
                    rect = likely_rect(item.mask.box, self._style, self._size)
                    self._patches.add(frame.index, item.object_id, Patch.of(frame.rgb, rect))
        except StoreError:
            # A full disk: the room is needed for what cannot be made again.
            self._close_patches(suppressed=True)
            self._overlay_path.with_name(PATCHES_NAME).unlink(missing_ok=True)

    def _draw(
        self, writer: VideoWriter, frame: Frame, result: FrameResult, labels: Mapping[int, str | None], time_s: float
    ) -> None:
        writer.write(draw_overlay(frame.rgb, result, labels), time_s)

    def finish(self, *, revised: bool) -> Path | None:
        """Waits until all is written.

        Args:
            revised: frames have been given other masks since, or not all were followed.

        Returns:
            The overlay, for :func:`place_overlay`; ``None`` where none was drawn, or it is not what the project says.

        Raises:
            StoreError: something could not be written.
        """
        self._frames.clear()
        if self._beside is not None:
            self._beside.finish()
        names = {item.object_id: item.label for item in self._project.objects(self._video_id)}
        if self._overlay is None or revised or any(names.get(key) != name for key, name in self._labels.items()):
            return None
        self._overlay.close()
        return self._overlay_path

    def _close_patches(self, *, suppressed: bool) -> None:
        patches, self._patches = self._patches, None
        if patches is not None:
            with contextlib.suppress(*([StoreError] if suppressed else [])):
                patches.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames.clear()
        if self._beside is not None:
            self._beside.drop()
        if self._overlay is not None:
            self._overlay.discard()
        self._close_patches(suppressed=kind is not None)


def place_overlay(folder: Path, drawn: Path | None) -> None:
    """Gives the overlay that was drawn along its name, and removes what is left of others."""
    if drawn is not None:
        drawn.replace(folder / OVERLAY_NAME)
    for name in (_ALONG_NAME, _ALONG_NAME + ".part"):
        (folder / name).unlink(missing_ok=True)
