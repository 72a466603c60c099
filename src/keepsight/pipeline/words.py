"""Turns what a person asks for on the command line into prompts and concepts.

The forms, beside those of :mod:`keepsight.pipeline.prompts`:

* concept: a word or a short phrase
* exemplar: ``[+|-]FRAME:X1,Y1,X2,Y2[=CONCEPT]``, a box around what belongs to a concept (``+``, which may be left out) or around
  what does not (``-``). Without ``=CONCEPT`` it is about the only concept there is.
* like: ``FRAME:X1,Y1,X2,Y2[=CONCEPT]``, a box around one of many that look alike, all of which are to be found. Without a concept
  they are called "thing".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keepsight.core import Concept, Exemplar, InputError, Prompt
from keepsight.pipeline.job import SegmentJob, parse_options
from keepsight.pipeline.prompts import deal_prompts

_FORM = re.compile(r"(?P<sign>[+-]?)(?P<frame>\d+):(?P<box>[^=]*)(?:=(?P<concept>.*))?", re.DOTALL)


ANYTHING = "thing"
"""What is found is called, when nobody said what to call it."""

LIKE = "like"
"""Detector that finds what looks like an example: SAM 3's own beside SAM 3, else by likeness."""


@dataclass(frozen=True)
class Asked:
    """What a person asked for.

    Attributes:
        prompts: clicks, boxes and masks.
        dealt: object ids among theirs that nobody chose.
        concepts: numbered from 1.
        detector: that was named, or that ``--like`` asks for.
        rules: how detections become objects, by name; ``None`` when nothing was said.
    """

    prompts: tuple[Prompt, ...] = ()
    dealt: frozenset[int] = frozenset()
    concepts: tuple[Concept, ...] = ()
    detector: str | None = None
    rules: dict[str, Any] | None = None

    def added_to(self, job: SegmentJob) -> SegmentJob:
        """The job with what was asked for."""
        return replace(
            job,
            prompts=self.prompts,
            dealt=self.dealt,
            concepts=self.concepts,
            detector=self.detector,
            rules=self.rules,
        )


def gather(
    points: Sequence[str] | None = None,
    boxes: Sequence[str] | None = None,
    masks: Sequence[str] | None = None,
    file: Path | None = None,
    *,
    texts: Sequence[str] | None = None,
    exemplars: Sequence[str] | None = None,
    likes: Sequence[str] | None = None,
    detector: str | None = None,
    rules: Sequence[str] | None = None,
    detect_every: int | None = None,
) -> Asked:
    """All options that say what to follow and how to find it, and a prompts file, together.

    Raises:
        InputError: anything malformed or contradictory, with the option quoted.
    """
    prompts: Sequence[Prompt] = ()
    concepts: Sequence[Concept] = ()
    if file is not None:
        from keepsight.formats import load_request

        prompts, concepts = load_request(file)
    said, dealt = deal_prompts(points or (), boxes or (), masks or (), known=prompts)
    found = parse_concepts(texts or (), exemplars or (), likes or (), known=concepts)
    named = detector or (LIKE if likes else None)
    return Asked(tuple(said), dealt, found, named, read_rules(rules or (), detect_every))


def parse_concepts(
    texts: Sequence[str] = (),
    exemplars: Sequence[str] = (),
    likes: Sequence[str] = (),
    *,
    known: Sequence[Concept] = (),
) -> tuple[Concept, ...]:
    """Reads ``--text``, ``--exemplar`` and ``--like``; see the module's text for their forms.

    Args:
        known: concepts from elsewhere (a prompts file).

    Returns:
        Numbered from 1, in the order in which they were said; texts that differ in case only are one concept.

    Raises:
        InputError: a text that is not accepted, or an exemplar of no concept.
    """
    found: dict[str, Concept] = {}

    def concept(text: str) -> Concept:
        made = Concept(len(found) + 1, text)
        return found.setdefault(made.text.casefold(), made)

    def show(one: Concept, shown: Sequence[Exemplar]) -> None:
        found[one.text.casefold()] = replace(one, exemplars=(*one.exemplars, *shown))

    for item in known:
        show(concept(item.text), item.exemplars)
    for text in texts:
        concept(text)
    shown = [("--exemplar", text) for text in exemplars] + [("--like", text) for text in likes]
    for option, text in shown:
        exemplar, name = _exemplar(option, text)
        if name is None and not found and option == "--like":
            name = ANYTHING
        if name is None and len(found) != 1:
            names = ", ".join(f"'{item.text}'" for item in found.values()) or "none"
            raise InputError(f"{option} {text}: of which concept? Add =CONCEPT; there are: {names}.")
        show(next(iter(found.values())) if name is None else concept(name), [exemplar])
    return tuple(found.values())


def read_rules(items: Sequence[str], detect_every: int | None) -> dict[str, Any] | None:
    """Reads ``--rule`` and ``--detect-every``; ``None`` when nothing was said.

    Raises:
        InputError: no ``NAME=VALUE``, or a name given twice.
    """
    rules = parse_options("--rule", items)
    if detect_every is not None:
        if "detect_every" in rules:
            raise InputError("Give --detect-every or --rule detect_every=N, not both.")
        rules["detect_every"] = detect_every
    return rules or None


def check_concepts(concepts: Sequence[Concept], height: int, width: int, frame_count: int | None) -> None:
    """Raises :class:`InputError` for an exemplar that lies outside the frame or the video."""
    for concept in concepts:
        for exemplar in concept.exemplars:
            exemplar.check_inside(height, width, frame_count, of=concept.text)


def _exemplar(option: str, text: str) -> tuple[Exemplar, str | None]:
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{option} {text}: expected [+|-]FRAME:X1,Y1,X2,Y2, optionally followed by =CONCEPT.")
    try:
        numbers = [float(part) for part in match["box"].split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise InputError(f"{option} {text}: expected four numbers in pixels, X1,Y1,X2,Y2.")
    x1, y1, x2, y2 = numbers
    name = match["concept"]
    try:
        return Exemplar(int(match["frame"]), (x1, y1, x2, y2), match["sign"] != "-"), name
    except InputError as error:
        raise InputError(f"{option} {text}: {error}") from error
