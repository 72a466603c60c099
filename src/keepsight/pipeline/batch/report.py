"""The report of a batch: one page with every object, what failed, and where the time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from keepsight.core import KeepsightError
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.manifest import STAGES, Unit
from keepsight.render.pages import inline, jpeg, write_page
from keepsight.video import open_video

REPORT_NAME = "pipeline.html"
_THUMBNAIL_PX = 112
_MEANING = (
    ("load", False, "reading models"),
    ("decode", False, "waiting for the decoder, which runs ahead"),
    ("encode", False, "what the model sees of a frame"),
    ("detect", False, "finding objects"),
    ("track", False, "following them"),
    ("store", False, "writing masks to the project"),
    ("hand over", False, "waiting for patches and overlay, where those are slower"),
    ("checkpoints", False, "saving what is needed to go on after a kill"),
    ("patches", True, "keeping the pixels that cut-outs are made from"),
    ("overlay", True, "drawing and encoding the overlay"),
)


def write_batch_report(path: Path, config: BatchConfig, units: Sequence[Unit]) -> None:
    """Writes the page; it needs nothing but itself.

    Raises:
        StoreError: it cannot be written.
    """
    videos: dict[str, dict[str, Any]] = {}
    for unit in sorted(units, key=lambda item: (item.video, item.clip, STAGES.index(item.stage))):
        video = videos.setdefault(
            unit.video, {"name": unit.video, "plan": {}, "clips": 0, "objects": [], "identities": None, "notes": []}
        )
        if unit.stage == "plan":
            video["plan"] = unit.results
        video["clips"] += unit.stage == "clip"
        video["notes"] += [note for note in unit.results.get("notes", []) if note not in video["notes"]]
        if unit.stage == "crop" and unit.state == "done":
            video["objects"] += [
                item | {"number": unit.clip, "picture": _thumbnail(item["clip"])} for item in unit.results["objects"]
            ]
        if unit.stage == "link" and unit.state == "done":
            video["identities"] = [
                item | {"picture": item["cutout"] and _thumbnail(item["cutout"]), "spans": spans(item["clips"])}
                for item in unit.results["identities"]
            ]
            video["shared_masks"] = unit.results["shared_masks"]
    write_page(
        path,
        "pipeline.html.j2",
        videos=list(videos.values()),
        stages=stage_rows(units),
        failed=[unit for unit in units if unit.state == "failed"],
        objects=sum(len(video["objects"]) for video in videos.values()),
        identities=sum(len(video["identities"] or ()) for video in videos.values()),
        settings=config.model_dump(mode="json", exclude_defaults=True),
        inner=inner_times(units),
        smaller=[unit for unit in units if unit.results.get("tried")],
        decoded_again=sum(unit.results.get("decoded_again", 0) for unit in units),
    )


def stage_rows(units: Sequence[Unit]) -> list[dict[str, Any]]:
    """Units and seconds by stage, with the share of the longest one, and the most memory that a unit has held in MiB.

    ``since_start`` says that the memory is that of the process since it began, where the system knows no better.
    """
    rows: list[dict[str, Any]] = []
    for stage in STAGES:
        mine = [unit for unit in units if unit.stage == stage]
        states = Counter(unit.state for unit in mine)
        row: dict[str, Any] = {
            "stage": stage,
            "units": len(mine),
            "seconds": sum(unit.seconds for unit in mine),
            **states,
        }
        for name in ("peak_mib", "peak_gpu_mib"):
            held = [float(unit.results[name]) for unit in mine if name in unit.results]
            row[name] = max(held) if held else None
        row["since_start"] = any(unit.results.get("peak_since_start") for unit in mine)
        rows.append(row)
    longest = max((row["seconds"] for row in rows), default=0.0)
    return [row | {"share": row["seconds"] / longest if longest else 0.0} for row in rows]


def inner_times(units: Sequence[Unit]) -> list[dict[str, Any]]:
    """What following was busy with, the longest first: seconds, share of the whole, and whether it ran beside the rest."""
    rows: list[dict[str, Any]] = []
    for kind, beside in (("times_s", False), ("beside_s", True)):
        total: Counter[str] = Counter()
        for unit in units:
            total.update(unit.results.get(kind, {}))
        rows += [{"name": name, "seconds": seconds, "beside": beside} for name, seconds in total.most_common()]
    whole = sum(row["seconds"] for row in rows if not row["beside"])
    means = {(name, beside): text for name, beside, text in _MEANING}
    return [
        row | {"share": row["seconds"] / whole if whole else 0.0, "means": means.get((row["name"], row["beside"]), "")}
        for row in rows
    ]


def spans(numbers: Sequence[int]) -> str:
    """Rising numbers for a person: ``1-3, 5``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _thumbnail(path: str) -> str | None:
    """A frame from the middle of a cut-out as base64 JPEG; ``None`` where it is gone."""
    try:
        with open_video(path) as video:
            rgb = video.read((video.frame_count or 1) // 2).rgb
    except KeepsightError:
        return None
    small = cv2.resize(rgb, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return inline(jpeg(small, quality=85))
