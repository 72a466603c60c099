"""A run from pictures to a detector: split, measure, train, measure again, and keep the result only if it is no worse."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch

from keepsight.core import InputError
from keepsight.evaluation.paired import Estimate
from keepsight.evaluation.report import write_run
from keepsight.models.devices import resolve_device
from keepsight.pipeline.settings import weights_fingerprint
from keepsight.store.files import replacing_file
from keepsight.training.detector.album import Album, join, split
from keepsight.training.detector.batches import draw
from keepsight.training.detector.coco import NAMES, read_coco
from keepsight.training.detector.features import KeptFeatures, Looker
from keepsight.training.detector.judge import Judge
from keepsight.training.detector.learner import DetectorLearner
from keepsight.training.detector.projects import read_footage
from keepsight.training.detector.samples import draw_samples
from keepsight.training.detector.scoring import Scores, difference
from keepsight.training.detector.settings import DetectorSettings
from keepsight.training.detector.trainee import Trainee, check_base, load_trainee
from keepsight.training.detector.words import Words
from keepsight.training.ranks import Ranks
from keepsight.training.run_folder import SOURCES, VERDICT, RunFolder, is_better, measures_of
from keepsight.training.tracker.budget import SLACK, free_bytes, weigh
from keepsight.training.tracker.curve import draw_curve
from keepsight.training.trainer import Schedule, Trainer

Log = Callable[[str], None]
_SHOWN = 9


@dataclass(frozen=True)
class Sources:
    """Where pictures come from.

    Attributes:
        data: COCO files, folders with one, projects, exports, data sets of videos.
        images: folder of the pictures of COCO files; default: beside the file.
        held_out: more such for the measurement; none: a share of ``data`` is kept back.
        tracked: masks of projects that nobody looked at count as true, too.
    """

    data: tuple[Path, ...]
    images: Path | None = None
    held_out: tuple[Path, ...] = ()
    tracked: bool = False

    def resolved(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "data": [str(path.resolve()) for path in self.data],
            "images": None if self.images is None else str(self.images.resolve()),
            "held_out_data": [str(path.resolve()) for path in self.held_out],
            "tracked": self.tracked,
        }


@dataclass(frozen=True)
class Place:
    """Where a run computes and keeps things; may change when it goes on.

    Attributes:
        cache: folder for features; default: ``cache`` in the run's folder.
        cache_gb: what it may hold.
        memory_gb: memory that may be used; default: what is free.
    """

    device: str = "auto"
    cache: Path | None = None
    cache_gb: float = 20.0
    memory_gb: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        better: the result is offered as a detector, in ``folder``; otherwise its weights lie below it.
        tracks: ``folder`` has the tracker too.
    """

    better: bool
    folder: Path
    weights: Path
    tracks: bool
    before: Scores
    after: Scores
    gain: Estimate

    def lines(self) -> list[str]:
        """For people, the verdict last."""
        told = [
            f"{name}: {value:.3f} before, {self.after.summary[name]:.3f} after"
            for name, value in self.before.summary.items()
        ]
        span = ""
        if self.gain.low is not None and self.gain.high is not None:
            span = f", 95 % interval {self.gain.low:+.3f} to {self.gain.high:+.3f} over {self.gain.videos} pictures"
        told.append(
            f"{self.after.headline} {self.gain.value:+.3f}{span}{f' ({self.gain.why})' if self.gain.why else ''}"
        )
        use = f"--model {self.folder} or --detector {self.folder}" if self.tracks else f"--detector {self.folder}"
        if not self.better:
            told.append(
                f"Not better, so this is no model: the weights are in {self.weights}. Try a lower --rate or fewer --steps, or "
                "add pictures that are more like those kept back."
            )
        elif self.gain.certain:
            told.append(f"Better: use it as {use}")
        else:
            told.append(
                f"Not worse, but the interval holds zero, so it may be luck; use it as {use}, or add pictures for a surer answer."
            )
        return told


def train_detector(
    sources: Sources,
    out: Path,
    settings: DetectorSettings,
    place: Place | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    log: Log = print,
) -> Outcome | None:
    """Fine-tunes SAM 3's image detector and says whether it helped.

    Args:
        out: folder of the run: ``settings.json``, ``samples.jpg`` (what is shown), ``curve.csv``, ``checkpoint.pt``,
            ``held-out/`` (truth and finds, in COCO's form), ``before/`` and ``after/`` (reports), ``verdict.json``, and the
            detector.
        resume: go on from the checkpoint in the folder, with the settings that it began with.
        overwrite: replace an earlier run.
        log: takes one line at a time.

    Returns:
        What came of it; ``None`` in all but the first of several processes.

    Raises:
        InputError, ModelError, StoreError: with one line that says what to do.
    """
    place = place or Place()
    for path in (*sources.data, *sources.held_out, *([sources.images] if sources.images else [])):
        if not path.exists():
            raise InputError(f"{path} does not exist.")
    check_base(settings.base)
    device = resolve_device(place.device)
    ranks = Ranks.of_environment(str(device))
    if ranks.size > 1 and device.type == "cuda":
        torch.cuda.set_device(ranks.rank % torch.cuda.device_count())
        device = torch.device("cuda", torch.cuda.current_device())
    folder = RunFolder(out, {**settings.resolved(), **sources.resolved()})
    if ranks.first:
        folder.begin(resume=resume, overwrite=overwrite)
    ranks.wait()
    try:
        run = _Run(folder, sources, settings, place, device, ranks, ranks.voice(log))
        return run(resume=resume)
    finally:
        ranks.leave()


