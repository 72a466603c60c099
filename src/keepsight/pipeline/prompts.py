"""Turns what a person types for prompts into :class:`~keepsight.core.types.Prompt` values.

The forms, each optionally followed by ``@OBJECT`` (a number) and ``=LABEL`` (a name):

* point: ``FRAME:X,Y`` or ``FRAME:X,Y,+`` (on the object), ``FRAME:X,Y,-`` (not on it)
* box: ``FRAME:X1,Y1,X2,Y2``
* mask: ``FRAME:FILE.png`` (every id in the file is an object, unless ``@OBJECT`` names one)

Without ``@OBJECT`` every box and every point on an object starts a new object, since that is what several clicks on several
things mean; a ``-`` point belongs to the object of the point before it. The same ``@OBJECT`` on the same frame is one prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from keepsight.core import InputError, Mask, Prompt

#: Reads a mask file into ``{object id: mask}``.
MaskReader = Callable[[Path], dict[int, Mask]]

_SUFFIX = r"(?:@(?P<object>[^=@]*))?(?:=(?P<label>.*))?"
_FORM = re.compile(r"(?P<frame>-?\d+):(?P<value>[^@=]*)" + _SUFFIX, re.DOTALL)
_FILE_FORM = re.compile(r"(?P<frame>-?\d+):(?P<value>.+?)" + _SUFFIX, re.DOTALL)


@dataclass(frozen=True)
class _Spoken:
    """One option as typed, before objects have their numbers."""

    text: str
    frame: int
    value: str
    object_id: int | None
    label: str | None


def parse_prompts(
    points: Sequence[str] = (),
    boxes: Sequence[str] = (),
    masks: Sequence[str] = (),
    *,
    known: Sequence[Prompt] = (),
    read_mask: MaskReader | None = None,
) -> list[Prompt]:
    """Reads prompt options; see the module's text for their forms.

    Args:
        points, boxes, masks: the options' values in the order given.
        known: prompts from elsewhere (a prompts file); their object ids are taken, and they are merged with the rest.
        read_mask: mask file reader; default :func:`keepsight.formats.read_labels`.

    Returns:
        One prompt an (object, frame), sorted by frame, then object.

    Raises:
        InputError: anything malformed or contradictory, with the option quoted.
    """
    return deal_prompts(points, boxes, masks, known=known, read_mask=read_mask)[0]


def deal_prompts(
    points: Sequence[str] = (),
    boxes: Sequence[str] = (),
    masks: Sequence[str] = (),
    *,
    known: Sequence[Prompt] = (),
    read_mask: MaskReader | None = None,
) -> tuple[list[Prompt], frozenset[int]]:
    """:func:`parse_prompts`, and the object ids that were dealt because nobody chose one."""
    spoken_points = [_split("--point", text) for text in points]
    spoken_boxes = [_split("--box", text) for text in boxes]
    found = list(known)
    for text in masks:
        found += _mask_prompts(_split("--mask", text, file=True), read_mask or _default_mask_reader())

    taken = {prompt.object_id for prompt in found}
    taken |= {item.object_id for item in spoken_points + spoken_boxes if item.object_id is not None}
    free = (number for number in range(1, 1 << 31) if number not in taken)
    chosen = frozenset(taken)

    previous: int | None = None
    for item in spoken_points:
        x, y, label = _point(item)
        object_id = item.object_id
        if object_id is None and label == 0:
            if previous is None:
                raise InputError(
                    f"--point {item.text}: a '-' point needs @OBJECT, or a '+' point before it that it corrects."
                )
            object_id = previous
        elif object_id is None:
            object_id = next(free)
        previous = object_id
        found.append(Prompt(object_id, item.frame, points=((x, y),), labels=(label,), label=item.label))
    for item in spoken_boxes:
        box = _numbers("--box", item, 4, "FRAME:X1,Y1,X2,Y2")
        object_id = next(free) if item.object_id is None else item.object_id
        found.append(Prompt(object_id, item.frame, box=(box[0], box[1], box[2], box[3]), label=item.label))
    merged = merge_prompts(found)
    return merged, frozenset(prompt.object_id for prompt in merged) - chosen


def merge_prompts(prompts: Iterable[Prompt]) -> list[Prompt]:
    """Joins what is said about the same object on the same frame, and gives every prompt of an object its label.

    Returns:
        Sorted by frame, then object.

    Raises:
        InputError: two boxes, two masks, a mask beside points or a box, or two labels for one object.
    """
    merged: dict[tuple[int, int], Prompt] = {}
    labels: dict[int, str] = {}
    for prompt in prompts:
        if prompt.label is not None:
            earlier = labels.setdefault(prompt.object_id, prompt.label)
            if earlier != prompt.label:
                raise InputError(
                    f"Object {prompt.object_id} is called both {earlier!r} and {prompt.label!r}; give it one label."
                )
        key = (prompt.frame, prompt.object_id)
        merged[key] = _join(merged[key], prompt) if key in merged else prompt
    return [replace(merged[key], label=labels.get(key[1])) for key in sorted(merged)]


def check_prompts(prompts: Sequence[Prompt], height: int, width: int, frame_count: int | None) -> None:
    """Raises :class:`InputError` for no prompts at all, or one that lies outside the frame or the video."""
    if not prompts:
        raise InputError(
            "Nothing to follow: say what with --text WORD, --point FRAME:X,Y, --box FRAME:X1,Y1,X2,Y2, --mask FRAME:FILE.png "
            "or --prompts FILE."
        )
    for prompt in prompts:
        beyond = frame_count is not None and prompt.frame >= frame_count
        if prompt.frame < 0 or beyond:
            has = "" if frame_count is None else f"; the video has frames 0 to {frame_count - 1}"
            raise InputError(f"Prompt for object {prompt.object_id}: there is no frame {prompt.frame}{has}.")
        prompt.check_inside(height, width)


def _split(option: str, text: str, *, file: bool = False) -> _Spoken:
    frame, _, rest = text.partition(":")
    if file and frame.lstrip("-").isdigit() and Path(rest).is_file():
        # A file name may itself hold '@' or '='.
        return _Spoken(text, int(frame), rest, None, None)
    match = (_FILE_FORM if file else _FORM).fullmatch(text.strip())
    if match is None:
        form = {"--point": "FRAME:X,Y[,+|-]", "--box": "FRAME:X1,Y1,X2,Y2", "--mask": "FRAME:FILE.png"}[option]
        raise InputError(f"{option} {text}: expected {form}, optionally followed by @OBJECT and =LABEL.")
    spoken_object, label = match["object"], match["label"]
    if spoken_object is not None and not spoken_object.strip().isdigit():
        raise InputError(
            f"{option} {text}: the object after @ is a number, got {spoken_object!r}; a name goes after '='."
        )
    if label is not None and not label.strip():
        raise InputError(f"{option} {text}: the label after '=' is empty.")
    object_id = None if spoken_object is None else int(spoken_object)
    return _Spoken(text, int(match["frame"]), match["value"].strip(), object_id, label.strip() if label else None)


def _point(item: _Spoken) -> tuple[float, float, int]:
    parts = item.value.split(",")
    sign = "+"
    if len(parts) == 3 and parts[2].strip() in ("+", "-"):
        sign = parts[2].strip()
        parts = parts[:2]
    x, y = _numbers("--point", replace(item, value=",".join(parts)), 2, "FRAME:X,Y[,+|-]")
    return x, y, int(sign == "+")


def _numbers(option: str, item: _Spoken, count: int, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in item.value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise InputError(f"{option} {item.text}: expected {form} with numbers in pixels.")
    return numbers


def _mask_prompts(item: _Spoken, read_mask: MaskReader) -> list[Prompt]:
    masks = read_mask(Path(item.value))
    if not any(mask.area for mask in masks.values()):
        raise InputError(f"--mask {item.text}: the mask is empty; mark at least one pixel.")
    if item.object_id is not None:
        if len(masks) > 1:
            ids = ", ".join(map(str, sorted(masks)))
            raise InputError(
                f"--mask {item.text}: the file holds objects {ids}; leave @OBJECT out, or give one object a file."
            )
        masks = {item.object_id: next(iter(masks.values()))}
    if item.label is not None and len(masks) > 1:
        raise InputError(f"--mask {item.text}: the file holds {len(masks)} objects, so one label cannot name them.")
    return [Prompt(object_id, item.frame, mask=mask, label=item.label) for object_id, mask in sorted(masks.items())]


def _default_mask_reader() -> MaskReader:
    from keepsight.formats import read_labels

    return read_labels


def _join(first: Prompt, second: Prompt) -> Prompt:
    where = f"Object {first.object_id} on frame {first.frame}"
    for what, one, other in (("boxes", first.box, second.box), ("masks", first.mask, second.mask)):
        if one is not None and other is not None:
            raise InputError(f"{where} is given two {what}; use another @OBJECT for the second, or leave it out.")
    mask = second.mask if first.mask is None else first.mask
    box = second.box if first.box is None else first.box
    if mask is not None and (box is not None or first.points or second.points):
        raise InputError(f"{where} is given a mask as well as a point or a box; give one of the two.")
    return replace(
        first, points=first.points + second.points, labels=first.labels + second.labels, box=box, mask=mask, label=None
    )
