"""Where the masks of one video lie: a folder of pictures of ids, or of a folder an object."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from keepsight.core import InputError
from keepsight.evaluation.vos.maps import FrameMasks, ObjectMaps, read_label_map, read_object_map


class MaskSource(ABC):
    """The masks of one video. Frames go by their number, which is the one in the name of their picture."""

    @property
    @abstractmethod
    def numbers(self) -> tuple[int, ...]:
        """Frames that have masks, ascending."""

    @property
    @abstractmethod
    def objects(self) -> tuple[int, ...] | None:
        """Objects that the source names before a frame is read, ascending; ``None`` where only frames tell."""

    @abstractmethod
    def numbers_of(self, object_id: int) -> tuple[int, ...]:
        """Frames that say something about an object, be it that it is not there; ascending."""

    @abstractmethod
    def read(self, number: int) -> FrameMasks:
        """The masks of a frame.

        Raises:
            InputError: a picture that cannot be read.
        """


@dataclass(frozen=True)
class LabelFolder(MaskSource):
    """``folder/00000.png``: pictures of ids."""

    folder: Path
    names: dict[int, str]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(self.names)

    @property
    def objects(self) -> None:
        return None

    def numbers_of(self, object_id: int) -> tuple[int, ...]:
        return self.numbers

    def read(self, number: int) -> FrameMasks:
        return read_label_map(self.folder / self.names[number])


@dataclass(frozen=True)
class ObjectFolders(MaskSource):
    """``folder/000/00000.png``: object, frame (SA-V)."""

    folder: Path
    names: dict[int, tuple[str, dict[int, str]]]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(sorted({number for _, files in self.names.values() for number in files}))

    @property
    def objects(self) -> tuple[int, ...]:
        return tuple(self.names)

    def numbers_of(self, object_id: int) -> tuple[int, ...]:
        return tuple(self.names[object_id][1]) if object_id in self.names else ()

    def read(self, number: int) -> FrameMasks:
        masks = {}
        for object_id, (folder, files) in self.names.items():
            if number in files:
                masks[object_id] = read_object_map(self.folder / folder / files[number])
        shapes = {mask.shape for mask in masks.values()}
        if len(shapes) != 1:
            raise InputError(f"{self.folder}: the objects' masks on frame {number} differ in size.")
        height, width = shapes.pop()
        return ObjectMaps(masks, (height, width))


def tells_more_than_prompts(source: MaskSource) -> bool:
    """Whether annotations can be scored against: some frame shows no object for the first time.

    The public parts of YouTube-VOS, MOSE and others hold only the frames on which objects appear.
    """
    if source.objects is not None:
        return any(len(source.numbers_of(object_id)) > 1 for object_id in source.objects)
    seen: frozenset[int] = frozenset()
    for number in source.numbers:
        ids = source.read(number).ids
        if seen and ids <= seen:
            return True
        seen |= ids
    return False


def masks_in(folder: Path) -> MaskSource:
    """The masks of a video's folder, in whichever of both layouts; hidden files are left out.

    Raises:
        InputError: no such folder, nothing in it, or names without a number or with one twice.
    """
    if not folder.is_dir():
        raise InputError(f"Mask folder {folder} does not exist.")
    names = numbered(folder, (".png",))
    if names:
        return LabelFolder(folder, names)
    objects: dict[int, tuple[str, dict[int, str]]] = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.name.isdecimal():
            if int(entry.name) in objects:
                raise InputError(f"{folder} has two folders for object {int(entry.name)}.")
            objects[int(entry.name)] = (entry.name, numbered(entry, (".png",)))
    if not any(files for _, files in objects.values()):
        raise InputError(f"{folder} holds neither pictures 00000.png, ... nor folders 000, 001, ... of them.")
    return ObjectFolders(folder, dict(sorted(objects.items())))


def numbered(folder: Path, suffixes: tuple[str, ...]) -> dict[int, str]:
    """File names by the number in them, ascending.

    Raises:
        InputError: a name without a number, or two with the same.
    """
    names: dict[int, str] = {}
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.suffix.lower() not in suffixes:
            continue
        number = number_of(entry.stem)
        if number is None:
            raise InputError(f"{entry} has no frame number in its name; name frames 00000, 00001 and so on.")
        if number in names:
            raise InputError(f"{folder} has two files for frame {number}: {names[number]} and {entry.name}.")
        names[number] = entry.name
    return dict(sorted(names.items()))


def number_of(stem: str) -> int | None:
    """The frame number in the name of a picture: the last one in it."""
    found = re.findall(r"[0-9]+", stem)
    return int(found[-1]) if found else None
