"""Reads COCO files of any origin: boxes, polygons, run lengths, crowds; pictures of any size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as runs

from keepsight.core import InputError, Mask
from keepsight.training.detector.album import Album, Instance, Picture

NAMES = ("annotations.json", "_annotations.coco.json")
"""Files that a folder is looked through for: ours, and Roboflow's."""

_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_MOST_POINTS = 10**6


@dataclass(frozen=True)
class PictureFile:
    """A picture's file, of the size that its COCO file says."""

    path: Path
    height: int
    width: int

    @property
    def identity(self) -> str:
        told = self.path.stat()
        return f"{self.path.resolve()}:{told.st_size}:{told.st_mtime_ns}"

    def read(self) -> NDArray[np.uint8]:
        try:
            with Image.open(self.path) as opened:
                image = opened if opened.size == (self.width, self.height) else ImageOps.exif_transpose(opened)
                rgb = np.array(image.convert("RGB"))
        except _UNREADABLE as error:
            raise InputError(f"{self.path} is damaged and cannot be decoded; replace the file.") from error
        if rgb.shape[:2] != (self.height, self.width):
            raise InputError(f"{self.path} is no longer {self.width}x{self.height} px.")
        return rgb


def read_coco(source: Path, images: Path | None = None) -> Album:
    """Reads a COCO file, or the folder that holds it.

    Categories become phrases, with ``_`` as a space; a category that is not on a picture was looked for and is absent there
    (LVIS names those that were: ``neg_category_ids``; and those that may be there unmarked: ``not_exhaustive_category_ids``).
    Nobody looked for a category that is on no picture of the file: tools write their own into it, such as "objects".

    Args:
        images: folder of the pictures; default: beside the file, or in ``images`` there.

    Raises:
        InputError: no COCO, pictures that are missing or of another size, objects that cannot be: one line.
    """
    file = find_coco(source)
    data = _load(file)
    try:
        categories = {item["id"]: _phrase(item["name"]) for item in data["categories"]}
        entries = {item["id"]: item for item in data["images"]}
        marked: dict[Any, list[dict[str, Any]]] = {number: [] for number in entries}
        used, strays = set(), 0
        for entry in data["annotations"]:
            used.add(str(entry.get("category_id")))
            if entry["image_id"] in marked:
                marked[entry["image_id"]].append(entry)
            else:
                strays += 1
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not COCO: {error} is missing or of the wrong kind.") from error
    if strays:
        raise InputError(f"{file}: {strays} annotations are of pictures that the file does not have.")
    looked_for = [phrase for number, phrase in categories.items() if str(number) in used]
    album = Album()
    roots = [images] if images is not None else [file.parent, file.parent / "images"]
    missing: list[str] = []
    for number, entry in entries.items():
        name, height, width = _size_of(entry, file)
        path = _find(name, roots)
        if path is None:
            missing.append(name)
            continue
        _check_size(path, height, width)
        objects = tuple(
            item
            for one in marked[number]
            if (item := _instance(one, categories, height, width, file, album)) is not None
        )
        here = {item.phrase for item in objects}
        series = str(file.resolve()) if "frame" in entry else None
        absent = tuple(phrase for phrase in _judged(entry, categories, looked_for) if phrase not in here)
        album.pictures.append(Picture(name, PictureFile(path, height, width), height, width, objects, absent, series))
    if missing:
        where = " or ".join(str(root) for root in roots)
        raise InputError(
            f"{len(missing)} of {len(entries)} pictures of {file} are not in {where}, such as {missing[0]}; "
            "say where they are with --images."
        )
    return album


def find_coco(source: Path) -> Path:
    """The COCO file that a path means.

    Raises:
        InputError: none, or several.
    """
    if source.is_file():
        return source
    if not source.is_dir():
        raise InputError(f"{source} does not exist.")
    for name in NAMES:
        if (source / name).is_file():
            return source / name
    found = sorted([*source.glob("*.json"), *source.glob("annotations/instances_*.json")])
    found = [path for path in found if path.name != "export.json"]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{source} holds several JSON files ({found[0].name}, {found[1].name}); name the COCO file.")
    raise InputError(
        f"{source} holds no COCO file ({', '.join(NAMES)} or one *.json); read other formats into a project with "
        "'keepsight import' and give the project."
    )


