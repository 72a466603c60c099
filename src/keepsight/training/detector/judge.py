"""Measures a detector on pictures that were kept back, and keeps what it found beside the truth, in COCO's form."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepsight.evaluation.results import Results, Row
from keepsight.store.files import replacing_file
from keepsight.training.detector.album import Album
from keepsight.training.detector.features import Looker
from keepsight.training.detector.finding import find
from keepsight.training.detector.scoring import Scores, asked_of, score, truth_of
from keepsight.training.detector.words import Words

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


def _write(file: Path, value: Any) -> None:
    with replacing_file(file) as path:
        path.write_text(json.dumps(value), encoding="utf-8")
