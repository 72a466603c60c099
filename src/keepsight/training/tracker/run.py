"""A run from data to a model: split, measure, preview, train, measure again, and keep the result only if it is no worse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from keepsight.core import InputError, StoreError
from keepsight.evaluation.paired import Estimate
from keepsight.evaluation.report import write_run
from keepsight.evaluation.results import Results
from keepsight.models.devices import resolve_device
from keepsight.models.loading import load_backbone
from keepsight.models.registry import ModelEntry, resolve
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.store.files import replacing_file
from keepsight.training.ranks import Ranks
from keepsight.training.tracker.budget import fit, free_bytes
from keepsight.training.tracker.builtin_learner import CLIPS, BuiltinLearner, BuiltinOptions
from keepsight.training.tracker.curve import draw_curve
from keepsight.training.tracker.episode import ClipOptions
from keepsight.training.tracker.footage import collect
from keepsight.training.tracker.judge import Judgement, gains, judge, pictures, worthless
from keepsight.training.tracker.learner import PARTS, Learner, Sam2Learner, check_lora
from keepsight.training.tracker.sampler import Sampler
from keepsight.training.tracker.split import Split, split
from keepsight.training.trainer import Schedule, Trainer

KINDS = ("mask", "box", "click")
SETTINGS, REFUSED, TRIAL, SOURCES = "settings.json", "not-better", ".trial", ".sources"
_BEGUN = {"cache", SOURCES}
"""What a run that was stopped at once may leave behind."""

_FREE = {"out", "device", "cache", "memory_gb"}
"""Settings that may change when a run goes on."""


@dataclass(frozen=True)
class TrackerTraining:
    """What is to be done; ``None`` takes the default of the model's family, and is resolved before anything begins.

    Attributes:
        data: see :func:`keepsight.training.tracker.footage.collect`, with ``format_name``, ``video`` and ``tracked``.
        base: model to begin from.
        held_out: share that is kept back; up: surer to say whether it helped, less to learn from.
        steps, minutes: how long; exactly one. A run of minutes cannot be repeated bit by bit.
        rate: learning rate. Up: faster, until what the model knew is lost.
        frames, objects: of a clip, at most. Up: learns to remember longer and more; memory grows.
        clicks: corrective clicks a frame (SAM 2 families).
        stride: at most so many frames with truth from one frame of a clip to the next.
        reverse: share of clips that run backward.
        parts: what learns beside LoRA, of "decoder" and "memory" (SAM 2 families; all heads of the built-in model).
        lora: rank of LoRA on the image encoder; 0 leaves it frozen, with its features kept on the disk.
        keep: how far the result is pulled back to the base, in [0, 1): weights lie between the two (Wortsman et al. 2022).
            Up: forgets less of what it knew, learns less of what is new.
        accumulate: clips whose gradients make one step (SAM 2 families; the built-in model has three in a batch).
        kinds: how objects are pointed at where it is measured; all count alike.
        cache: folder for features; default: ``cache`` in ``out``.
        cache_gb: what it may hold.
        memory_gb: memory that may be used; default: what is free.
    """

    data: tuple[Path, ...]
    out: Path
    base: str = "builtin"
    format_name: str | None = None
    video: str | None = None
    tracked: bool = False
    held_out: float = 0.2
    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    rate: float | None = None
    frames: int | None = None
    objects: int = 3
    clicks: int = 3
    stride: int = 3
    reverse: float = 0.5
    parts: tuple[str, ...] = ("decoder", "memory")
    lora: int = 0
    keep: float | None = None
    accumulate: int = 1
    image_size: int | None = None
    kinds: tuple[str, ...] = ("mask", "click")
    device: str = "auto"
    cache: Path | None = None
    cache_gb: float = 10.0
    memory_gb: float | None = None

    def settled(self, family: str) -> TrackerTraining:
        """With every default filled in.

        Raises:
            InputError: a setting that cannot be, with one line that says what to do.
        """
        builtin = family == "builtin"
        check_lora(self.lora, family)
        if builtin and self.image_size is not None:
            raise InputError("The built-in model has one input size; leave --image-size out.")
        if self.steps is not None and self.minutes is not None:
            raise InputError("Give --steps or --minutes, not both.")
        for name, value, low, high in (
            ("--held-out", self.held_out, 0.01, 0.9),
            ("--reverse", self.reverse, 0.0, 1.0),
            ("--keep", self.keep or 0.0, 0.0, 0.99),
        ):
            if not low <= value <= high:
                raise InputError(f"{name} is a share from {low:g} to {high:g}, not {value:g}.")
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise InputError(f"--judge is of {', '.join(KINDS)}, not {','.join(self.kinds) or 'nothing'}.")
        if not self.parts or not set(self.parts) <= set(PARTS):
            raise InputError(f"--parts are {' and '.join(PARTS)}, not {','.join(self.parts) or 'none'}.")
        return replace(
            self,
            steps=self.steps or (None if self.minutes else 300),
            rate=self.rate if self.rate is not None else (1e-4 if builtin else 2e-5),
            frames=self.frames or (5 if builtin else 8),
            keep=self.keep if self.keep is not None else (0.5 if builtin else 0.0),
        )


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        better: the result is offered as a model, in ``folder``; otherwise it lies there under another name.
        weights: where they are.
    """

    better: bool
    folder: Path
    weights: Path
    before: Results
    after: Results
    gain: dict[str, Estimate]
    interval: str
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people, the verdict last."""
        told = []
        for name, item in self.gain.items():
            span = "" if item.low is None or item.high is None else f" ({item.low:+.3f} to {item.high:+.3f})"
            old, new = self.before.summary[name], self.after.summary[name]
            told.append(f"{name.replace('@', ' by ')}: {old:.3f} before, {new:.3f} after, {item.value:+.3f}{span}")
        if any(item.low is not None for item in self.gain.values()):
            told.append(f"95 % intervals {self.interval}")
        if not self.better:
            told.append(
                f"Not better, so this is no model: the weights are in {self.weights}. Try a lower --rate or a higher --keep, "
                "correct more frames, or give videos that are more like those kept back."
            )
        elif self.gain["J&F"].certain:
            told.append(f"Better: use it as --model {self.folder}")
        else:
            why = "too little was kept back for an interval"
            if self.gain["J&F"].low is not None:
                why = "the interval holds zero"
            told.append(
                f"Not worse, but it may be luck, as {why}: use it as --model {self.folder}, or correct more frames for a surer "
                "answer."
            )
        return told


def train_tracker(
    job: TrackerTraining, *, resume: bool = False, overwrite: bool = False, log: Callable[[str], None] = print
) -> Outcome | None:
    """Fine-tunes a tracker on true masks and says whether it helped.

    Args:
        resume: go on from the checkpoint in the folder, with the settings that it began with.
        overwrite: replace an earlier run.
        log: takes one line at a time.

    Returns:
        What came of it; ``None`` in all but the first of several processes.

    Raises:
        InputError, ModelError, StoreError: with one line that says what to do.
    """
    entry = resolve(job.base)
    job = job.settled(entry.family)
    device = str(resolve_device(job.device))
    ranks = Ranks.of_environment(device)
    if ranks.first:
        _check_folder(job, resume=resume, overwrite=overwrite)
    ranks.wait()
    said = log if ranks.first else _silent
    try:
        return _run(job, entry, device, ranks, resume, said)
    finally:
        ranks.leave()


def _run(
    job: TrackerTraining, entry: ModelEntry, device: str, ranks: Ranks, resume: bool, log: Callable[[str], None]
) -> Outcome | None:
    scratch = job.out / SOURCES / str(ranks.rank)
    footage = collect(
        job.data,
        scratch,
        format_name=job.format_name,
        video=job.video,
        tracked=job.tracked,
    )
    parted = split(footage, job.held_out, job.seed)
    _tell(parted, log)
    if ranks.first:
        _write_settings(job, parted)
    torch.manual_seed(job.seed)  # LoRA begins at random
    learner, slots = _learner(job, entry, parted, device, log)
    start = {name: value.detach().cpu().clone() for name, value in learner.module.state_dict().items()}
    trainer = _trainer(job, learner, ranks, log)
    resumed = resume and trainer.resume()
    free = free_bytes(torch.device(device)) if job.memory_gb is None else int(job.memory_gb * 1e9)
    fit(learner, free, slots, resumed=resumed, log=log)
    ranks.wait()
    before = _before(job, parted, log) if ranks.first else None
    ranks.wait()
    every = max(1, (job.steps or 200) // 20)
    trainer.run(learner.step, every=every)
    ranks.wait()
    if before is None:  # the first process tells
        return None
    outcome = _finish(job, learner, parted, before, _pulled(trainer.average, start, job.keep or 0.0), log)
    for item in footage:
        item.close()
        item.project.close()
    shutil.rmtree(scratch.parent, ignore_errors=True)
    return outcome


# -- the parts --------------------------------------------------------------------------------------------------------
def _learner(
    job: TrackerTraining, entry: ModelEntry, parted: Split, device: str, log: Callable[[str], None]
) -> tuple[Learner, int]:
    cache, limit = job.cache or job.out / "cache", int(job.cache_gb * 1e9)
    assert job.frames is not None
    if entry.family == "builtin":
        from keepsight.models.builtin.backbone import BuiltinBackbone

        backbone = load_backbone(job.base, device=device)
        assert isinstance(backbone, BuiltinBackbone)
        # Its episodes turn a clip round themselves.
        sampler = Sampler(parted.training, stride=job.stride, reverse=0.0)
        options = BuiltinOptions(job.frames, job.objects)
        return (
            BuiltinLearner(
                backbone.network,
                sampler,
                options,
                job.seed,
                cache=cache,
                cache_bytes=limit,
                clips=min(CLIPS, job.steps or CLIPS),
                device=device,
                log=log,
            ),
            backbone.info.slots,
        )
    backbone = load_backbone(job.base, device=device, dtype="float32", image_size=job.image_size)
    assert isinstance(backbone, HFVideoBackbone)
    sampler = Sampler(parted.training, stride=job.stride, reverse=job.reverse)
    return (
        Sam2Learner(
            backbone,
            sampler,
            ClipOptions(job.frames, job.objects, clicks=job.clicks),
            job.seed,
            parts=job.parts,
            lora=job.lora,
            cache=cache,
            cache_bytes=limit,
        ),
        backbone.info.slots,
    )


def _trainer(job: TrackerTraining, learner: Learner, ranks: Ranks, log: Callable[[str], None]) -> Trainer:
    assert job.rate is not None
    seconds = None if job.minutes is None else job.minutes * 60
    warmup = max(1, min(50, (job.steps or 500) // 10))

    def shrink() -> bool:
        smaller = learner.shrink()
        if smaller:
            frames, objects = learner.clip_size()
            log(f"the GPU's memory is full: clips of {frames} frames and {objects} objects from here on")
        return smaller

    return Trainer(
        learner.module,
        learner.groups(),
        Schedule(job.rate, job.steps, seconds, warmup),
        job.out,
        log=log,
        clip=1.0,
        accumulate=job.accumulate,
        precision=learner.precision,
        ranks=ranks,
        shrink=shrink,
        notes=learner.notes,
    )


def _before(job: TrackerTraining, parted: Split, log: Callable[[str], None]) -> Judgement:
    log("before:")
    return judge(job.base, parted.held_out, job.kinds, device=job.device, image_size=job.image_size, log=log)


def _pulled(state: dict[str, Tensor], start: dict[str, Tensor], keep: float) -> dict[str, Tensor]:
    """Weights between what was learned and where it began; LoRA's updates shrink, which is the same for them."""
    if not keep:
        return state
    return {
        name: torch.lerp(value, start[name].to(value.device), keep)
        if value.is_floating_point() and "lora_A" not in name
        else value
        for name, value in state.items()
    }


