"""A run from data to a model: split, measure, preview, train, measure again, and keep the result only if it is no worse."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from keepsight.core import InputError
from keepsight.evaluation.report import write_run
from keepsight.models.devices import resolve_device
from keepsight.models.loading import load_backbone
from keepsight.models.registry import ModelEntry, resolve
from keepsight.models.sam2.hf_video import HFVideoBackbone
from keepsight.training.ranks import Ranks
from keepsight.training.run_folder import SOURCES, VERDICT, RunFolder, is_better, measures_of
from keepsight.training.tracker.budget import fit, free_bytes
from keepsight.training.tracker.builtin_learner import CLIPS, BuiltinLearner, BuiltinOptions
from keepsight.training.tracker.curve import draw_curve
from keepsight.training.tracker.episode import ClipOptions
from keepsight.training.tracker.footage import collect
from keepsight.training.tracker.job import FREE, Outcome, TrackerTraining
from keepsight.training.tracker.judge import Judgement, gains, judge, pictures, worthless
from keepsight.training.tracker.learner import Learner, Sam2Learner
from keepsight.training.tracker.sampler import Sampler
from keepsight.training.tracker.split import Split, split
from keepsight.training.trainer import Schedule, Trainer


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
    folder = RunFolder(job.out, job.resolved(), FREE)
    if ranks.first:
        folder.begin(resume=resume, overwrite=overwrite)
    ranks.wait()
    try:
        return _run(job, folder, entry, device, ranks, resume, ranks.voice(log))
    finally:
        ranks.leave()


def _run(
    job: TrackerTraining,
    folder: RunFolder,
    entry: ModelEntry,
    device: str,
    ranks: Ranks,
    resume: bool,
    log: Callable[[str], None],
) -> Outcome | None:
    scratch = folder.path / SOURCES / str(ranks.rank)
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
        folder.write_settings(
            split=parted.rule,
            training=[str(part) for part in parted.training],
            held_out=[str(part) for part in parted.held_out],
        )
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
    outcome = _finish(job, folder, learner, parted, before, _pulled(trainer.average, start, job.keep or 0.0), log)
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
        from keepsight.models.builtin.backbone import SLOTS
        from keepsight.models.builtin.weights import from_folder, load_network

        # Its episodes turn a clip round themselves.
        sampler = Sampler(parted.training, stride=job.stride, reverse=0.0)
        options = BuiltinOptions(job.frames, job.objects)
        return (
            BuiltinLearner(
                from_folder(entry.folder, load_network),
                sampler,
                options,
                job.seed,
                cache=cache,
                cache_bytes=limit,
                clips=min(CLIPS, job.steps or CLIPS),
                device=device,
                log=log,
            ),
            SLOTS,
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
    folder: RunFolder,
    learner: Learner,
    parted: Split,
    before: Judgement,
    state: dict[str, Tensor],
    log: Callable[[str], None],
) -> Outcome:
    trial = folder.trial()
    name = learner.write(state, trial).name
    log("after:")
    try:
        after = judge(trial, parted.held_out, job.kinds, device=job.device, log=log)
    except InputError as error:  # it gives no numbers any more
        log(str(error))
        after = Judgement(worthless(before.results), {})
    after = replace(after, results=replace(after.results, settings={**after.results.settings, "model": str(job.out)}))
    gain, interval = gains(before.results, after.results)
    better = is_better(gain["J&F"])
    weights = folder.settle(better=better) / name
    shown = pictures(parted.held_out, before, after)
    write_run(before.results, folder.path / "before")
    write_run(after.results, folder.path / "after", pictures=shown)
    if (folder.path / "curve.csv").exists():
        draw_curve(folder.path / "curve.csv", folder.path / "curve.png")
    measures = measures_of(before.results.summary, after.results.summary, gain)
    folder.write(VERDICT, {"better": better, "weights": str(weights), "interval": interval, "measures": measures})
    return Outcome(better, folder.path, weights, before.results, after.results, gain, interval)


def _tell(parted: Split, log: Callable[[str], None]) -> None:
    log(f"kept back: {parted.rule}")
    for name, parts in (("learning from", parted.training), ("kept back", parted.held_out)):
        count = sum(part.object_frames() for part in parts)
        log(f"{name}: {count} true masks of {sum(len(part.objects()) for part in parts)} objects")
    for part in parted.held_out:
        log(f"  kept back: {part}")
