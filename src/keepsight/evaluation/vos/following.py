"""Semi-supervised inference on one clip: every object from its first annotation to the end, into pictures on disk."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from keepsight.core import Cancelled, InputError
from keepsight.evaluation.vos.clips import Clip, Dataset
from keepsight.evaluation.vos.first_prompts import first_prompts
from keepsight.evaluation.vos.job import PredictionFolder, VosJob
from keepsight.evaluation.vos.protocol import FirstPrompt
from keepsight.evaluation.vos.writing import writing
from keepsight.models.registry import local_dir, resolve
from keepsight.pipeline.run import load_tracker
from keepsight.pipeline.settings import Settings, weights_fingerprint
from keepsight.tracking import Tracker
from keepsight.video import open_video


def tracker_for(
    job: VosJob, dataset: Dataset, tell: Callable[[str, int, int | None], None]
) -> tuple[Tracker, Settings]:
    """The tracker of a job, and its settings with what ``auto`` came to.

    Raises:
        ModelError, InputError: weights that are not here, or settings that they do not allow.
    """
    tracker, settings = load_tracker(job.asked(), {}, tell)
    # A picture of ids cannot hold overlaps; a picture an object can.
    options = replace(tracker.options, exclusive=not dataset.per_object)
    return Tracker(tracker.backbone, tracker.policy, options), settings


def settings_of(job: VosJob, dataset: Dataset, settings: Settings | None = None) -> dict[str, Any]:
    """Everything that decides the predictions; runs that differ in any of it do not share a folder.

    Args:
        settings: settled ones; without them, what is known before the model is loaded.
    """
    known: dict[str, Any] = {
        "dataset": dataset.kind.value,
        # Machines may see it under different paths.
        "root": dataset.root.resolve().name,
        "split": dataset.split,
        "all_frames": job.all_frames,
        "prompt": job.prompt.value,
    }
    asked = settings or job.asked()
    known |= {"model": asked.model, "policy": asked.policy, "policy_options": asked.policy_options}
    known["weights"] = weights_fingerprint(local_dir(resolve(asked.model)))
    # Any GPU of a kind: shards lie on several.
    machine = {"device": asked.device.partition(":")[0], "dtype": asked.dtype, "zoom": asked.zoom}
    return known | {name: value for name, value in machine.items() if value not in (None, "auto")}


def follow(
    clip: Clip,
    dataset: Dataset,
    tracker: Tracker,
    prompt: FirstPrompt,
    folder: PredictionFolder,
    *,
    told: Callable[[int, int], None] = lambda done, total: None,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Follows the objects of a clip and writes its predictions; nothing is left of a clip that fails or is stopped.

    Args:
        told: frames done and frames in all.
        stopped: asked after every frame.

    Raises:
        InputError: a video that cannot be read or has other frames than its annotations.
        StoreError: predictions cannot be written.
        Cancelled: ``stopped`` said so.
    """
    if clip.video is None:
        raise InputError(
            f"There are no frames for {clip.name}; the data set needs JPEGImages/{clip.name} or a video file."
        )
    prompts = first_prompts(clip, dataset.protocol, prompt, per_object=dataset.per_object)
    begin = time.perf_counter()
    with open_video(clip.video) as video:
        if clip.numbers and video.frame_count != len(clip.numbers):
            raise InputError(f"{clip.video} has {video.frame_count} pictures, but {len(clip.numbers)} are frames.")
        with writing(folder.predictions / clip.name, clip, video, per_object=dataset.per_object) as writer:
            session = tracker.open(video)
            for item in prompts:
                session.add_prompt(item)
            first = min(item.frame for item in prompts)
            total = session.frame_count - first
            for done, result in enumerate(session.propagate(), start=1):
                writer.write(result)
                told(done, total)
                if stopped() and done < total:
                    raise Cancelled(f"Stopped in {clip.name}.")
            for result in session.finalize():
                writer.write(result)
    folder.done(
        clip,
        {
            "frames": total,
            "objects": len(prompts),
            "seconds": round(time.perf_counter() - begin, 3),
            "device": str(tracker.backbone.device),
            "host": platform.node(),
        },
    )
