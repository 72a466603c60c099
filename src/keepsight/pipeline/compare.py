"""Several memory policies on one video: what each gives, where they differ, what each costs.

All are followed in step on shared frames and image features, each in a session of its own. As in a segmentation, all that can
be refused is tried before the output folder is touched, and Ctrl-C keeps what there is: the tables, the plot and the film are
then about the frames so far.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keepsight.core import FrameResult, InputError, Mask, Source, StoreError, TrackedObject
from keepsight.memory import PolicyFactory, policy_factory
from keepsight.pipeline.compare_job import CompareJob, Comparison, Row
from keepsight.pipeline.comparison import (
    Agreement,
    Quality,
    Results,
    Spot,
    Truth,
    agreement_of,
    numbered_alike,
    objects_of,
    quality_of,
    where_to_look,
)
from keepsight.pipeline.comparison_files import FILES, FILM, PLOT, draw_film, draw_plot, write_tables
from keepsight.pipeline.finding import (
    check_asked,
    detector_line,
    load_detector,
    remarks_of,
    session_maker,
    settle_finding,
)
from keepsight.pipeline.job import Progress, ProgressCallback
from keepsight.pipeline.run import load_tracker
from keepsight.pipeline.segment import visits_of
from keepsight.pipeline.settings import Settings, settings_of
from keepsight.pipeline.stopping import StopRequest
from keepsight.video import open_video

if TYPE_CHECKING:
    from keepsight.tracking import Tracker
    from keepsight.tracking.plan import Visit
    from keepsight.tracking.together import Together
    from keepsight.video import VideoSource


def run_compare(wanted: CompareJob, progress: ProgressCallback | None = None) -> Comparison:
    """Follows, compares, writes.

    Raises:
        InputError, ModelError, StoreError: one line for the person.
        KeyboardInterrupt: a second Ctrl-C.
    """
    try:
        return _Run(wanted, progress).run()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(f"Cannot write {error.filename or wanted.folder}: {error.strerror}.") from error
        raise


class _Run:
    def __init__(self, wanted: CompareJob, progress: ProgressCallback | None) -> None:
        self.wanted, self.progress = wanted, progress
        self.notes: list[str] = []

    def run(self) -> Comparison:
        wanted, job = self.wanted, self.wanted.job
        factories = {name: policy_factory(name, dict(wanted.options.get(name, {}))) for name in wanted.policies}
        _check_folder(wanted)
        with open_video(job.video) as video:
            if video.live or video.frame_count is None:
                raise InputError(f"{job.video} is a stream without an end; policies are compared on files and folders.")
            settings = settle_finding(settings_of(replace(job, policy=None, policy_options=None, direction="forward")))
            check_asked(settings, video.height, video.width, video.frame_count)
            visits = visits_of(settings, video.frame_count)
            truth = None if wanted.truth is None else self._read_truth(wanted.truth, video, settings)
            tracker, settings = load_tracker(settings, {}, self._tell)
            return self._compare(video, tracker, factories, settings, truth, visits)

    def _read_truth(self, folder: Path, video: VideoSource, settings: Settings) -> Truth:
        from keepsight.formats import read_davis

        truth: dict[int, Mapping[int, Mask]] = {}
        for frame, masks in read_davis(folder):
            for mask in masks.values():
                if (mask.height, mask.width) != (video.height, video.width):
                    raise InputError(
                        f"--truth {folder}: frame {frame} is {mask.width}x{mask.height} px but the video is "
                        f"{video.width}x{video.height} px."
                    )
            truth[frame] = masks
        if settings.concepts:
            # Which is which is seen from the masks, once objects were found.
            return {frame: masks for frame, masks in truth.items() if frame < (video.frame_count or 0)}
        followed = sorted({prompt.object_id for prompt in settings.prompts})
        known = sorted({object_id for masks in truth.values() for object_id in masks})
        missing = [object_id for object_id in followed if object_id not in known]
        if len(missing) == len(followed):
            raise InputError(
                f"--truth {folder} has objects {_listed(known)}, but objects {_listed(followed)} are followed; "
                "number them alike with @OBJECT."
            )
        if missing:
            self.notes.append(f"the truth has no object {_listed(missing)}; not counted.")
        # An object that the truth never shows would count as absent throughout.
        return {frame: masks for frame, masks in truth.items() if frame < (video.frame_count or 0)}

    def _compare(
        self,
        video: VideoSource,
        tracker: Tracker,
        factories: Mapping[str, PolicyFactory],
        settings: Settings,
        truth: Truth | None,
        visits: Sequence[Visit],
    ) -> Comparison:
        from keepsight.tracking.together import Together

        make, prompts = None, list(settings.prompts)
        if settings.concepts:
            from keepsight.concepts.once import OnceDetector

            detector = OnceDetector(load_detector(tracker, settings))
            make, prompts = session_maker(tracker, settings, {visit.frame for visit in visits}, detector)
        together = Together(tracker.backbone, factories, tracker.options, video, make=make)
        results: dict[str, dict[int, FrameResult]] = {name: {} for name in factories}
        done = 0
        with StopRequest() as stop:
            for prompt in prompts:
                together.add_prompt(prompt)
            way = together.propagate(settings.start, settings.stop, stride=settings.stride)
            with closing(way) as frames:  # type: ignore[type-var]
                for done, shown in enumerate(frames, 1):
                    for name, result in shown.items():
                        results[name][result.frame] = result
                    self._tell("follow", done, len(visits))
                    if stop.asked:
                        # What is held back still comes.
                        for session in together.sessions.values():
                            session.cancel()
            cancelled = stop.asked and done < len(visits)
        revised = {name: len(changed) for name, changed in self._revise(together, results).items()}
        labels: dict[int, str | None] = {prompt.object_id: prompt.label for prompt in settings.prompts}
        if settings.concepts:
            results, labels = self._matched(together, settings, results, truth)
        return self._conclude(video, together, results, revised, truth, labels, cancelled)

    def _matched(
        self,
        together: Together,
        settings: Settings,
        results: dict[str, dict[int, FrameResult]],
        truth: Truth | None,
    ) -> tuple[dict[str, dict[int, FrameResult]], dict[int, str | None]]:
        """Results in which the same id is the same object, and the names of the objects."""
        self.notes.append(str(detector_line(settings, by_default=self.wanted.job.detector is None)))
        for session in together.sessions.values():
            self.notes += [line for line in remarks_of(session) if line not in self.notes]
        alike = numbered_alike(results, truth)
        labels: dict[int, str | None] = {}
        for name, run in results.items():
            for frame, result in run.items():
                own = together.sessions[name].labels
                new = {id(item.mask): item.object_id for item in alike[name][frame].objects}
                labels |= {new[id(item.mask)]: own.get(item.object_id) for item in result.objects}
        if not labels:
            self.notes.append("Nothing was found.")
        return alike, labels

    def _revise(self, together: Together, results: dict[str, dict[int, FrameResult]]) -> dict[str, list[FrameResult]]:
        changed = together.finalize()
        for name, frames in changed.items():
            for result in frames:
                items: dict[int, TrackedObject] = {}
                if result.frame in results[name]:
                    items = {item.object_id: item for item in results[name][result.frame].objects}
                items |= {item.object_id: replace(item, source=Source.REVISED) for item in result.objects}
                results[name][result.frame] = replace(result, objects=tuple(items.values()))
        return changed

    def _conclude(
        self,
        video: VideoSource,
        together: Together,
        results: dict[str, dict[int, FrameResult]],
        revised: Mapping[str, int],
        truth: Truth | None,
        labels: Mapping[int, str | None],
        cancelled: bool,
    ) -> Comparison:
        self._tell("compare", 0, None)
        agreement = agreement_of(results)
        spot = None if agreement is None else where_to_look(agreement)
        quality = _qualities(results, truth)
        done = Comparison(
            out=self.wanted.folder,
            state="cancelled" if cancelled else "finished",
            rows=[_row(name, together, results, quality, agreement, revised[name]) for name in results],
            frames=len(next(iter(results.values()))),
            views=together.sights.views,
            decode_s=together.decode_s,
            encode_s=together.encode_s,
            pairs={} if agreement is None else {pair: float(v.mean()) for pair, v in agreement.pairs.items()},
            look=_look(spot, agreement, video),
            results=results,
            notes=[*self.notes, *video.warnings],
        )
        folder = self.wanted.folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        # The cheap ones first: a second Ctrl-C while the film is drawn keeps them.
        write_tables(folder, done, quality, self.wanted.job.video)
        draw_plot(folder / PLOT, results, quality, agreement, spot, video)
        self._tell("film", 0, None)
        draw_film(folder / FILM, video, results, truth, labels)
        done.files = [(name, folder / name) for name in FILES if (folder / name).exists()]
        return done

    def _tell(self, stage: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(Progress(stage, done, total))


def _check_folder(wanted: CompareJob) -> None:
    folder = wanted.folder
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file; give a folder.")
    there = [name for name in FILES if (folder / name).exists()]
    if there and not wanted.overwrite:
        raise InputError(f"{folder} holds {', '.join(there)} already; add --overwrite, or give another --out.")


def _qualities(results: Results, truth: Truth | None) -> dict[tuple[str, int], Quality]:
    """By policy and object; nothing for objects that the truth does not have."""
    if truth is None:
        return {}
    known = {object_id for masks in truth.values() for object_id in masks}
    found: dict[tuple[str, int], Quality] = {}
    for name, run in results.items():
        for object_id in objects_of(results):
            quality = quality_of(run, truth, object_id) if object_id in known else None
            if quality is not None:
                found[name, object_id] = quality
    return found


def _row(
    name: str,
    together: Together,
    results: Results,
    quality: Mapping[tuple[str, int], Quality],
    agreement: Agreement | None,
    revised: int,
) -> Row:
    usage = together.usage[name]
    scored = [value for (policy, _), value in quality.items() if policy == name]
    objects: dict[int, dict[str, float | None]] = {}
    for object_id in objects_of(results):
        shown = [item for result in results[name].values() for item in result.objects if item.object_id == object_id]
        there = [item for item in shown if item.present]
        own = quality.get((name, object_id))
        objects[object_id] = {
            "j": None if own is None else own.j,
            "f": None if own is None else own.f,
            "present": len(there) / len(shown) if shown else 0.0,
            "score": float(np.mean([item.score for item in there])) if there else None,
        }
    followed = sum(item.source is not Source.PROMPT for run in results[name].values() for item in run.objects)
    return Row(
        policy=name,
        j=float(np.mean([value.j for value in scored])) if scored else None,
        f=float(np.mean([value.f for value in scored])) if scored else None,
        j_and_f=float(np.mean([value.both for value in scored])) if scored else None,
        agreement=None if agreement is None else float(agreement.of(name).mean()),
        seconds=together.alone_s(name),
        own_seconds=usage.own_s,
        units=usage.units,
        peak_bytes=usage.peak_bytes,
        revised=revised,
        uncertain=sum(usage.uncertain.values()) / max(followed, 1) if usage.uncertain else None,
        objects=objects,
    )


def _look(spot: Spot | None, agreement: Agreement | None, video: VideoSource) -> str:
    if agreement is None:
        return "There is nothing to compare with: name two policies or more."
    if spot is None:
        return "The policies show nearly the same throughout."
    where = str(spot.first) if spot.first == spot.last else f"{spot.first} to {spot.last}"
    second = float(video.times_s[spot.first])
    return (
        f"Look at frames {where} ({second:.1f} s), object {spot.object_id}: {spot.pair[0]} and {spot.pair[1]} differ most "
        f"there (J {spot.j:.2f})."
    )


def _listed(ids: list[int]) -> str:
    return ", ".join(map(str, ids)) or "none"
