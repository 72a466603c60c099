"""From a data set and its predictions to results: every sequence is read, scored and let go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keepsight.evaluation.box.average_overlap import THRESHOLDS as AO_THRESHOLDS
from keepsight.evaluation.box.average_overlap import average_overlap, success_curve, visible_overlaps
from keepsight.evaluation.box.layouts import Layout
from keepsight.evaluation.box.one_pass import DISTANCES, DISTANCES_PX, OVERLAPS, OnePass, one_pass, over_sequences
from keepsight.evaluation.box.overlaps import Bools, Floats, box_overlaps, there
from keepsight.evaluation.box.protocol import protocol_lines
from keepsight.evaluation.box.regions import Nothing, Region, is_empty, region_overlaps
from keepsight.evaluation.box.sequences import BoxSequence, Prediction, Target
from keepsight.evaluation.box.vots import MEASURES, Follows, Kind, follows, of_sequence, of_set, quality_curve
from keepsight.evaluation.box.vots import THRESHOLDS as QUALITY_THRESHOLDS
from keepsight.evaluation.results import Curve, Figure, Results, Row

LOWER_IS_BETTER = ("NRE", "DRE")
_DIAGNOSIS = ("accuracy", "robustness", "NRE", "DRE", "ADQ")
_HEADLINES: dict[str, tuple[str, ...]] = {
    "one-pass": ("AUC", "precision", "norm. precision"),
    "average-overlap": ("AO", "SR 0.50", "SR 0.75"),
    "vots": ("quality", "accuracy", "robustness"),
}


@dataclass
class _Heap:
    """What the figures of the whole set are made of: a few numbers a frame at most."""

    passes: list[OnePass] = field(default_factory=list)
    overlaps: list[Floats] = field(default_factory=list)
    seconds: list[Floats] = field(default_factory=list)
    followed: list[list[Follows]] = field(default_factory=list)
    sequences: list[dict[str, float]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def score(
    layout: Layout,
    folder: Path,
    settings: Mapping[str, Any],
    *,
    as_toolkit: bool = False,
    tell: Callable[[int], None] = lambda done: None,
) -> Results:
    """Scores predictions.

    Args:
        folder: of the predictions, in the set's submission layout.
        settings: what made them, for the report.
        as_toolkit: count the frame on which an object is given, as vot-toolkit does: nothing is reported there.
        tell: told the number of sequences done.

    Raises:
        InputError: predictions that are missing or do not fit the truth.
    """
    heap = _Heap()
    for done, name in enumerate(layout.names, start=1):
        sequence = layout.read(name)
        _add(heap, layout, sequence, layout.load(folder, sequence), as_toolkit)
        tell(done)
    heap.rows.sort(key=lambda row: (row.video, row.item))
    return Results(
        task="box",
        protocol=protocol_lines(layout.family, as_toolkit=as_toolkit),
        summary=_summary(layout, heap),
        headline=_HEADLINES[layout.family],
        rows=tuple(heap.rows),
        settings=settings,
        curves=_curves(layout, heap),
        remarks=tuple(layout.remarks),
        lower_is_better=LOWER_IS_BETTER,
        figures=_rules(layout),
    )


def _add(heap: _Heap, layout: Layout, sequence: BoxSequence, predictions: list[Prediction], as_toolkit: bool) -> None:
    objects, measured = [], []
    for target, prediction in zip(sequence.targets, predictions, strict=True):
        counted = target.known.copy()
        followed = _follows(layout, sequence, target, prediction, counted, as_toolkit)
        objects.append(followed)
        values = followed.measures()
        measured.append(values)
        if layout.family == "one-pass":
            passed = one_pass(prediction.boxes, target.boxes, target.visible, target.known)
            heap.passes.append(passed)
            values = passed.measures() | {name: values[name] for name in _DIAGNOSIS if name in values}
        elif layout.family == "average-overlap":
            overlaps = visible_overlaps(prediction.boxes, target.boxes, target.visible, sequence.size)
            heap.overlaps.append(overlaps)
            heap.seconds.append(prediction.seconds)
            values = average_overlap(overlaps) | {name: values[name] for name in _DIAGNOSIS if name in values}
        heap.rows.append(_row(sequence, target, values, followed))
    heap.followed.append(objects)
    heap.sequences.append(of_sequence(measured))


def _follows(
    layout: Layout, sequence: BoxSequence, target: Target, prediction: Prediction, counted: Bools, as_toolkit: bool
) -> Follows:
    """What happened to an object; regions as pixels where the set has regions, boxes as they are elsewhere."""
    if layout.family != "vots":
        found = prediction.boxes
        counted[0] = False
        return follows(box_overlaps(found, target.boxes), target.visible, there(found), counted)
    regions: tuple[Region, ...] = prediction.regions or ()
    overlaps = region_overlaps(regions, target.regions or (), sequence.size or (0, 0))
    reported = np.array([not is_empty(region) for region in regions])
    given = 0
    if as_toolkit:
        given = sum(region is Nothing.ABSENT for region, there in zip(regions, target.visible, strict=True) if there)
    else:
        counted[target.first] = False
    return follows(overlaps, target.visible, reported, counted, given)


def _row(sequence: BoxSequence, target: Target, values: dict[str, float], followed: Follows) -> Row:
    scored = followed.kinds != Kind.LEFT_OUT
    frames = np.flatnonzero(scored)
    # Where the object is absent there is no overlap to draw; what was said there is in the counts.
    series = np.where(np.isin(followed.kinds, (Kind.HALLUCINATED, Kind.NOTICED)), np.nan, followed.overlaps)[frames]
    return Row(
        video=sequence.name,
        item=target.name,
        values=values,
        attributes=sequence.all_attributes(),
        frames=tuple(frames.tolist()),
        series={"IoU": tuple(None if np.isnan(value) else round(value, 4) for value in series.tolist())},
    )


def _summary(layout: Layout, heap: _Heap) -> dict[str, float]:
    diagnosis = of_set(heap.sequences)
    if layout.family == "vots":
        return {name: diagnosis[name] for name in MEASURES if name in diagnosis}
    rest = {name: diagnosis[name] for name in _DIAGNOSIS if name in diagnosis}
    if layout.family == "one-pass":
        return over_sequences(heap.passes)[1] | rest
    seconds = np.concatenate([*heap.seconds, np.empty(0)])
    seconds = seconds[np.isfinite(seconds)]
    # The toolkit's speed: the mean of the frames' speeds, and not frames by time.
    speed = {"frames/s": float((1 / seconds).mean())} if len(seconds) else {}
    return average_overlap(np.concatenate([*heap.overlaps, np.empty(0)])) | rest | speed


def _rules(layout: Layout) -> dict[str, Figure]:
    """How figures are made of the rows, for their intervals."""
    if layout.family == "vots":
        return {name: Figure("video mean", (name,)) for name in MEASURES}
    if layout.family == "average-overlap":
        return {name: Figure("frame mean", (name,)) for name in _HEADLINES["average-overlap"]}
    return {}


def _curves(layout: Layout, heap: _Heap) -> tuple[Curve, ...]:
    share = "share of frames"
    if layout.family == "one-pass":
        mean, _ = over_sequences(heap.passes)
        return (
            _curve("Success", "overlap above", share, OVERLAPS, mean.success),
            _curve("Precision", "centre within, px", share, DISTANCES_PX, mean.precision),
            _curve("Normalised precision", "centre within, sizes of the true box", share, DISTANCES, mean.normalised),
        )
    if layout.family == "average-overlap":
        return (_curve("Success", "overlap above", share, AO_THRESHOLDS, success_curve(heap.overlaps)),)
    return (_curve("Quality", "overlap above", share, QUALITY_THRESHOLDS, quality_curve(heap.followed)),)


def _curve(title: str, x_label: str, y_label: str, x: Floats, y: Floats) -> Curve:
    return Curve(title, x_label, y_label, tuple(np.round(x, 6).tolist()), tuple(y.tolist()))
