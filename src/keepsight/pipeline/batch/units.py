"""What each step of a batch does. Every one can be done again at any time and leaves the same files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from keepsight.core import InputError
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.manifest import Unit
from keepsight.pipeline.batch.peaks import PeakMemory
from keepsight.pipeline.batch.smaller import Try, smaller_and_smaller, tries_of
from keepsight.pipeline.clips import check_finite, clip_name, plan_clips
from keepsight.pipeline.crops import crop_style_of
from keepsight.pipeline.job import PROJECT_NAME, ProgressCallback
from keepsight.pipeline.loaded import LoadedModels
from keepsight.render import CropStyle
from keepsight.store import Project
from keepsight.video import VideoSource, cut_clip, open_video


@dataclass(frozen=True)
class Done:
    """What a unit left: its files, what is worth telling, and (clip, settings) of the units that follow from it."""

    files: Sequence[Path] = ()
    results: dict[str, Any] = field(default_factory=dict)
    following: Sequence[tuple[int, dict[str, Any]]] = ()


@dataclass
class Equipment:
    """What a worker has, and keeps from unit to unit.

    Attributes:
        device: to follow on.
        models: loaded once, for all clips that want the same.
        told: called by units that are a matter of frames, with how far they are.
    """

    device: str = "auto"
    models: LoadedModels = field(default_factory=LoadedModels)
    told: ProgressCallback | None = None


def perform(unit: Unit, config: BatchConfig, equipment: Equipment) -> Done | None:
    """Does a unit; ``None`` when it was asked to stop before its end.

    Raises:
        KeepsightError: it cannot be done.
    """
    steps: dict[str, Callable[[Unit, BatchConfig, Equipment], Done | None]] = {
        "plan": _plan,
        "clip": _clip,
        "segment": _segment,
        "crop": _crop,
        "link": _link,
    }
    with PeakMemory() as peak:
        done = steps[unit.stage](unit, config, equipment)
        return None if done is None else replace(done, results=done.results | peak.results())


def _plan(unit: Unit, config: BatchConfig, _: Equipment) -> Done:
    with open_video(unit.source) as video:
        check_finite(video, unit.source)
        pieces = plan_clips(video.times_s, config.rule())
        results = {
            "frames": video.frame_count,
            "fps": round(video.fps, 4),
            "size": [video.width, video.height],
            "notes": video.warnings,
        }
        same = video.fingerprint()
    clips = [{"start": piece.start, "stop": piece.stop, "step": piece.step} for piece in pieces]
    following: list[tuple[int, dict[str, Any]]] = [
        (piece.number, cut | {"fingerprint": same}) for piece, cut in zip(pieces, clips, strict=True)
    ]
    if config.link_clips:
        following.append((0, {"clips": clips, "fingerprint": same}))
    return Done(results=results, following=following)


def _clip(unit: Unit, config: BatchConfig, _: Equipment) -> Done:
    path = clip_path(unit, config)
    asked = unit.settings
    with _planned(unit) as video:
        cut_clip(video, path, asked["start"], asked["stop"], step=asked["step"])
        frames = len(range(asked["start"], asked["stop"], asked["step"]))
        notes = list(video.warnings)
    return Done([path], {"frames": frames, "notes": notes}, [(unit.clip, {})])


def _segment(unit: Unit, config: BatchConfig, equipment: Equipment) -> Done | None:
    from keepsight.models.registry import resolve
    from keepsight.pipeline.job import Mode, Outputs, SegmentJob, SegmentOutcome
    from keepsight.pipeline.segment import run_segment
    from keepsight.pipeline.words import parse_concepts

    job = SegmentJob(
        video=clip_path(unit, config),
        out=work_folder(unit, config),
        concepts=parse_concepts(config.texts),
        detector=config.detector,
        rules=dict(config.rules) or None,
        model=config.model,
        policy=config.policy,
        device=equipment.device,
        outputs=Outputs(overlay=config.overlay, crops=False, masks=True, annotations=True, report=False),
        crop_options=asdict(_style(config)),
        patches=True,
    )

    def follow(one: Try) -> SegmentOutcome:
        fits = _goes_on(job.project_path, equipment.device, one.dtype)
        mode = Mode.RESUME if fits else Mode.OVERWRITE
        wanted = replace(job, mode=mode, units=one.units, dtype=one.dtype)
        return run_segment(wanted, equipment.told, models=equipment.models)

    tries = tries_of(config.dtype, equipment.device, resolve(config.model).family)
    outcome, failed = smaller_and_smaller(tries, job.folder, follow)
    if outcome.state != "finished":
        return None
    files = [path for what, path in outcome.files if what in ("annotations", "overlay")]
    files += sorted((job.folder / "masks").glob("*.png"))
    results: dict[str, Any] = {
        "objects": outcome.objects,
        "times_s": outcome.times_s,
        "beside_s": outcome.beside_s,
        "notes": outcome.notes,
    }
    if failed:
        results["tried"] = failed
        results["settled"] = str(tries[len(failed)])
    return Done(files, results, [(unit.clip, {})])


def _goes_on(project: Path, device: str, dtype: str) -> bool:
    """Whether what was done of a clip can be gone on with; masks of two devices or precisions are not mixed."""
    if not project.is_file():
        return True
    from keepsight.models.devices import resolve_device

    with Project.open(project, read_only=True) as earlier:
        runs = [run.settings for video in earlier.videos() for run in earlier.runs(video.id)]
    if not runs:
        return True
    there = str(runs[-1].get("device", device))
    same = resolve_device().type == there.partition(":")[0] if device == "auto" else device == there
    return same and runs[-1].get("dtype", dtype) == dtype


def _crop(unit: Unit, config: BatchConfig, _: Equipment) -> Done:
    from keepsight.pipeline.along import PATCHES_NAME
    from keepsight.pipeline.crops import clear_unfinished, crop_objects

    work, out = work_folder(unit, config), crop_folder(unit, config)
    clear_unfinished(out)
    patches = work / PATCHES_NAME
    made = crop_objects(
        work,
        out,
        style=_style(config),
        video=clip_path(unit, config),
        overwrite=True,
        boxes=config.boxes,
        patches=patches,
        threads=max(1, min(4, (os.cpu_count() or 1) // config.cpu_workers)),
    )
    # Large, and worth nothing any more: a crop that is asked for again is cut from the clip.
    patches.unlink(missing_ok=True)
    objects = [
        {"id": object_id, "label": made.labels.get(object_id, ""), "clip": str(path)}
        for object_id, path in made.clips.items()
    ]
    return Done([*made.clips.values(), *made.boxes], {"objects": objects, "decoded_again": made.decoded})


def _style(config: BatchConfig) -> CropStyle:
    return crop_style_of(
        size=config.crop_size, margin=config.crop_margin, background=config.crop_background, path=config.crop_path
    )


def _link(unit: Unit, config: BatchConfig, _: Equipment) -> Done:
    from keepsight.pipeline.batch.link import ClipPlace, link_video

    places = [
        ClipPlace(
            number,
            range(cut["start"], cut["stop"], cut["step"]),
            work_folder(replace(unit, clip=number), config) / PROJECT_NAME,
            crop_folder(replace(unit, clip=number), config),
        )
        for number, cut in enumerate(unit.settings["clips"], 1)
    ]
    crops, work = crop_folder(unit, config).parent, work_folder(unit, config).parent
    with _planned(unit) as video:
        made = link_video(video, places, crops, work, config.link_rule(), config.boxes)
    results = {
        "objects": len(made.identities),
        "identities": made.identities,
        "links": made.links,
        "shared_masks": made.shared_masks,
    }
    return Done(made.files, results | {"notes": made.notes})


def _planned(unit: Unit) -> VideoSource:
    """The video, which must still be what it was when its cuts were planned."""
    video = open_video(unit.source)
    if video.fingerprint() != unit.settings["fingerprint"]:
        video.close()
        raise InputError(f"{unit.source} has changed since the batch began; work on it under another output_folder.")
    return video


def clip_path(unit: Unit, config: BatchConfig) -> Path:
    return config.clips / unit.video / clip_name(unit.video, unit.clip)


def work_folder(unit: Unit, config: BatchConfig) -> Path:
    return config.output_folder / "work" / unit.video / f"{unit.clip:04d}"


def crop_folder(unit: Unit, config: BatchConfig) -> Path:
    return config.crops / unit.video / f"{unit.clip:04d}"


def hashes(files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """(path, SHA-256) of every file."""
    for path in files:
        with path.open("rb") as file:
            yield str(path), hashlib.file_digest(file, "sha256").hexdigest()
