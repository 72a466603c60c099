"""What is typed for concepts becomes concepts; the refusals are in tests/cli/test_bad_input.py."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from keepsight.concepts import choosing
from keepsight.core import Concept, Exemplar, InputError, Prompt
from keepsight.pipeline.job import SegmentJob
from keepsight.pipeline.words import Asked, gather, parse_concepts, read_rules


def test_texts_are_numbered_and_told_apart_without_their_case() -> None:
    assert parse_concepts(["cow", " person in blue ", "Cow"]) == (Concept(1, "cow"), Concept(2, "person in blue"))


def test_exemplars_go_to_their_concept() -> None:
    found = parse_concepts(["cow", "dog"], ["0:1,2,30,40=cow", "-7:5,5,9,9=Dog", "+3:1,1,2,2=cow", "2:1,1,2,2=pig"])
    assert found == (
        Concept(1, "cow", (Exemplar(0, (1, 2, 30, 40)), Exemplar(3, (1, 1, 2, 2)))),
        Concept(2, "dog", (Exemplar(7, (5, 5, 9, 9), positive=False),)),
        Concept(3, "pig", (Exemplar(2, (1, 1, 2, 2)),)),
    )
    assert parse_concepts(["cow"], ["-4:1,1,2,2"])[0].exemplars == (Exemplar(4, (1, 1, 2, 2), positive=False),)
    with pytest.raises(InputError, match=r"of which concept.*'cow', 'dog'"):
        parse_concepts(["cow", "dog"], ["0:1,1,2,2"])


def test_like_asks_for_what_looks_alike() -> None:
    asked = gather(likes=["0:1,2,30,40"])
    assert (asked.detector, asked.concepts) == (
        choosing.LIKE.name,
        (Concept(1, "thing", (Exemplar(0, (1, 2, 30, 40)),)),),
    )
    assert gather(likes=["0:1,2,30,40=coin"]).concepts[0].text == "coin"
    assert gather(texts=["coin"], likes=["0:1,2,30,40"], detector="sam3").detector == "sam3"


def test_a_file_may_hold_concepts_beside_prompts(tmp_path: Path) -> None:
    file = tmp_path / "asked.json"
    exemplar = {"frame": 3, "box": [1, 2, 3, 4], "positive": False}
    values = {
        "version": 1,
        "prompts": [{"object": 4, "frame": 2, "points": [[5, 6]]}],
        "concepts": [{"text": "cow", "exemplars": [exemplar]}, {"text": "dog"}],
    }
    file.write_text(json.dumps(values))
    asked = gather(points=["0:1,1"], file=file, texts=["pig", "COW"])
    assert asked.concepts == (
        Concept(1, "cow", (Exemplar(3, (1, 2, 3, 4), positive=False),)),
        Concept(2, "dog"),
        Concept(3, "pig"),
    )
    # Ids in a file were chosen by somebody; the click's was not.
    assert asked.dealt == {1}
    assert Prompt(4, 2, points=((5.0, 6.0),), labels=(1,)) in asked.prompts


def test_a_job_takes_all_that_was_asked_for() -> None:
    asked = gather(["0:1,1"], texts=["cow"], detector="owlv2", rules=["new-score=0.5"], detect_every=4)
    job = asked.added_to(SegmentJob("clip.mp4", model="sam3", stride=2))
    for field in fields(Asked):
        assert getattr(asked, field.name)
        assert getattr(job, field.name) == getattr(asked, field.name)
    assert (job.video, job.model, job.stride) == ("clip.mp4", "sam3", 2)
    assert gather().added_to(job) == SegmentJob("clip.mp4", model="sam3", stride=2)


def test_rules_are_read_by_name() -> None:
    assert read_rules([], None) is None
    assert read_rules(["new-score=0.5", "one_to_one=true"], 4) == {
        "new_score": 0.5,
        "one_to_one": True,
        "detect_every": 4,
    }