class _Run:
    def __init__(
        self,
        folder: RunFolder,
        sources: Sources,
        settings: DetectorSettings,
        place: Place,
        device: torch.device,
        ranks: Ranks,
        log: Log,
    ) -> None:
        self.folder, self.sources, self.settings, self.place = folder, sources, settings, place
        self.device, self.ranks, self.log = device, ranks, log
        self.scratch = folder.path / SOURCES / str(ranks.rank)

    def __call__(self, *, resume: bool) -> Outcome | None:
        learned, held = self._albums()
        trainee = load_trainee(self.settings, self.device)
        looker = self._looker(trainee)
        words = Words(trainee.detector, trainee.tokenizer, learning=self.settings.text_rate > 0)
        judge = Judge(held, _names(held), self.folder.path / "held-out")
        steps = self._steps(learned)
        if self.ranks.first:
            self._write(learned, held, trainee, steps)
        before = judge(looker, words, "before", self.log, again=not resume) if self.ranks.first else None
        self.ranks.wait()
        learner = DetectorLearner(trainee, looker, words, learned, _names(learned), self.ranks.size)
        trainer = self._trainer(learner, steps)
        resumed = resume and trainer.resume()
        self._fit(learner, resumed=resumed)
        self._agree(learner, trainer)
        trainer.run(learner.step, every=max(1, min(25, steps // 20)))
        learner.close()
        self.ranks.wait()
        if before is None:  # the first process tells
            return None
        return self._finish(trainee, trainer, looker, words, judge, before)

    # -- what there is -----------------------------------------------------------------------------------------------
    def _albums(self) -> tuple[Album, Album]:
        whole = self._read(self.sources.data, "data")
        self.log(f"data: {whole.line()}")
        if self.sources.held_out:
            learned, held = whole, self._read(self.sources.held_out, "held-out")
            learned_from = {picture.pixels.identity for picture in learned.pictures}
            both = [picture.name for picture in held.pictures if picture.pixels.identity in learned_from]
            if both:
                raise InputError(
                    f"{len(both)} pictures are both to learn from and to measure on, such as {both[0]}; a measurement on them "
                    "says nothing."
                )
        else:
            learned, held = split(whole, self.settings.held_out, self.settings.seed)
        self.log(f"learning from {learned.line()}")
        self.log(f"kept back: {held.line()}")
        return learned, held

    def _read(self, paths: Sequence[Path], name: str) -> Album:
        albums, others = [], []
        for path in paths:
            if _is_coco(path):
                albums.append(read_coco(path, self.sources.images))
            else:
                others.append(path)
        if others:
            step, tracked = self.settings.frame_step, self.sources.tracked
            albums.append(read_footage(others, self.scratch / name, frame_step=step, tracked=tracked))
        return join(albums)

    def _steps(self, learned: Album) -> int:
        if self.settings.steps is not None:
            return self.settings.steps
        shown = self.settings.batch * self.settings.accumulate * self.ranks.size
        return max(1, round(self.settings.epochs * len(learned.pictures) / shown))

    def _looker(self, trainee: Trainee) -> Looker:
        amp = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        if self.settings.sees_anew:
            return Looker(trainee.detector, self.device, None, amp)
        root = self.place.cache or self.folder.path / "cache"
        dtype = torch.bfloat16 if amp else torch.float32
        looker = Looker(trainee.detector, self.device, None, amp)
        made_by = f"{weights_fingerprint(trainee.folder)}-{looker.eyes.image_size}-{'bf16' if amp else 'fp32'}"
        looker.kept = KeptFeatures(root / made_by, dtype, self.place.cache_gb * 1e9)
        return looker

    def _write(self, learned: Album, held: Album, trainee: Trainee, steps: int) -> None:
        parameters = sum(parameter.numel() for group in trainee.groups for parameter in group.parameters)
        every = sum(parameter.numel() for parameter in trainee.detector.parameters())
        self.log(
            f"{parameters / 1e6:.3g} of {every / 1e6:.3g} million weights learn; {steps} steps of {self.settings.batch} x "
            f"{self.settings.accumulate} pictures"
        )
        self.folder.write_settings(
            steps=steps,
            base_weights=weights_fingerprint(trainee.folder),
            training=[picture.name for picture in learned.pictures],
            held_out=[picture.name for picture in held.pictures],
            phrases=learned.phrases,
        )
        some = [question for number in range(_SHOWN) for question in draw(learned, self.settings, number)][:_SHOWN]
        sheet = draw_samples(learned, some)
        with replacing_file(self.folder.path / "samples.jpg") as path:
            cv2.imwrite(str(path), sheet[..., ::-1])
        self.log(f"what is shown: {self.folder.path / 'samples.jpg'}")

    # -- the training ------------------------------------------------------------------------------------------------
    def _trainer(self, learner: DetectorLearner, steps: int) -> Trainer:
        settings = self.settings
        warmup = max(1, min(settings.warmup, steps // 4))
        trainer: Trainer

        def shrink() -> bool:
            smaller = learner.shrink()
            if smaller:
                trainer.accumulate = learner.settings.accumulate
                self._tell_size(learner, "the GPU's memory is full")
            return smaller

        trainer = Trainer(
            learner.trainee.learned,
            learner.trainee.groups,
            Schedule(settings.rate, steps, None, warmup, shape=settings.schedule),
            self.folder.path,
            ema=settings.average,
            weight_decay=settings.decay,
            clip=settings.clip,
            log=self.log,
            accumulate=settings.accumulate,
            precision=learner.precision,
            ranks=self.ranks,
            shrink=shrink,
            notes=learner.notes,
        )
        return trainer

    def _agree(self, learner: DetectorLearner, trainer: Trainer) -> None:
        """Batches of the size that the first process chose, in all of them."""
        for name in ("batch", "accumulate", "phrases"):
            mine = getattr(learner.settings, name)
            if (told := int(self.ranks.agree(mine))) != mine:
                learner.notes[name] = told
        trainer.accumulate = learner.settings.accumulate

    def _fit(self, learner: DetectorLearner, *, resumed: bool) -> None:
        """Weighs the fullest batch and makes batches smaller until it fits."""
        wanted = self.place.memory_gb
        free = free_bytes(self.device) if wanted is None else int(wanted * 1e9)
        detector = learner.trainee.detector
        # Beside the model, which is there already: gradients, two moments and the average of what learns.
        learns = sum(p.numel() * p.element_size() for group in learner.trainee.groups for p in group.parameters)
        while True:
            try:
                step = weigh(detector, learner.fullest)
            except torch.OutOfMemoryError:
                step = 2 * free
            total = 4 * learns + int(SLACK * step)
            size = learner.settings
            what = f"about {total / 1e9:.2g} GB for {size.batch} pictures of {size.phrases} phrases at a time"
            if total <= free or resumed:
                self.log(f"memory: {what}; {free / 1e9:.3g} GB are free")
                return
            if not learner.shrink():
                raise InputError(
                    f"Training needs {what}, and {free / 1e9:.3g} GB are free; free some memory, leave masks out with "
                    "--no-masks, or use a machine with more."
                )
            self._tell_size(learner, f"{what} would not fit into {free / 1e9:.3g} GB")

    def _tell_size(self, learner: DetectorLearner, why: str) -> None:
        now = learner.settings
        self.log(f"{why}: {now.batch} pictures of {now.phrases} phrases at a time from here on")

    # -- what comes out ----------------------------------------------------------------------------------------------
    def _finish(
        self, trainee: Trainee, trainer: Trainer, looker: Looker, words: Words, judge: Judge, before: Scores
    ) -> Outcome:
        trainee.learned.load_state_dict(trainer.average)
        after = judge(looker, words, "after", self.log)
        trial = self.folder.trial()
        trainee.save(trial)
        gain = difference(before, after, self.settings.rounds, self.settings.seed)
        better = is_better(gain)
        weights = self.folder.settle(better=better)
        write_run(judge.results(before, self.settings.base), self.folder.path / "before")
        worst = judge.pictures(after, "after")
        write_run(judge.results(after, str(self.folder.path)), self.folder.path / "after", pictures=worst)
        if (self.folder.path / "curve.csv").exists():
            draw_curve(self.folder.path / "curve.csv", self.folder.path / "curve.png")
        shutil.rmtree(self.scratch.parent, ignore_errors=True)
        measures = measures_of(before.summary, after.summary, {after.headline: gain})
        verdict = {"better": better, "weights": str(weights), "tracks": trainee.keeps_tracker, "measures": measures}
        self.folder.write(VERDICT, verdict)
        return Outcome(better, self.folder.path, weights, trainee.keeps_tracker, before, after, gain)


def _is_coco(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() == ".json"
    found = any((path / name).is_file() for name in NAMES) or any(path.glob("annotations/instances_*.json"))
    return found or (len(list(path.glob("*.json"))) == 1 and not (path / "export.json").is_file())


def _names(album: Album) -> tuple[str, ...]:
    """Names of files for the features of pictures: the same picture has the same one in every run."""
    return tuple(hashlib.sha256(picture.pixels.identity.encode()).hexdigest()[:24] for picture in album.pictures)
