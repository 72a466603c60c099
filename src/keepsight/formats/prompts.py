"""Prompt files: the JSON schema of ``docs/formats.md``, or plain box text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from pydantic_core import PydanticCustomError

from keepsight.core import Concept, Exemplar, InputError, Mask, Prompt
from keepsight.formats.boxes import load_box_prompts, read_text
from keepsight.formats.labels import read_labels
from keepsight.store.files import replacing_file


def _check_label(point: list[float]) -> list[float]:
    if len(point) == 3 and point[2] not in (0, 1):
        raise PydanticCustomError("point", "the third number is 1 (on the object) or 0 (not on it)")
    return point


# A list and not a union of tuples, whose errors speak of the wrong branch.
Point = Annotated[list[FiniteFloat], Field(min_length=2, max_length=3), AfterValidator(_check_label)]


class _Strict(BaseModel):
    # A misspelt key would otherwise be a prompt that silently does nothing.
    model_config = ConfigDict(extra="forbid")


class RunLengths(_Strict):
    """A mask as COCO run lengths, compressed (a string) or not (a list)."""

    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    counts: str | list[int]


class PromptEntry(_Strict):
    """One prompt of the file."""

    object: Annotated[int, Field(ge=0)] | None = None
    label: str | None = None
    frame: Annotated[int, Field(ge=0)] = 0
    points: list[Point] = Field(default_factory=list)
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    mask: str | RunLengths | None = None


class ExemplarEntry(_Strict):
    """A box that shows what belongs to a concept, or what does not."""

    frame: Annotated[int, Field(ge=0)] = 0
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    positive: bool = True


class ConceptEntry(_Strict):
    """One concept of the file."""

    text: str
    exemplars: list[ExemplarEntry] = Field(default_factory=list)


class PromptFile(_Strict):
    """The whole file."""

    version: Literal[1]
    prompts: list[PromptEntry] = Field(default_factory=list)
    concepts: list[ConceptEntry] = Field(default_factory=list)


def load_prompts(path: str | os.PathLike[str]) -> list[Prompt]:
    """Reads a prompt file of either kind; JSON is known by its first character.

    Raises:
        InputError: unreadable or wrong, or without a prompt; the message names the entry and the field.
    """
    prompts, _ = load_request(path)
    if not prompts:
        raise InputError(f"{path} holds no prompts.")
    return prompts


def load_request(path: str | os.PathLike[str]) -> tuple[list[Prompt], list[Concept]]:
    """Reads the prompts and the concepts of a prompt file.

    Raises:
        InputError: see :func:`load_prompts`; nothing at all in the file.
    """
    text = read_text(path)
    if text.lstrip()[:1] not in ("{", "["):
        return load_box_prompts(path), []
    file = Path(path)
    try:
        parsed = PromptFile.model_validate(json.loads(text))
    except ValidationError as error:
        raise InputError(f"{file}: {_explain(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}.") from error
    prompts: list[Prompt] = []
    for number, entry in enumerate(parsed.prompts, start=1):
        try:
            prompts += _to_prompts(entry, file.parent)
        except InputError as error:
            raise InputError(f"{file}, entry {number}: {error}") from error
    concepts: list[Concept] = []
    for number, item in enumerate(parsed.concepts, start=1):
        try:
            shown = tuple(Exemplar(one.frame, one.box, one.positive) for one in item.exemplars)
            concepts.append(Concept(number, item.text, shown))
        except InputError as error:
            raise InputError(f"{file}, concept {number}: {error}") from error
    if not prompts and not concepts:
        raise InputError(f"{file} holds neither prompts nor concepts.")
    return prompts, concepts


def save_prompts(path: str | os.PathLike[str], prompts: Iterable[Prompt]) -> None:
    """Writes prompts as JSON, masks as run lengths inside the file.

    Raises:
        StoreError: the file cannot be written.
    """
    with replacing_file(path) as temporary:
        entries = ",\n".join("  " + json.dumps(_to_entry(prompt)) for prompt in prompts)
        temporary.write_text('{"version": 1, "prompts": [\n' + entries + "\n]}\n", encoding="utf-8")


def _to_prompts(entry: PromptEntry, folder: Path) -> list[Prompt]:
    masks = {entry.object: None} if entry.mask is None else _masks(entry, folder)
    if None in masks:
        raise InputError('which object? Give "object": a number, 0 or more.')
    return [
        Prompt(
            object_id=object_id,
            frame=entry.frame,
            points=tuple((point[0], point[1]) for point in entry.points),
            labels=tuple(int(point[2]) if len(point) == 3 else 1 for point in entry.points),
            box=entry.box,
            mask=mask,
            label=entry.label,
        )
        for object_id, mask in masks.items()
        if object_id is not None
    ]


def _masks(entry: PromptEntry, folder: Path) -> dict[int | None, Mask | None]:
    """Object id -> mask. Without an object, a file speaks for all of its objects; with one, for that one."""
    if isinstance(entry.mask, RunLengths):
        return {entry.object: Mask.from_coco(entry.mask.model_dump())}
    file = folder / str(entry.mask)  # an absolute path stays as it is
    found = read_labels(file)
    if not found:
        raise InputError(f"mask {file} is empty; mark at least one pixel.")
    if entry.object is None:
        return {object_id: mask for object_id, mask in found.items()}  # noqa: C416 - widens the type
    if len(found) == 1:
        return {entry.object: next(iter(found.values()))}
    if entry.object not in found:
        ids = ", ".join(str(i) for i in list(found)[:10])
        raise InputError(f"mask {file} holds objects {ids}, but not {entry.object}.")
    return {entry.object: found[entry.object]}


def _to_entry(prompt: Prompt) -> dict[str, Any]:
    entry: dict[str, Any] = {"object": prompt.object_id, "frame": prompt.frame}
    if prompt.label is not None:
        entry["label"] = prompt.label
    if prompt.points:
        entry["points"] = [[x, y, label] for (x, y), label in zip(prompt.points, prompt.labels, strict=True)]
    if prompt.box is not None:
        entry["box"] = list(prompt.box)
    if prompt.mask is not None:
        entry["mask"] = prompt.mask.to_coco()
    return entry


def _explain(error: ValidationError) -> str:
    """The first complaint in words: which entry, which field, what is wrong."""
    first = error.errors()[0]
    where = list(first["loc"])
    if first["type"] == "model_type" and not where:
        return 'expected {"version": 1, "prompts": [...]}.'
    parts = []
    for listed, called in (("prompts", "entry"), ("concepts", "concept"), ("exemplars", "exemplar")):
        if where[:1] == [listed] and len(where) > 1 and isinstance(where[1], int):
            parts.append(f"{called} {where[1] + 1}")
            where = where[2:]
    if where:
        parts.append(".".join(str(step) for step in where if not str(step).startswith(("tuple", "function"))))
    message = "this key is not known" if first["type"] == "extra_forbidden" else first["msg"]
    return f"{', '.join(parts)}: {message[:1].lower()}{message[1:]}."
