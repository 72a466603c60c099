"""The numbers of the loop: defaults, ranges, and that the documentation has them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepsight.concepts import ConceptRules
from keepsight.core import InputError

PAGE = Path(__file__).parents[2] / "docs" / "concepts.md"


def test_defaults_are_those_of_sam3_as_transformers_has_them():
    from tiny_sam3 import rules
    from transformers import Sam3VideoConfig

    class Whole:
        config = Sam3VideoConfig()

    assert ConceptRules.of({**rules(Whole()).__dict__, "as_transformers": False}) == ConceptRules()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"score_threshold": 1.1}, r"score_threshold must be in \[0, 1\], got 1.1"),
        ({"new_score": -0.1}, "new_score must be in"),
        ({"match_iou": 0}, r"match_iou must be in \(0, 1\]"),
        ({"detect_every": 0}, "detect_every must be 1 or more"),
        ({"max_objects": 0}, "max_objects must be 1 or more"),
        ({"keep_alive_least": 1}, "keep_alive_least must be 0 or less"),
        ({"keep_alive_start": 31}, r"at most keep_alive_most \(30\), got 31"),
        ({"hotstart_frames": 7}, r"hotstart_unmatched must be at most hotstart_frames \(7\), got 8"),
        ({"recondition_every": float("nan")}, "a whole number"),
        ({"fill_hole_px": True}, "a whole number"),
        ({"hide_unmatched": 1}, "true or false"),
    ],
)
def test_a_value_outside_its_range_is_refused_with_the_range(values, said):
    with pytest.raises(InputError, match=said):
        ConceptRules(**values)


def test_values_as_the_command_line_has_them():
    assert ConceptRules.of({"nms_iou": "0.3", "hide_unmatched": "yes"}) == ConceptRules(
        nms_iou=0.3, hide_unmatched=True
    )
    with pytest.raises(InputError, match="Did you mean 'nms_iou'"):
        ConceptRules.of({"nms": "0.3"})


def test_the_page_has_every_rule_as_it_is():
    page = PAGE.read_text(encoding="utf-8")
    for rule in ConceptRules.describe():
        row = f"| `{rule.name}` | {rule.default} | {rule.range} | {rule.meaning} | {rule.effect} |"
        assert row in page, rule.name
