"""Predictions against a data set, by its protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keepsight.core import InputError
from keepsight.core.metrics import Agreement
from keepsight.evaluation.results import Results, Row
from keepsight.evaluation.vos.clips import Clip
from keepsight.evaluation.vos.measuring import Pairing, Table, measure
from keepsight.evaluation.vos.protocol import Frames, Missing, Objects, Protocol, Skip
from keepsight.evaluation.vos.sources import MaskSource, tells_more_than_prompts
from keepsight.evaluation.vos.statistics import ERRORS, headline, object_values, summarise

_BOTH_EMPTY = Agreement(1.0, 1.0, 0, 0)
_SMALL_PX, _MEDIUM_PX = 32**2, 96**2
_SHOWN = 3
_NO_FRAME = "as they are on no frame that counts"


@dataclass(frozen=True)
class Judged:
    """A clip with its predictions, ready to be measured.

    Attributes:
        frames: numbers of the frames that are scored, by object; where objects share all of them, under ``None``.
        lacking: frames without a prediction, by number; the objects that it lacks for, ``None`` for all of them.
    """

    clip: Clip
    truth: MaskSource
    found: MaskSource | None
    frames: Mapping[int | None, tuple[int, ...]]
    lacking: Mapping[int, frozenset[int] | None] = field(default_factory=dict)


def score(
    clips: Sequence[Clip],
    found: Callable[[str], MaskSource | None],
    protocol: Protocol,
    settings: Mapping[str, Any],
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Scores predictions.

    Args:
        clips: of the data set; those without a truth are left out, and said.
        found: predictions by the clip's name, ``None`` where there are none.
        settings: what made the predictions; kept with the numbers.
        processes, progress: see :func:`~keepsight.evaluation.vos.measuring.measure`.

    Raises:
        InputError: no clip has a truth that can be scored; predictions that lack, unless the protocol allows it; pictures that
            cannot be read or differ in size.
    """
    judged, remarks = _judge(clips, found, protocol)
    tables = measure(
        [_pairing(item) for item in judged],
        void=protocol.void,
        tolerance=protocol.tolerance,
        processes=processes,
        progress=progress,
    )
    rows: list[Row] = []
    left_out: dict[str, list[str]] = {}
    for item in judged:
        rows += rows_of(item, tables[item.clip.name], protocol, left_out)
    remarks += [f"Left out, {why}: {len(names)} objects ({_few(names)})." for why, names in left_out.items()]
    if not rows:
        raise InputError("Nothing could be scored: no object has a frame that counts. --skip none counts all of them.")
    summary, figures = summarise(rows, protocol)
    if protocol.split and "G" not in summary:
        remarks.append(
            "G needs objects of both kinds, seen and unseen; they are not told apart here, or one kind lacks."
        )
    return Results(
        task="vos",
        protocol=protocol.lines(),
        summary=summary,
        headline=headline(summary),
        rows=tuple(sorted(rows, key=lambda row: (row.video, _natural(row.item)))),
        settings={**settings, "protocol": vars(protocol)},
        remarks=tuple(remarks),
        lower_is_better=tuple(name for name in ERRORS if name in summary),
        figures=figures,
    )


def _natural(item: str) -> tuple[int, str]:
    return (int(item), "") if item.isdecimal() else (-1, item)


