"""What an evaluation gives, whatever it measured: rows that were scored one by one, and the figures made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Task = Literal["vos", "box", "concepts"]


@dataclass(frozen=True)
class Row:
    """The smallest thing that is scored by itself: an object of a video, a sequence, or a (video, phrase) pair.

    Attributes:
        video: name of the video or sequence.
        item: object id or phrase; empty where a video has one row only.
        values: value by measure, as a share (0..1; a stability or an error may be larger). A measure that does not apply to
            this row is left out: it takes no part in a mean.
        attributes: groups that the row belongs to ("seen", "occlusion", "small"), for breakdowns.
        frames: index in the video of every frame that was scored, ascending.
        series: value by frame by measure, as long as ``frames``; ``None`` where a frame was not scored.
        parts: counts and sums of which only figures are made (:class:`Figure`): nothing for a table.
    """

    video: str
    item: str
    values: Mapping[str, float]
    attributes: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``video`` or ``video/item``: what people call it, the same in every run."""
        return f"{self.video}/{self.item}" if self.item else self.video


@dataclass(frozen=True)
class Curve:
    """A curve of the report: a success plot, a precision plot, J by frame.

    Attributes:
        title, x_label, y_label: for people, with units.
        x, y: as long as each other.
    """

    title: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Figure:
    """How a figure of the summary is made of the rows, where it is not simply their mean; intervals are drawn by it.

    Attributes:
        by: "mean", "product" or "geometric mean" of what is named; "video mean" of one measure, every video by the mean of its
            rows; "frame mean" of one measure, every row by as many frames as have a value in its first series; "mcc" of the
            sums of four measures (true positives, false positives, false negatives, true negatives); "f1" of the sums of three
            (true positives, false positives, false negatives); "ratio" of the sum of one to the sum of another, 0 where there
            is none of that.
        of: names of other figures, or of measures or parts of the rows, whose mean is meant (for mcc, f1 and ratio, the sum);
            ``measure@attribute`` is over the rows of that attribute only.
        small: constant that a reference adds to its denominators, for "mcc" and "f1" (there to those of precision and recall
            too).
    """

    by: Literal["mean", "product", "geometric mean", "video mean", "frame mean", "mcc", "f1", "ratio"]
    of: tuple[str, ...]
    small: float = 0.0


@dataclass(frozen=True)
class Results:
    """What a run measured, ready to be written, shown and compared.

    Attributes:
        task: "vos", "box" or "concepts".
        protocol: how it was scored, in lines for people: which frames count, over what is averaged, what void does.
        summary: figure by measure over the whole data set, as shares, in the order of a table; by the data set's own rule,
            which need not be the mean of the rows.
        headline: measures to compare runs by, most important first; keys of ``summary`` and of the rows' values where a row
            has them.
        rows: everything scored, ordered by video and item.
        settings: whatever made the numbers: data set and its root, model, policy and its options, protocol switches.
        curves: plots of the report.
        remarks: lines that a reader must see: videos left out, predictions that lack, known differences.
        lower_is_better: measures that are errors or costs; of the others more is better.
        figures: rule by figure of the summary that is not the mean over the rows that have it. Without a rule such a figure
            has no interval.
        columns: measures of the rows that tables show, in this order; empty: those of the headline first, then as they come.
        counts: measures that count something, so that their values are whole.
    """

    task: Task
    protocol: tuple[str, ...]
    summary: Mapping[str, float]
    headline: tuple[str, ...]
    rows: tuple[Row, ...]
    settings: Mapping[str, Any]
    curves: tuple[Curve, ...] = ()
    remarks: tuple[str, ...] = ()
    lower_is_better: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
