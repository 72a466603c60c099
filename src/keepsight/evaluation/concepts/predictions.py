"""Predictions in the layout in which they are handed in: ``results.json``, a list with an entry a tube."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keepsight.core import InputError
from keepsight.evaluation.concepts.dataset import ConceptSet, SetVideo, tube_of, whole_number
from keepsight.evaluation.concepts.tubes import Tube
from keepsight.formats.ytvis import read_json
from keepsight.store.files import replacing_file

RESULTS = "results.json"


@dataclass(eq=False)
class Predictions:
    """Found tubes.

    Attributes:
        tubes: by video and category; a pair of which nothing was found may lack.
        left_out: entries about pairs that the set does not ask for.
    """

    tubes: dict[tuple[int, int], tuple[Tube, ...]] = field(default_factory=dict)
    left_out: int = 0


def read_predictions(path: Path, of: ConceptSet) -> Predictions:
    """Reads ``results.json``: ``[{video_id, category_id, score, segmentations: [RLE or null a frame]}, ...]``.

    Raises:
        InputError: not JSON, not of this layout, of another set, a score outside 0 to 1; the entry is named.
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InputError(f"{path} is no list of results: [{{video_id, category_id, score, segmentations}}, ...].")
    asked = {pair.key for pair in of.pairs}
    found: dict[tuple[int, int], list[Tube]] = {}
    left_out = 0
    for place, entry in enumerate(entries):
        try:
            key = whole_number(entry, "video_id"), whole_number(entry, "category_id")
            if key[0] not in of.videos:
                raise InputError(f"the set has no video {key[0]}")
            if key[1] not in of.phrases:
                raise InputError(f"the set has no category {key[1]}")
            tube = tube_of(entry, of.videos[key[0]], _score(entry))
        except InputError as error:
            raise InputError(f"{path}: result {place}: {str(error).rstrip('.')}.") from error
        if of.says_pairs and key not in asked:
            left_out += 1
            continue
        found.setdefault(key, []).append(tube)
    return Predictions({key: tuple(tubes) for key, tubes in found.items()}, left_out)


def entries_of(video: SetVideo, category: int, tubes: Sequence[Tube]) -> list[dict[str, Any]]:
    """The entries of a pair."""
    return [
        {
            "video_id": video.number,
            "category_id": category,
            "score": tube.score,
            "segmentations": [
                tube.masks[frame].to_coco() if frame in tube.masks else None for frame in range(len(video.file_names))
            ],
        }
        for tube in tubes
    ]


def write_predictions(path: Path, entries: Iterable[Mapping[str, Any]]) -> int:
    """Writes ``results.json``, entry by entry; returns their number.

    Raises:
        StoreError: it cannot be written.
    """
    count = 0
    with replacing_file(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        out.write("[")
        for count, entry in enumerate(entries, 1):
            out.write(",\n" if count > 1 else "\n")
            out.write(json.dumps(entry, separators=(",", ":")))
        out.write("\n]\n")
    return count


def _score(entry: Mapping[str, Any]) -> float:
    score = entry.get("score")
    if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
        raise InputError("score is missing" if score is None else "score is no number")
    if not 0 <= score <= 1:
        raise InputError(f"a score is from 0 to 1, not {score:g}")
    return float(score)