def _load(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read as JSON: {error}.") from error
    if not isinstance(data, dict) or not all(
        isinstance(data.get(key), list) for key in ("images", "annotations", "categories")
    ):
        raise InputError(f"{file} is not COCO: it needs lists of images, annotations and categories.")
    return data


def _phrase(name: Any) -> str:
    text = " ".join(str(name).replace("_", " ").split())
    if not text:
        raise InputError("A category of the COCO file has no name.")
    return text


def _size_of(entry: Mapping[str, Any], file: Path) -> tuple[str, int, int]:
    try:
        name, height, width = str(entry["file_name"]), int(entry["height"]), int(entry["width"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}, image {entry.get('id')}: file_name, height and width are needed.") from error
    if height <= 0 or width <= 0:
        raise InputError(f"{file}, image {entry.get('id')}: {width}x{height} px is no size.")
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts:
        raise InputError(f"{file}, image {entry.get('id')}: the file name {name!r} leads out of the folder.")
    return name, height, width


def _find(name: str, roots: Sequence[Path]) -> Path | None:
    """As named, or else by the last part of the name: exports differ in what they put before it."""
    tail = name.replace("\\", "/").rsplit("/", 1)[-1]
    return next((path for root in roots for path in (root / name, root / tail) if path.is_file()), None)


def _check_size(path: Path, height: int, width: int) -> None:
    try:
        with Image.open(path) as image:
            sizes = {image.size}
            if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
                sizes.add(image.size[::-1])
    except _UNREADABLE as error:
        raise InputError(f"{path} is not a picture that can be read; replace or remove it.") from error
    if (width, height) not in sizes:
        real = next(iter(sizes))
        raise InputError(
            f"{path} is {real[0]}x{real[1]} px, but its COCO file says {width}x{height} px; export it again."
        )


def _judged(entry: Mapping[str, Any], categories: Mapping[Any, str], looked_for: Sequence[str]) -> list[str]:
    """Phrases that somebody looked for on a picture."""
    unsure = {categories.get(number) for number in entry.get("not_exhaustive_category_ids") or ()}
    numbers = entry.get("neg_category_ids")
    looked = looked_for if numbers is None else [categories[n] for n in numbers if n in categories]
    return list(dict.fromkeys(phrase for phrase in looked if phrase not in unsure))


def _instance(
    entry: Mapping[str, Any], categories: Mapping[Any, str], height: int, width: int, file: Path, album: Album
) -> Instance | None:
    where = f"{file}, annotation {entry.get('id')}"
    if not isinstance(entry.get("category_id"), int | str) or entry["category_id"] not in categories:
        raise InputError(f"{where}: there is no category {entry.get('category_id')}.")
    phrase, crowd = categories[entry["category_id"]], bool(entry.get("iscrowd"))
    mask = _mask(entry.get("segmentation"), height, width, where)
    box = None if mask is None else mask.box
    if mask is None:
        box = _box(entry.get("bbox"), height, width, where)
    if box is None:
        album.without("objects without a pixel on the picture")
        return None
    if crowd:
        album.without("crowds")
    return Instance(phrase, box, mask, crowd)


def _mask(shape: Any, height: int, width: int, where: str) -> Mask | None:
    """Filled as pycocotools does, so that figures can be set beside those of others."""
    if not shape:
        return None
    if isinstance(shape, dict):
        try:
            mask = Mask.from_coco(shape)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        if (mask.height, mask.width) != (height, width):
            raise InputError(f"{where}: the mask is {mask.width}x{mask.height} px, the picture {width}x{height} px.")
        return mask
    try:
        polygons = [[float(number) for number in part] for part in shape]
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: neither polygons nor run lengths.") from error
    if any(len(part) % 2 or not all(map(math.isfinite, part)) for part in polygons):
        raise InputError(f"{where}: a polygon is a list of x, y in px.")
    if any(abs(number) > _MOST_POINTS for part in polygons for number in part):
        raise InputError(f"{where}: a polygon lies far outside the picture.")
    polygons = [part for part in polygons if len(part) >= 6]
    if not polygons:
        return None
    filled = runs.merge(runs.frPyObjects(polygons, height, width))
    return Mask(height, width, bytes(filled["counts"]))


def _box(sides: Any, height: int, width: int, where: str) -> tuple[float, float, float, float] | None:
    try:
        x, y, across, down = (float(side) for side in sides)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: neither a mask nor a box [x, y, width, height].") from error
    if not all(map(math.isfinite, (x, y, across, down))):
        raise InputError(f"{where}: the box has numbers that are not finite.")
    x1, y1 = max(x, 0.0), max(y, 0.0)
    x2, y2 = min(x + across, float(width)), min(y + down, float(height))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None
