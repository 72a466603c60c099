"""How the policies of a comparison and their options are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepsight.core import InputError
from keepsight.pipeline.compare_job import CompareJob, read_options, read_policies
from keepsight.pipeline.job import SegmentJob


def test_policies_are_named_once_each() -> None:
    assert read_policies(" sam2, sam2long,") == ("sam2", "sam2long")
    with pytest.raises(InputError, match="Did you mean 'sam2long'"):
        read_policies("sam2,sam2lon")
    with pytest.raises(InputError, match="twice"):
        read_policies("sam2,sam2")
    with pytest.raises(InputError, match="at least one"):
        read_policies(" ,")


def test_options_name_their_policy() -> None:
    assert read_options(("sam2", "sam2long"), {"sam2long.pathways": 2}) == {"sam2long": {"pathways": 2}}
    for bad in ("pathways", "mosam.guidance", "sam2long.pathway", "sam2long."):
        with pytest.raises(InputError):
            read_options(("sam2", "sam2long"), {bad: 2})


def test_a_comparison_has_a_folder_of_its_own() -> None:
    assert CompareJob(SegmentJob("a/clip.mp4"), ("sam2",)).folder == Path("out/clip-compare")
    assert CompareJob(SegmentJob("a/clip.mp4", out=Path("here")), ("sam2",)).folder == Path("here")