def _finish(
    job: TrackerTraining,
    learner: Learner,
    parted: Split,
    before: Judgement,
    state: dict[str, Tensor],
    log: Callable[[str], None],
) -> Outcome:
    trial = job.out / TRIAL
    shutil.rmtree(trial, ignore_errors=True)
    trial.mkdir()
    weights = learner.write(state, trial)
    log("after:")
    try:
        after = judge(trial, parted.held_out, job.kinds, device=job.device, log=log)
    except InputError as error:  # it gives no numbers any more
        log(str(error))
        after = Judgement(worthless(before.results), {})
    after = replace(after, results=replace(after.results, settings={**after.results.settings, "model": str(job.out)}))
    gain, interval = gains(before.results, after.results)
    better = gain["J&F"].value >= 0
    place = job.out if better else job.out / REFUSED
    place.mkdir(exist_ok=True)
    # config.json is what makes a folder a model, so it comes last, and not at all where there is none to offer.
    shutil.move(weights, place / weights.name)
    if better:
        shutil.move(trial / "config.json", place / "config.json")
    shutil.rmtree(trial, ignore_errors=True)
    shown = pictures(parted.held_out, before, after)
    write_run(before.results, job.out / "before")
    write_run(after.results, job.out / "after", pictures=shown)
    if (job.out / "curve.csv").exists():
        draw_curve(job.out / "curve.csv", job.out / "curve.png")
    outcome = Outcome(better, job.out, place / weights.name, before.results, after.results, gain, interval)
    _write_verdict(job, outcome)
    return outcome


