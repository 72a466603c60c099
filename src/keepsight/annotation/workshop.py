"""All desks and the devices that work for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from keepsight.annotation.bench import Bench, offered_detectors, offered_models, offered_policies
from keepsight.annotation.case import Case
from keepsight.annotation.desk import Desk
from keepsight.annotation.glance import Glance, Glances
from keepsight.annotation.pictures import PictureCache
from keepsight.annotation.trouble import Busy
from keepsight.annotation.values import DeskSettings, Limits, Offer
from keepsight.annotation.worker import Urgency
from keepsight.core import Prompt, TrackedObject
from keepsight.core.errors import InputError, StoreError
from keepsight.pipeline.folder import add_video
from keepsight.store import Project
from keepsight.video import VideoSource, open_video


@dataclass(frozen=True)
class Offers:
    """What can be chosen."""

    models: list[Offer]
    policies: list[Offer]
    detectors: list[Offer]


class Workshop:
    """Opens desks, within a limit, and closes those that nobody uses.

    Args:
        settings: of desks that are opened for the first time.
        devices: one worker each; desks are given to the one with the fewest.
        dtype: "auto" or a torch dtype's name.
        limits: see :class:`~keepsight.annotation.Limits`.
    """

    def __init__(
        self,
        settings: DeskSettings | None = None,
        devices: Sequence[str] = ("auto",),
        dtype: str = "auto",
        limits: Limits | None = None,
    ) -> None:
        self.settings, self.limits = settings or DeskSettings(), limits or Limits()
        features = self.limits.feature_bytes // max(self.limits.desks, 1)
        self._benches = [Bench(device, dtype, features) for device in devices]
        self._glances = Glances(self._benches[0], self.limits.text_length)
        self._pictures = PictureCache(self.limits.picture_bytes)
        self._painters = ThreadPoolExecutor(2, "keepsight-painter")
        self._openers = ThreadPoolExecutor(2, "keepsight-opener")
        self._lock = threading.Lock()
        self._desks: dict[str, tuple[Desk, Bench]] = {}
        self._opening: dict[str, Future[Desk]] = {}
        self._closed = False

    # ---- what there is ----

    @property
    def desks(self) -> list[Desk]:
        """Those that are open."""
        with self._lock:
            return [desk for desk, _ in self._desks.values()]

    @property
    def models_loaded(self) -> int:
        """Models in memory, on all devices together."""
        return sum(bench.models_loaded for bench in self._benches)

    def offers(self, model: str | None = None) -> Future[Offers]:
        """What can be chosen; detectors are those beside a model."""
        chosen = model or self.settings.model
        return self._openers.submit(lambda: Offers(offered_models(), offered_policies(), offered_detectors(chosen)))

    # ---- single pictures ----

    def point(self, glance: Glance, prompts: Sequence[Prompt]) -> Future[list[TrackedObject] | None]:
        """The masks of what is pointed at in a picture, a prompt an object; nothing is stored."""
        return self._benches[0].worker.submit(lambda: self._glances.point(glance, prompts), Urgency.CLICK)

    def find(
        self, glance: Glance, text: str, detector: str | None = None, threshold: float | None = None
    ) -> Future[list[tuple[str, TrackedObject]] | None]:
        """What words name in a picture, each with its concept; nothing is stored."""
        work = lambda: self._glances.find(glance, text, detector, threshold)  # noqa: E731
        return self._benches[0].worker.submit(work, Urgency.CLICK)

    # ---- desks ----

    def get(self, key: str) -> Desk | None:
        """An open desk."""
        with self._lock:
            found = self._desks.get(key)
        return None if found is None else found[0]

    def open(
        self, key: str, video: str | Path | VideoSource, project: str | Path, name: str | None = None
    ) -> Future[Desk]:
        """The desk of a video, opened if it is not.

        Args:
            key: names the desk; the same key means the same video and project.
            video: path, or an opened source that can be rewound.
            project: its project file; made when there is none.
            name: of the desk, for people; ``None``: the video's.

        Raises:
            Busy: (the future) the limit of open desks is reached and none can be closed.
            InputError, StoreError: (the future) not a video, not a project, or one of another video only.
        """
        with self._lock:
            known = self._desks.get(key)
            if known is not None:
                known[0].touch()
                done: Future[Desk] = Future()
                done.set_result(known[0])
                return done
            if key not in self._opening:
                self._opening[key] = self._openers.submit(self._open, key, video, Path(project), name)
            return self._opening[key]

    def _open(self, key: str, video: str | Path | VideoSource, path: Path, name: str | None) -> Desk:
        try:
            self._make_room(key)
            source = open_video(video)
            try:
                return self._seat(key, source, path, name)
            except BaseException:
                source.close()
                raise
        finally:
            with self._lock:
                self._opening.pop(key, None)

    def _seat(self, key: str, source: VideoSource, path: Path, name: str | None) -> Desk:
        if source.live or not source.frame_count:
            raise InputError(f"'{source.name}' is a live source; record it to a file first.")
        video_id, kept = _registered(source, path)
        settings = replace(self.settings, **kept)
        with self._lock:
            if self._closed:
                raise Busy("The server is being stopped.")
            loads = [sum(bench is other for _, other in self._desks.values()) for bench in self._benches]
            bench = self._benches[loads.index(min(loads))]
            case = Case(key, source, path, video_id, bench.worker, self.limits)
            desk = Desk(case, bench, settings, self._pictures, self._painters, name)
            self._desks[key] = (desk, bench)
        return desk

    def _make_room(self, key: str) -> None:
        self.close_idle()
        while True:
            with self._lock:
                others = len(self._opening) - (key in self._opening)
                if len(self._desks) + others < self.limits.desks:
                    return
                idle = [desk for desk, _ in self._desks.values() if desk.idle_s > 0]
            if not idle:
                raise Busy(f"All {self.limits.desks} desks are in use; close a page or wait for a job, then try again.")
            self.close(max(idle, key=lambda desk: desk.idle_s).key)

    def close(self, key: str) -> None:
        """Closes a desk; a job that is going is cancelled, and can be resumed. Waits for that."""
        with self._lock:
            found = self._desks.pop(key, None)
        if found is not None:
            found[0].close()

    def close_idle(self) -> list[str]:
        """Closes desks that nobody has used for long; their keys. Call it now and then."""
        idle = [desk.key for desk in self.desks if desk.idle_s > self.limits.idle_s]
        for key in idle:
            self.close(key)
        return idle

    def shut(self) -> None:
        """Closes everything; jobs that are going can be resumed later."""
        with self._lock:
            self._closed = True
            keys = list(self._desks)
        for key in keys:
            self.close(key)
        self._openers.shutdown(wait=True)
        self._painters.shutdown(wait=True)
        for bench in self._benches:
            bench.worker.close()


def _registered(video: VideoSource, path: Path) -> tuple[int, dict[str, Any]]:
    """The video's number in the project, which is made when there is none, and the settings that are kept there.

    Raises:
        StoreError: the file is something else, or cannot be written.
    """
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"Cannot make the folder {path.parent}: {error.strerror or error}.") from error
        with Project.create(path) as project:
            return add_video(project, video), {}
    with Project.open(path) as project:
        if project.read_only:
            raise StoreError(f"{path} cannot be written; copy it to a folder that you may write to.")
        wanted = video.fingerprint()
        for stored in project.videos():
            if stored.fingerprint == wanted:
                known = {field.name for field in fields(DeskSettings)}
                kept = project.preferences(stored.id).items()
                return stored.id, {name: value for name, value in kept if name in known}
        return add_video(project, video), {}
