"""What a person types for prompts, and what it comes to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keepsight.core import InputError, Mask, Prompt
from keepsight.pipeline.prompts import check_prompts, merge_prompts, parse_prompts


def _mask(*sides: int) -> Mask:
    pixels = np.zeros((20, 30), dtype=np.uint8)
    for side in sides:
        pixels[:side, :side] = 1
    return Mask.from_array(pixels)


def test_points_and_boxes_without_object_start_new_objects() -> None:
    prompts = parse_prompts(["0:1,2=cat", "3:4.5,6,+", "3:7,8,-"], ["0:1,2,3,4=dog"])
    assert prompts == [
        Prompt(1, 0, points=((1, 2),), labels=(1,), label="cat"),
        Prompt(3, 0, box=(1, 2, 3, 4), label="dog"),
        Prompt(2, 3, points=((4.5, 6), (7, 8)), labels=(1, 0)),
    ]


def test_named_objects_are_joined_on_a_frame_and_their_numbers_are_not_given_away() -> None:
    prompts = parse_prompts(["5:1,1@1", "5:2,2,-@1=cat", "5:9,9"], ["5:0,0,4,4@1", "8:0,0,4,4@1"])
    assert prompts == [
        Prompt(1, 5, points=((1, 1), (2, 2)), labels=(1, 0), box=(0, 0, 4, 4), label="cat"),
        Prompt(2, 5, points=((9, 9),), labels=(1,)),
        Prompt(1, 8, box=(0, 0, 4, 4), label="cat"),
    ]


def test_every_id_of_a_mask_file_is_an_object(tmp_path: Path) -> None:
    strange = tmp_path / "a@b=c.png"
    strange.touch()
    files = {"two.png": {4: _mask(2), 7: _mask(3)}, str(strange): {1: _mask(5)}, "one.png": {1: _mask(6)}}

    def read(path: Path) -> dict[int, Mask]:
        return files[str(path)]

    prompts = parse_prompts(["0:1,1"], masks=["0:two.png", f"2:{strange}", "2:one.png@9=leaf"], read_mask=read)
    said = [(prompt.frame, prompt.object_id, prompt.label) for prompt in prompts]
    # The click is a new object, so it takes the first number that no file has used.
    assert said == [(0, 2, None), (0, 4, None), (0, 7, None), (2, 1, None), (2, 9, "leaf")]
    with pytest.raises(InputError, match="holds objects 4, 7"):
        parse_prompts(masks=["0:two.png@1"], read_mask=read)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"points": ["7,8"]}, r"--point 7,8: expected FRAME:X,Y"),
        ({"points": ["0:7"]}, "with numbers in pixels"),
        ({"points": ["0:7,8,*"]}, "with numbers in pixels"),
        ({"points": ["0:nan,5"]}, "finite"),
        ({"points": ["0:1e999,5"]}, "finite"),
        ({"points": ["0:7,8,-"]}, "needs @OBJECT"),
        ({"points": ["0:7,8@cat"]}, "a name goes after '='"),
        ({"points": ["0:7,8="]}, "label .* is empty"),
        ({"points": ["0:1,1@1=cat", "1:1,1@1=dog"]}, "both 'cat' and 'dog'"),
        ({"boxes": ["0:1,2,3"]}, "X1,Y1,X2,Y2"),
        ({"boxes": ["0:9,9,3,3"]}, "X2 > X1"),
        ({"boxes": ["0:1,1,2,2@1", "0:1,1,2,2@1"]}, "two boxes"),
        ({"boxes": ["0:1,1,2,2@3"], "masks": ["0:m.png@3"]}, "mask as well as a point or a box"),
        ({"masks": ["0:m.png", "0:m.png"]}, "two masks"),
        ({"masks": ["0:empty.png"]}, "empty"),
    ],
)
def test_malformed_or_contradictory_options_are_named(options: dict[str, list[str]], says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_prompts(**options, read_mask=lambda path: {1: _mask() if path.stem == "empty" else _mask(4)})


def test_prompts_must_lie_in_the_video() -> None:
    inside = Prompt(1, 9, points=((29, 19),), labels=(1,))
    check_prompts([inside], 20, 30, 10)
    for prompt, says in (
        (Prompt(1, 10, points=((1, 1),), labels=(1,)), "no frame 10; the video has frames 0 to 9"),
        (Prompt(1, -1, points=((1, 1),), labels=(1,)), "no frame -1"),
        (Prompt(1, 0, points=((30, 1),), labels=(1,)), "outside the 30x20 px frame"),
    ):
        with pytest.raises(InputError, match=says):
            check_prompts([prompt], 20, 30, 10)
    with pytest.raises(InputError, match="Nothing to follow"):
        check_prompts([], 20, 30, 10)


def test_merging_is_stable() -> None:
    prompts = parse_prompts(["5:1,1@1", "5:9,9@2=x"], ["8:0,0,4,4@1"])
    assert merge_prompts(prompts) == prompts