# -- the folder -------------------------------------------------------------------------------------------------------
def _check_folder(job: TrackerTraining, *, resume: bool, overwrite: bool) -> None:
    if job.out.exists() and not job.out.is_dir():
        raise StoreError(f"{job.out} is not a folder; choose another --out.")
    ours = (job.out / SETTINGS).is_file()
    if resume:
        if not ours:
            raise InputError(f"There is no run in {job.out} to go on with; leave --resume out.")
        _check_same(job)
    elif ours and not overwrite:
        raise StoreError(
            f"{job.out} holds an earlier run; go on with it by --resume, replace it by --overwrite, or choose another --out."
        )
    elif job.out.is_dir() and not ours and any(item.name not in _BEGUN for item in job.out.iterdir()):
        raise StoreError(f"{job.out} is not empty and no run of this command; choose another --out.")
    try:
        job.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"Cannot make the folder {job.out}: {error.strerror or error}; choose another --out."
        ) from error
    for name in ("config.json", "model.safetensors", "weights.safetensors"):
        (job.out / name).unlink(missing_ok=True)
    if not resume:
        for name in ("checkpoint.pt", "curve.csv", "curve.png", "verdict.json"):
            (job.out / name).unlink(missing_ok=True)
        for name in (REFUSED, "before", "after", TRIAL):
            shutil.rmtree(job.out / name, ignore_errors=True)