# -- what is to be measured ----------------------------------------------------------------------------------------------
def _judge(
    clips: Sequence[Clip], found: Callable[[str], MaskSource | None], protocol: Protocol
) -> tuple[list[Judged], list[str]]:
    judged, untold, absent, thin = [], [], [], []
    for clip in clips:
        truth = clip.truth
        if truth is None or not tells_more_than_prompts(truth):
            untold.append(clip.name)
            continue
        source = found(clip.name)
        frames = _frames(clip, truth, protocol)
        lacking = _lacking(source, truth, frames)
        if source is None:
            absent.append(clip.name)
            if protocol.missing is Missing.SKIP:
                continue
        elif lacking:
            thin.append((clip.name, len(lacking)))
        judged.append(Judged(clip, truth, source, frames, lacking))
    remarks = []
    if untold:
        remarks.append(
            f"{len(untold)} of {len(clips)} videos have no truth beyond their first frame and are not scored."
        )
    said = []
    if absent:
        said.append(f"no predictions for {len(absent)} of {len(clips)} videos ({_few(absent)})")
    if thin:
        frames_lacking = sum(count for _, count in thin)
        said.append(f"no prediction for {frames_lacking} annotated frames of {_few([name for name, _ in thin])}")
    if said and protocol.missing is Missing.ERROR:
        raise InputError(
            f"There are {' and '.join(said)}. --missing empty scores them as empty masks, --missing skip leaves them out."
        )
    for line in said:
        what = "scored as empty masks" if protocol.missing is Missing.EMPTY else "left out"
        remarks.append(f"There are {line}: {what}.")
    if not judged:
        raise InputError("No video has both a truth beyond its first frame and predictions; check the two folders.")
    return judged, remarks


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _frames(clip: Clip, truth: MaskSource, protocol: Protocol) -> dict[int | None, tuple[int, ...]]:
    """The frames that may count."""
    if truth.objects is not None:
        # A picture an object: only its own frames say anything about it.
        own = {number: truth.numbers_of(number) for number in truth.objects}
        if protocol.frames is Frames.OBJECT:
            return {number: _trimmed(frames, protocol.skip) for number, frames in own.items()}
        kept = set(_trimmed(truth.numbers, protocol.skip))
        return {number: tuple(frame for frame in frames if frame in kept) for number, frames in own.items()}
    if protocol.frames is Frames.OBJECT and clip.spans:
        return {
            number: _trimmed([frame for frame in truth.numbers if start <= frame < stop], protocol.skip)
            for number, (start, stop) in clip.spans.items()
        }
    # From an object's first appearance on: known, and cut, once the frames are.
    return {None: truth.numbers if protocol.frames is Frames.OBJECT else _trimmed(truth.numbers, protocol.skip)}


def _trimmed(numbers: Sequence[int], skip: Skip) -> tuple[int, ...]:
    return tuple(numbers)[0 if skip is Skip.NONE else 1 : -1 if skip is Skip.BOTH else None]


def _lacking(
    found: MaskSource | None, truth: MaskSource, frames: Mapping[int | None, tuple[int, ...]]
) -> dict[int, frozenset[int] | None]:
    wanted = _all(frames)
    if found is None:
        return dict.fromkeys(wanted)
    there = set(found.numbers)
    lacking: dict[int, frozenset[int] | None] = {number: None for number in wanted if number not in there}
    if found.objects is not None and truth.objects is not None:
        partly: dict[int, set[int]] = {}
        for object_id in truth.objects:
            for number in set(frames.get(object_id, wanted)) - set(found.numbers_of(object_id)) - lacking.keys():
                partly.setdefault(number, set()).add(object_id)
        lacking |= {number: frozenset(objects) for number, objects in partly.items()}
    return lacking


def _all(frames: Mapping[int | None, Iterable[int]]) -> list[int]:
    return sorted({number for numbers in frames.values() for number in numbers})


def _pairing(item: Judged) -> Pairing:
    gone = frozenset(number for number, objects in item.lacking.items() if objects is None)
    return Pairing(item.clip.name, item.found, item.truth, tuple(_all(item.frames)), gone)


# -- what was measured ---------------------------------------------------------------------------------------------------
def rows_of(item: Judged, table: Table, protocol: Protocol, left_out: dict[str, list[str]]) -> list[Row]:
    """A row for every object that counts; names of the others are added to ``left_out``, by the reason."""
    rows = []
    for object_id, numbers in _counted(item, table, protocol, left_out).items():
        if protocol.missing is Missing.SKIP:
            numbers = [number for number in numbers if not _lacks(item, number, object_id)]
        if not numbers:
            left_out.setdefault(_NO_FRAME, []).append(f"{item.clip.name}/{object_id}")
            continue
        measured = [table[number].get(object_id, _BOTH_EMPTY) for number in numbers]
        rows.append(_row(item, object_id, numbers, measured, protocol))
    return rows


