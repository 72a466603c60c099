"""A set of phrases in video from beginning to end: what is missing is predicted, what is there is scored and reported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from keepsight.core import Cancelled, Concept, InputError, MemoryExhausted, StoreError
from keepsight.evaluation.concepts.dataset import SetVideo, read_set
from keepsight.evaluation.concepts.following import PhraseFollower, load_follower
from keepsight.evaluation.concepts.media import FrameChoice, SetMedia
from keepsight.evaluation.concepts.predictions import (
    RESULTS,
    Predictions,
    entries_of,
    read_predictions,
    write_predictions,
)
from keepsight.evaluation.concepts.scoring import score
from keepsight.evaluation.concepts.worst import worst_pictures
from keepsight.evaluation.report import write_run
from keepsight.evaluation.results import Results
from keepsight.evaluation.running import Shard, check_shard, hold_to
from keepsight.pipeline.job import Progress, ProgressCallback, SegmentJob
from keepsight.pipeline.settings import Settings, settings_of
from keepsight.pipeline.trouble import is_out_of_memory

PREDICTIONS, SETTINGS = "predictions", "predictions.json"
PhraseChoice = Literal["all", "annotated"]


@dataclass(frozen=True)
class ConceptJob:
    """What to evaluate, on what, and where to write.

    Attributes:
        annotations: JSON of the set (SA-Co/VEval, YTVIS).
        media: folder of the pictures; needed to follow, and for pictures in the report.
        out: folder of the run; default ``out/eval-NAME``.
        model, policy, policy_options, selection, detector, rules, device, dtype, zoom: as for ``keepsight segment``; ``None`` is
            the default.
        frames: which frames are followed, see :data:`keepsight.evaluation.concepts.media.FrameChoice`.
        phrases: of a set that does not say which phrases are asked for: all of them in every video, or those annotated there.
        skip_missing: leave out videos whose pictures are not there.
        shard: part of the videos that is followed.
        predictions: ``results.json`` to score; nothing is followed then.
        overwrite: throw earlier predictions of the folder away.
    """

    annotations: Path
    media: Path | None = None
    out: Path | None = None
    model: str | None = None
    policy: str | None = None
    policy_options: Mapping[str, Any] = field(default_factory=dict)
    selection: str | None = None
    detector: str | None = None
    rules: Mapping[str, Any] | None = None
    device: str | None = None
    dtype: str | None = None
    zoom: bool | None = None
    frames: FrameChoice = "listed"
    phrases: PhraseChoice = "all"
    skip_missing: bool = False
    shard: Shard = (1, 1)
    predictions: Path | None = None
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self.out or Path("out") / f"eval-{self.annotations.stem}"

    def settings(self) -> Settings:
        """How things are found and followed.

        Raises:
            InputError: a policy and a selection that contradict each other.
            ModelError: there is no such model.
        """
        return settings_of(
            SegmentJob(
                video="",
                concepts=(Concept(1, "any"),),  # its policy may be that of what is found by words
                model=self.model,
                policy=self.policy,
                policy_options=dict(self.policy_options) or None,
                selection=self.selection,
                detector=self.detector,
                rules=dict(self.rules) if self.rules is not None else None,
                device=self.device,
                dtype=self.dtype,
                zoom=self.zoom,
            )
        )


@dataclass(frozen=True)
class ConceptOutcome:
    """What a run has come to.

    Attributes:
        results: ``None`` where predictions are still missing, or the truth is withheld.
        out: folder of the report.
        predictions: what can be handed in; ``None`` while some are missing.
        followed: videos that this process has followed.
        missing: videos that have no prediction yet, of other shards.
        lines: what a person should know.
    """

    results: Results | None
    out: Path
    predictions: Path | None
    followed: int = 0
    missing: int = 0
    lines: tuple[str, ...] = ()


def run_concepts(job: ConceptJob, progress: ProgressCallback | None = None) -> ConceptOutcome:
    """Predicts what has no prediction yet, and scores once all is there.

    Raises:
        InputError, ModelError, StoreError: one line for the person.
        Cancelled: Ctrl-C while videos were followed; those that were finished are kept.
    """
    return _Run(job, progress or (lambda event: None)).run()


class _Run:
    def __init__(self, job: ConceptJob, tell: ProgressCallback) -> None:
        self.job, self.tell = job, tell
        check_shard(job.shard, ray=False, overwrite=job.overwrite, folder=job.folder, what="videos")
        self.tell(Progress("read the set", 0, None))
        self.set = read_set(job.annotations)
        self.media = None if job.media is None else SetMedia(job.media, job.frames)
        self.lines: list[str] = []
        self.settings: dict[str, Any] = {"dataset": job.annotations.stem, "annotations": str(job.annotations)}
        if job.media is not None:
            self.settings["media"] = str(job.media)

    def run(self) -> ConceptOutcome:
        job = self.job
        if job.predictions is not None:
            self.settings["predictions"] = str(job.predictions)
            self.tell(Progress("read the predictions", 0, None))
            found = read_predictions(job.predictions, self.set)
            if not self.set.has_truth:
                raise InputError(f"{job.annotations} has no annotations, so there is nothing to score against.")
            return ConceptOutcome(self._report(found), job.folder, job.predictions)
        if self.media is None:
            raise InputError(
                "Say where the videos' pictures are with --media, or give predictions to score with --pred."
            )
        self._look_for_pictures(self.media)
        followed = self._follow(self.media)
        missing = [video for video in self.set.videos.values() if not self._file(video).is_file()]
        if missing:
            line = f"{len(missing)} videos are left to other shards; the one that ends last scores them all."
            return ConceptOutcome(None, job.folder, None, followed, len(missing), (*self.lines, line))
        handed_in = job.folder / RESULTS
        write_predictions(handed_in, self._entries())
        if not self.set.has_truth:
            line = f"{job.annotations.name} has no annotations; hand in {handed_in} where they are."
            return ConceptOutcome(None, job.folder, handed_in, followed, 0, (*self.lines, line))
        results = self._report(read_predictions(handed_in, self.set))
        return ConceptOutcome(results, job.folder, handed_in, followed, 0, tuple(self.lines))

    def _look_for_pictures(self, media: SetMedia) -> None:
        """Refuses videos without pictures, or leaves them out."""
        missing = [video for video in self.set.videos.values() if not media.has(video)]
        if not missing:
            return
        which = f"{len(missing)} of {len(self.set.videos)} videos have no pictures below {media.folder}"
        if not self.job.skip_missing or len(missing) == len(self.set.videos):
            raise InputError(
                f"{which}; the first is {missing[0].name} ({missing[0].file_names[0]}). Leave them out with --skip-missing."
            )
        gone = {video.number for video in missing}
        self.settings["left out"] = sorted(video.name for video in missing)
        self.set = replace(
            self.set,
            videos={number: video for number, video in self.set.videos.items() if number not in gone},
            pairs=tuple(pair for pair in self.set.pairs if pair.video.number not in gone),
            remarks=(*self.set.remarks, f"{which} and were left out: the figures are not those of the whole set."),
        )

    # -- predictions -------------------------------------------------------------------------------------------------
    def _file(self, video: SetVideo) -> Path:
        return self.job.folder / PREDICTIONS / f"{video.number}.json"

    def _follow(self, media: SetMedia) -> int:
        """Follows this shard's videos that have no prediction; how many."""
        job = self.job
        follower, settled = load_follower(job.settings(), self.tell)
        made: dict[str, Any] = {
            "model": settled.model,
            "weights": settled.weights,
            "policy": settled.policy,
            "policy_options": dict(settled.policy_options),
            "detector": settled.detector,
            "detector_weights": settled.detector_weights,
            "rules": dict(settled.rules),
            "device": settled.device,
            "dtype": settled.dtype,
            "zoom": settled.zoom,
            "frames": job.frames,
        }
        if not self.set.says_pairs:
            made["phrases"] = job.phrases
        self.settings |= made
        if job.overwrite:
            self._clear()
        known = hold_to(
            job.folder / SETTINGS,
            made | {"the set's videos and phrases": self._asked_digest()},
            f"The predictions in {job.folder}",
        )
        if not known and any((job.folder / PREDICTIONS).glob("*.json")):
            raise InputError(f"{job.folder / PREDICTIONS} holds predictions that no run has made; give another --out.")
        number, parts = job.shard
        mine = list(self.set.videos.values())[number - 1 :: parts]
        waiting = [video for video in mine if not self._file(video).is_file()]
        for place, video in enumerate(waiting):
            try:
                self._follow_one(
                    follower, media, video, f"{video.name} ({len(mine) - len(waiting) + place + 1} of {len(mine)})"
                )
            except KeyboardInterrupt:
                done = len(mine) - len(waiting) + place
                raise Cancelled(
                    f"Stopped; {done} of {len(mine)} videos are done and kept. The same command goes on from there."
                ) from None
        for line, names in follower.remarks.items():
            also = f" and {len(names) - 1} other videos" if len(names) > 1 else ""
            self.lines.append(f"{names[0]}{also}: {line}")
        return len(waiting)

    def _follow_one(self, follower: PhraseFollower, media: SetMedia, video: SetVideo, stage: str) -> None:
        asked = self.set.asked(video, known_only=self.job.phrases == "annotated")
        entries: list[dict[str, Any]] = []
        if asked:
            footage = media.open(video)
            with footage.source, _enough_memory(video):
                found = follower.follow(
                    footage,
                    [phrase for _, phrase in asked],
                    lambda done, total: self.tell(Progress(stage, done, total)),
                )
            for (category, _), tubes in zip(asked, found, strict=True):
                entries += entries_of(video, category, tubes)
        write_predictions(self._file(video), entries)

    def _entries(self) -> Iterator[dict[str, Any]]:
        """Of all videos, a video at a time."""
        for video in self.set.videos.values():
            path = self._file(video)
            try:
                yield from json.loads(path.read_text(encoding="utf-8"))
            except OSError as error:
                raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
            except ValueError as error:
                raise InputError(f"{path} is damaged; remove it and run the command again.") from error

    def _clear(self) -> None:
        for path in (self.job.folder / SETTINGS, self.job.folder / RESULTS):
            path.unlink(missing_ok=True)
        for path in (self.job.folder / PREDICTIONS).glob("*.json"):
            if path.stem.lstrip("-").isdecimal():
                path.unlink()

    def _asked_digest(self) -> str:
        """What is asked in which frames of which video: predictions are about nothing else."""
        digest = hashlib.sha256()
        for video in self.set.videos.values():
            asked = self.set.asked(video, known_only=self.job.phrases == "annotated")
            digest.update(json.dumps([video.number, video.file_names, asked]).encode())
        return digest.hexdigest()[:16]

    # -- report ------------------------------------------------------------------------------------------------------
    def _report(self, found: Predictions) -> Results:
        self.tell(Progress("score", 0, None))
        results = score(self.set, found, self.settings)
        pictures = (
            worst_pictures(
                results, self.set, found, self.media, lambda done: self.tell(Progress("pictures", done, None))
            )
            if self.media is not None
            else []
        )
        write_run(results, self.job.folder, pictures=pictures)
        return results


@contextmanager
def _enough_memory(video: SetVideo) -> Iterator[None]:
    """Inside, exhausted memory becomes a line for the person."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryExhausted(
            f"{video.name}: not enough memory for all that was found; use a smaller --model, another --device, or limit what is "
            "followed with --rule max_objects=N in another --out. Videos that are done are kept."
        ) from error
