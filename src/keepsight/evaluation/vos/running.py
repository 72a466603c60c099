"""``keepsight eval vos``: a data set followed clip by clip, here or on a cluster, and scored once all of it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from keepsight.core import Cancelled, InputError
from keepsight.evaluation.vos.clips import Clip, Dataset
from keepsight.evaluation.vos.following import follow, settings_of, tracker_for
from keepsight.evaluation.vos.job import PredictionFolder, VosJob, VosOutcome
from keepsight.evaluation.vos.judging import described, judge
from keepsight.evaluation.vos.sources import tells_more_than_prompts
from keepsight.pipeline.job import Progress, ProgressCallback
from keepsight.pipeline.stopping import StopRequest

if TYPE_CHECKING:
    from keepsight.tracking import Tracker


def run_vos(job: VosJob, progress: ProgressCallback | None = None) -> VosOutcome:
    """Follows what is not followed yet, and scores when nothing lacks.

    A clip whose predictions are complete is never followed again, so the same command goes on after a stop, several shards
    fill one folder, and the last of them scores.

    Raises:
        InputError: a layout, settings or predictions that do not fit; Ray is wanted and not installed.
        ModelError: weights that are not here.
        StoreError: the folder cannot be written.
        Cancelled: Ctrl-C; what is complete stays.
    """
    dataset = job.open()
    folder = PredictionFolder(job.out, dataset.subfolder)
    tell = _telling(progress)
    if not job.overwrite:
        folder.check(settings_of(job, dataset))
    todo = [clip for clip in job.share(dataset.clips) if job.overwrite or not folder.is_done(clip)]
    failed: list[str] = []
    # A machine without the model's device can score what others followed.
    if todo and job.ray:
        from keepsight.evaluation.vos.cluster import follow_on_cluster

        failed = follow_on_cluster(job, todo, folder, tell)
    elif todo:
        tracker, settings = tracker_for(job, dataset, tell)
        folder.begin(settings_of(job, dataset, settings), overwrite=job.overwrite)
        failed = _follow_here(job, dataset, todo, folder, tracker, tell)
    return _conclude(job, dataset, folder, failed, progress)


def _telling(progress: ProgressCallback | None) -> Callable[[str, int, int | None], None]:
    if progress is None:
        return lambda stage, done, total: None
    return lambda stage, done, total: progress(Progress(stage, done, total))


def _follow_here(
    job: VosJob,
    dataset: Dataset,
    todo: Sequence[Clip],
    folder: PredictionFolder,
    tracker: Tracker,
    tell: Callable[[str, int, int | None], None],
) -> list[str]:
    """Returns what went wrong with single clips; the others are followed nevertheless."""
    failed = []
    with StopRequest() as stop:
        for place, clip in enumerate(todo, start=1):
            stage = f"{clip.name} ({place} of {len(todo)})"

            def told(done: int, total: int, stage: str = stage) -> None:
                tell(stage, done, total)

            try:
                follow(clip, dataset, tracker, job.prompt, folder, told=told, stopped=lambda: stop.asked)
            except InputError as error:
                failed.append(f"{clip.name}: {error}")
            except Cancelled:
                pass
            if stop.asked:
                done = sum(folder.is_done(one) for one in dataset.clips)
                raise Cancelled(
                    f"Stopped; {done} of {len(dataset.clips)} videos are complete. The same command goes on with the others."
                )
    return failed


def _conclude(
    job: VosJob, dataset: Dataset, folder: PredictionFolder, failed: list[str], progress: ProgressCallback | None
) -> VosOutcome:
    lines = [f"Not followed: {line}" for line in failed]
    lacking = [clip for clip in dataset.clips if not folder.is_done(clip)]
    if lacking and not failed:
        number, parts = job.shard
        done = len(dataset.clips) - len(lacking)
        lines.append(
            f"Shard {number} of {parts} is complete; {done} of {len(dataset.clips)} videos are there. Whoever completes the "
            "last shard scores; or run this command again, then."
        )
        return VosOutcome(job.out, folder.predictions, None, tuple(lines))
    scorable = [clip for clip in dataset.clips if clip.truth is not None and tells_more_than_prompts(clip.truth)]
    if not scorable:
        lines.append(
            f"The truth of {dataset.kind.value} {dataset.split} is not here; hand in what is in {folder.root}."
        )
        return VosOutcome(job.out, folder.predictions, None, tuple(lines))
    facts = [folder.facts(clip) for clip in dataset.clips if folder.is_done(clip)]
    settings = {**folder.settings(), **described(dataset, job.videos), "speed": _speed(facts)}
    try:
        results = judge(
            dataset,
            folder.root,
            job.out,
            settings,
            switches=job.switches,
            processes=job.processes,
            progress=progress,
            remarks=(*lines, *_said_of(settings["speed"])),
        )
    except InputError as error:
        raise InputError(f"{' '.join(lines)} {error}") if lines else error from None
    return VosOutcome(job.out, folder.predictions, results, ())


def _speed(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    frames = sum(item.get("frames", 0) for item in facts)
    seconds = sum(item.get("seconds", 0.0) for item in facts)
    devices = sorted({item["device"] for item in facts if "device" in item})
    rate = round(frames / seconds, 3) if seconds else None
    return {"frames": frames, "seconds": round(seconds, 3), "frames_per_s": rate, "devices": devices}


def _said_of(speed: dict[str, Any]) -> tuple[str, ...]:
    if not speed["frames_per_s"]:
        return ()
    return (
        f"Followed {speed['frames']} frames in {speed['seconds']:.1f} s of one device ({', '.join(speed['devices'])}): "
        f"{speed['frames_per_s']:.2f} frames a second, with decoding and writing.",
    )
