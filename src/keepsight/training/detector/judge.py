"""Measures a detector on pictures that were kept back, and keeps what it found beside the truth, in COCO's form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keepsight.core.mask import Mask, mask_ious
from keepsight.evaluation.concepts.gated import count_pair
from keepsight.evaluation.concepts.worst import LEGEND, draw_pair
from keepsight.evaluation.report import Picture
from keepsight.evaluation.results import Results, Row
from keepsight.store.files import replacing_file
from keepsight.training.detector.album import Album
from keepsight.training.detector.album import Picture as Shown
from keepsight.training.detector.features import Looker
from keepsight.training.detector.finding import find
from keepsight.training.detector.scoring import MOST_FOUND, Scores, asked_of, score, truth_of
from keepsight.training.detector.words import Words

_SHOWN = 6
PROTOCOL = (
    "Every phrase that is on a picture, or is known not to be, is asked of it; finds with a score of 0.01 or more count, "
    "at most 100 a phrase and picture.",
    "AP: pycocotools, over IoU .5 to .95, mean over phrases; crowds are ignored. The interval draws pictures.",
    "cgF1: finds with a score of 0.5 or more, of the masks where there are masks; a picture is a video of one frame.",
)


@dataclass(frozen=True, eq=False)
class Judge:
    """The kept-back pictures.

    Attributes:
        names: under which the features of the pictures are kept.
        folder: gets ``truth.json`` and what was found.
    """

    album: Album
    names: tuple[str, ...]
    folder: Path

    def __call__(
        self, looker: Looker, words: Words, name: str, log: Callable[[str], None], *, again: bool = True
    ) -> Scores:
        """Scores the detector as it stands; what it found goes to ``name.json``.

        Args:
            again: look even where a file of that name is there.
        """
        truth = truth_of(self.album)
        numbers = {entry["name"]: entry["id"] for entry in truth["categories"]}
        file = self.folder / f"{name}.json"
        if again or not file.exists():
            every, done = max(1, len(self.album.pictures) // 4), 0

            def seen() -> None:
                nonlocal done
                done += 1
                if done % every == 0:
                    log(f"{name}: {done} of {len(self.album.pictures)} pictures")

            found = find(looker, words, self.album, self.names, numbers, seen=seen)
            _write(self.folder / "truth.json", truth)
            _write(file, found)
        else:
            found = json.loads(file.read_text(encoding="utf-8"))
        asked = [
            (image, numbers[phrase])
            for image, picture in enumerate(self.album.pictures, 1)
            for phrase in asked_of(picture)
        ]
        return score(truth, found, asked)

    def results(self, scores: Scores, model: str) -> Results:
        """For a report: a row for every picture and phrase."""
        asked = [(picture.name, phrase) for picture in self.album.pictures for phrase in asked_of(picture)]
        rows = [
            Row(picture, phrase, {"F1": float(counts.f1.mean()), "F1@50": float(counts.f1[0])})
            for (picture, phrase), counts in zip(asked, scores.pairs, strict=True)
        ]
        summary = {name: value for name, value in scores.summary.items() if value == value}
        remarks = () if scores.headline == "mask AP" else ("Objects without a mask: measured by boxes.",)
        rows.sort(key=lambda row: (row.video, row.item))
        return Results(
            "concepts", PROTOCOL, summary, (scores.headline, "cgF1"), tuple(rows), {"model": model}, remarks=remarks
        )

    def pictures(self, scores: Scores, name: str) -> list[Picture]:
        """The worst of each picture and phrase, from what was found under ``name``; of phrases with masks only.

        Half of them at most are phrases that are not there, which are wrong altogether or not at all.
        """
        found = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        by_pair: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for entry in found:
            by_pair.setdefault((entry["image_id"], entry["category_id"]), []).append(entry)
        numbers = {entry["name"]: entry["id"] for entry in truth_of(self.album)["categories"]}
        asked = [(i, phrase) for i, picture in enumerate(self.album.pictures, 1) for phrase in asked_of(picture)]
        order = sorted(range(len(asked)), key=lambda place: (float(scores.pairs[place].f1.mean()), place))
        wrong = [place for place in order if scores.pairs[place].f1.mean() < 1]
        negative = [place for place in wrong if not scores.pairs[place].truth][: _SHOWN // 2]
        chosen = [place for place in wrong if scores.pairs[place].truth][: _SHOWN - len(negative)] + negative
        shown = []
        for place in chosen:
            image, phrase = asked[place]
            shown.append(_shown(self.album.pictures[image - 1], phrase, by_pair.get((image, numbers[phrase]), [])))
        return [picture for picture in shown if picture is not None]


def _shown(picture: Shown, phrase: str, found: list[dict[str, Any]]) -> Picture | None:
    true = [item.mask for item in picture.of(phrase) if item.mask is not None]
    if len(true) < len(picture.of(phrase)):
        return None
    best = sorted(found, key=lambda entry: -entry["score"])[:MOST_FOUND]
    masks = [Mask.from_coco(entry["segmentation"]) for entry in best]
    counts = count_pair(mask_ious(true, masks), np.array([entry["score"] for entry in best], float))
    here = {number: masks[number] for number in counts.counted.tolist()}
    partners = counts.partners
    drawn = draw_pair(picture.pixels.read(), dict(enumerate(true)), partners.keys(), here, set(partners.values()))
    return Picture(f"{picture.name}/{phrase}", f"{len(true)} true, {len(here)} found; {LEGEND}", drawn)


def _write(file: Path, value: Any) -> None:
    with replacing_file(file) as path:
        path.write_text(json.dumps(value), encoding="utf-8")