def _lacks(item: Judged, number: int, object_id: int) -> bool:
    objects = item.lacking.get(number, frozenset())
    return objects is None or object_id in objects


def _counted(item: Judged, table: Table, protocol: Protocol, left_out: dict[str, list[str]]) -> dict[int, list[int]]:
    """Objects and the frames on which they are scored."""
    shared = item.frames.get(None)
    if shared is None:
        frames = {number: list(own) for number, own in item.frames.items() if number is not None}
    else:
        frames = {number: list(shared) for number in sorted(_shown(table, shared))}
        if protocol.frames is Frames.OBJECT:
            frames = {number: _from_appearance(number, own, table, protocol.skip) for number, own in frames.items()}
    if protocol.objects is Objects.FIRST:
        return _of_first_frame(item, frames, shared, left_out)
    hidden = [number for number, own in frames.items() if not any(_has_truth(table, n, number) for n in own)]
    if hidden:
        left_out.setdefault(_NO_FRAME, []).extend(f"{item.clip.name}/{number}" for number in hidden)
    frames = {number: own for number, own in frames.items() if number not in hidden}
    if protocol.objects is Objects.ALL:
        return frames
    return {
        number: own[next(place for place, n in enumerate(own) if number in table[n]) :]
        for number, own in frames.items()
    }


def _shown(table: Table, numbers: Iterable[int]) -> set[int]:
    return {object_id for number in numbers for object_id, got in table[number].items() if got.truth_px}


def _has_truth(table: Table, number: int, object_id: int) -> bool:
    return object_id in table[number] and table[number][object_id].truth_px > 0


def _from_appearance(object_id: int, numbers: Sequence[int], table: Table, skip: Skip) -> list[int]:
    first = next(number for number in numbers if _has_truth(table, number, object_id))
    return list(_trimmed([number for number in numbers if number >= first], skip))


def _of_first_frame(
    item: Judged, frames: Mapping[int, list[int]], shared: Sequence[int] | None, left_out: dict[str, list[str]]
) -> dict[int, list[int]]:
    listed = sorted(item.truth.read(item.truth.numbers[0]).ids)
    later = [f"{item.clip.name}/{number}" for number in frames if number not in listed]
    if later:
        left_out.setdefault("as they come after the first annotated frame", []).extend(later)
    return {number: list(frames.get(number, shared or ())) for number in listed}


def _row(
    item: Judged, object_id: int, numbers: Sequence[int], measured: Sequence[Agreement], protocol: Protocol
) -> Row:
    j, f = np.array([got.j for got in measured]), np.array([got.f for got in measured])
    return Row(
        video=item.clip.name,
        item=str(object_id),
        values=object_values(j, f, stability=protocol.split == "lvos"),
        attributes=(*item.clip.groups.get(object_id, ()), *_attributes(item, numbers, measured)),
        frames=tuple(item.clip.index_of(number) for number in numbers),
        series={"J": tuple(j.tolist()), "F": tuple(f.tolist()), "J&F": tuple(((j + f) / 2).tolist())},
    )


def _attributes(item: Judged, numbers: Sequence[int], measured: Sequence[Agreement]) -> tuple[str, ...]:
    """What is said of an object for breakdowns: its size as SA-V has it, whether it comes late, whether it goes and returns."""
    areas = np.array([got.truth_px for got in measured])
    there = np.flatnonzero(areas)
    if not len(there):
        return ("absent",)
    size = float(areas[there].mean())
    words = ["small" if size < _SMALL_PX else "medium" if size < _MEDIUM_PX else "large"]
    if (areas[there[0] : there[-1] + 1] == 0).any():
        words.append("returns")
    elif there[-1] < len(areas) - 1:
        words.append("leaves")
    if numbers[0] > item.truth.numbers[1]:
        words.append("late")
    return tuple(words)
