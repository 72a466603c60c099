"""One HTML page about a tracked video, with everything inside: it can be mailed, archived, opened without a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keepsight.core import InputError
from keepsight.render.curves import Lane, make_lane, ticks
from keepsight.render.pages import fact_rows, inline, jpeg, write_page
from keepsight.render.palette import object_colour, to_hex
from keepsight.render.strip import contact_sheet
from keepsight.render.tags import RgbArray
from keepsight.store import Project, StoredRun, StoredVideo
from keepsight.video import VideoSource


@dataclass(frozen=True)
class _ObjectView:
    object_id: int
    name: str
    colour: str
    lane: Lane


def write_report(
    project: Project,
    video_id: int,
    path: str | os.PathLike[str],
    *,
    video: VideoSource | None = None,
    sheet: RgbArray | None = None,
    title: str | None = None,
    credits: str | None = None,
    warnings: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    low_score: float = 0.5,
) -> None:
    """Writes ``report.html``.

    Args:
        video: the tracked video, for the contact sheet; left out, the page has none.
        sheet: a finished contact sheet instead.
        credits: who made the footage and under which licence.
        warnings: shown first, beside those of the run's facts.
        facts: shown beside the settings and facts of the latest run and winning over them.
        low_score: scores below it are marked in the timeline.

    Raises:
        InputError: the project has no such results.
        StoreError: the page cannot be written.
    """
    stored = project.video(video_id)
    done = project.frames_done(video_id)
    if not done:
        raise InputError(f"{project.path} has no results for {stored.name} yet; track its objects first.")
    span = (min(done), max(done))
    if sheet is None and video is not None:
        sheet = contact_sheet(video, project, video_id)
    objects = _objects(project, stored, span, low_score)
    runs = project.runs(video_id)
    run = runs[-1] if runs else None
    known: dict[str, Any] = {**(run.settings if run else {}), **(run.facts if run else {}), **(facts or {})}
    known_warnings = known.pop("warnings", None) or []
    notes = [known_warnings] if isinstance(known_warnings, str) else [str(note) for note in known_warnings]
    credits = credits or known.pop("credits", None)
    known.pop("credits", None)
    write_page(
        path,
        "report.html.j2",
        title=title or stored.name,
        video=stored,
        frames=len(done),
        span=span,
        seconds=(span[1] - span[0] + 1) / stored.fps,
        sheet=None if sheet is None else inline(jpeg(sheet)),
        objects=objects,
        ticks=ticks(span),
        area_top=_round_up(max((item.lane.max_area for item in objects), default=0.0)),
        low_score=low_score,
        facts=fact_rows(known),
        credits=credits,
        warnings=[*_run_warnings(run), *warnings, *notes],
        run=run,
    )


def _objects(project: Project, video: StoredVideo, span: tuple[int, int], low_score: float) -> list[_ObjectView]:
    prompted: dict[int, set[int]] = {}
    for stored in project.prompts(video.id):
        prompted.setdefault(stored.prompt.object_id, set()).add(stored.prompt.frame)
    views = []
    for item in project.objects(video.id):
        lane = make_lane(
            project.track(video.id, item.object_id),
            prompted.get(item.object_id, set()),
            span=span,
            frame_px=video.height * video.width,
            low_score=low_score,
        )
        colour = to_hex(object_colour(item.object_id, item.colour))
        views.append(_ObjectView(item.object_id, item.label or f"object {item.object_id}", colour, lane))
    return views


def _run_warnings(run: StoredRun | None) -> list[str]:
    if run is None or run.state == "finished":
        return []
    ending = {"running": "is still going on", "interrupted": "was interrupted", "cancelled": "was stopped early"}
    line = f"The run {ending.get(run.state, 'failed')}; what is shown is what it had done by then."
    return [f"{line} {run.note}".strip()]


def _round_up(value: float) -> float:
    """The smallest of 1, 2, 2.5 or 5 times a power of ten that is not below ``value``: the top of an axis."""
    power = 1e-5
    while power <= 1:
        for factor in (1, 2, 2.5, 5):
            if factor * power >= value:
                return min(1.0, factor * power)
        power *= 10
    return 1.0