def _as_json(job: TrackerTraining) -> dict[str, Any]:
    said = asdict(job)
    said["data"] = [str(path.resolve()) for path in job.data]
    said["parts"], said["kinds"] = list(job.parts), list(job.kinds)
    return {name: str(value) if isinstance(value, Path) else value for name, value in said.items()}


def _check_same(job: TrackerTraining) -> None:
    try:
        old = json.loads((job.out / SETTINGS).read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{job.out / SETTINGS} cannot be read: {error}.") from error
    new = _as_json(job)
    other = [name for name in new if name not in _FREE and old.get(name) != new[name]]
    if other:
        name = other[0]
        raise InputError(
            f"The run in {job.out} has {name} {old.get(name)}, not {new[name]}; a run goes on with the settings it began with."
        )


def _write_settings(job: TrackerTraining, parted: Split) -> None:
    from keepsight import __version__

    told = {
        "keepsight": __version__,
        "torch": torch.__version__,
        "settings": _as_json(job),
        "split": parted.rule,
        "training": [str(part) for part in parted.training],
        "held_out": [str(part) for part in parted.held_out],
    }
    with replacing_file(job.out / SETTINGS) as path:
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _write_verdict(job: TrackerTraining, outcome: Outcome) -> None:
    told = {
        "better": outcome.better,
        "weights": str(outcome.weights),
        "interval": outcome.interval,
        "measures": {
            name: {
                "before": outcome.before.summary[name],
                "after": outcome.after.summary[name],
                "gain": item.value,
                "low": item.low,
                "high": item.high,
            }
            for name, item in outcome.gain.items()
        },
    }
    with replacing_file(job.out / "verdict.json") as path:
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _tell(parted: Split, log: Callable[[str], None]) -> None:
    log(f"kept back: {parted.rule}")
    for name, parts in (("learning from", parted.training), ("kept back", parted.held_out)):
        count = sum(part.object_frames() for part in parts)
        log(f"{name}: {count} true masks of {sum(len(part.objects()) for part in parts)} objects")
    for part in parted.held_out:
        log(f"  kept back: {part}")


def _silent(line: str) -> None:
    """Other processes than the first say nothing."""


def names_of(text: str) -> Sequence[str]:
    """``"decoder,memory"`` as names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
