"""Results as JSON and back.

Strict JSON: what is no number there (NaN, infinity) is a word ("nan", "inf", "-inf") where a number is expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from keepsight.evaluation.results import Curve, Figure, Results, Row


def encode(results: Results) -> dict[str, Any]:
    """Plain values of JSON: everything of the results, rows last."""
    return {
        "task": results.task,
        "protocol": list(results.protocol),
        "summary": _numbers(results.summary),
        "headline": list(results.headline),
        "settings": plain(results.settings),
        "remarks": list(results.remarks),
        "lower_is_better": list(results.lower_is_better),
        "columns": list(results.columns),
        "counts": list(results.counts),
        "figures": {
            name: {"by": figure.by, "of": list(figure.of), "small": figure.small}
            for name, figure in results.figures.items()
        },
        "curves": [
            {
                "title": curve.title,
                "x_label": curve.x_label,
                "y_label": curve.y_label,
                "x": [_number(value) for value in curve.x],
                "y": [_number(value) for value in curve.y],
            }
            for curve in results.curves
        ],
        "rows": [encode_row(row) for row in results.rows],
    }


def encode_row(row: Row) -> dict[str, Any]:
    """What is empty is left out."""
    encoded: dict[str, Any] = {"video": row.video, "item": row.item, "values": _numbers(row.values)}
    if row.attributes:
        encoded["attributes"] = list(row.attributes)
    if row.frames:
        encoded["frames"] = [int(frame) for frame in row.frames]
    if row.series:
        encoded["series"] = {
            name: [None if value is None else _number(value) for value in values] for name, values in row.series.items()
        }
    if row.parts:
        encoded["parts"] = _numbers(row.parts)
    return encoded


def decode(encoded: Mapping[str, Any]) -> Results:
    """The results that :func:`encode` was given.

    Raises:
        KeyError, TypeError, ValueError: something lacks or is of another kind.
    """
    return Results(
        task=encoded["task"],
        protocol=tuple(encoded["protocol"]),
        summary={name: float(value) for name, value in encoded["summary"].items()},
        headline=tuple(encoded["headline"]),
        rows=tuple(_row(row) for row in encoded["rows"]),
        settings=dict(encoded["settings"]),
        curves=tuple(
            Curve(
                curve["title"],
                curve["x_label"],
                curve["y_label"],
                tuple(float(value) for value in curve["x"]),
                tuple(float(value) for value in curve["y"]),
            )
            for curve in encoded["curves"]
        ),
        remarks=tuple(encoded["remarks"]),
        lower_is_better=tuple(encoded["lower_is_better"]),
        columns=tuple(encoded.get("columns", ())),
        counts=tuple(encoded.get("counts", ())),
        figures={
            name: Figure(rule["by"], tuple(rule["of"]), float(rule.get("small", 0)))
            for name, rule in encoded["figures"].items()
        },
    )


def _row(encoded: Mapping[str, Any]) -> Row:
    return Row(
        video=encoded["video"],
        item=encoded["item"],
        values={name: float(value) for name, value in encoded["values"].items()},
        attributes=tuple(encoded.get("attributes", ())),
        frames=tuple(encoded.get("frames", ())),
        series={
            name: tuple(None if value is None else float(value) for value in values)
            for name, values in encoded.get("series", {}).items()
        },
        parts={name: float(value) for name, value in encoded.get("parts", {}).items()},
    )


def plain(value: Any) -> Any:
    """A setting as JSON knows it: paths, enumerations, dates and whatever else are told as text."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(inner) for inner in value), key=str)
    return str(value)


def _numbers(values: Mapping[str, float]) -> dict[str, float | str]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: float) -> float | str:
    value = float(value)
    return value if math.isfinite(value) else str(value)
