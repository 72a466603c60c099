"""CVAT for video 1.1: one ``track`` an object, one ``mask`` a frame in run lengths along the rows of its box.

Read by the event parser of the standard library with document types refused, so that no entity is ever resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np

from keepsight.core import InputError, Mask
from keepsight.formats.exchange import (
    MAX_FRAME,
    Export,
    Import,
    ReadFrame,
    ReadObject,
    check_file,
    in_order,
)
from keepsight.formats.polygons import fill_polygons

FILE = "annotations.xml"
_SHAPES = {"mask", "polygon", "box"}
_ENCLOSE_NOTHING = {"polyline", "points", "cuboid", "ellipse", "skeleton", "tag"}


def write_cvat(source: Export, folder: Path) -> None:
    """Writes ``annotations.xml``. Overlaps and holes stay. Where an object ends or is absent, a mask that says ``outside``
    follows, so that CVAT does not carry the last one on."""
    video = source.video
    with (folder / FILE).open("w", encoding="utf-8") as out:
        out.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task>')
        out.write(f"<name>{_text(video.name)}</name><mode>interpolation</mode><labels>")
        for name in source.names():
            out.write(f"<label><name>{_text(name)}</name><type>mask</type><attributes/></label>")
        out.write("</labels><original_size>")
        out.write(f"<width>{video.width}</width><height>{video.height}</height></original_size></task></meta>\n")
        for item in source.objects:
            label = quoteattr(_clean(source.label(item.object_id)))
            out.write(f'<track id="{item.object_id}" label={label} source="auto">\n')
            _write_track(source, item.object_id, out)
            out.write("</track>\n")
        out.write("</annotations>\n")
    source.count_empty_frames()


def _write_track(source: Export, object_id: int, out: IO[str]) -> None:
    order = [item.object_id for item in source.objects].index(object_id)
    end = source.stop if source.stop is not None else source.video.frame_count
    last: tuple[int, str] | None = None
    for frame, item in source.project.masklet(source.video.id, object_id):
        if frame < (source.start or 0):
            continue
        if source.stop is not None and frame >= source.stop:
            break
        if item.mask.box is None:
            continue
        if last is not None and frame > last[0] + 1:
            _write_mask(out, last[0] + 1, 1, last[1])
        x1, y1, x2, y2 = (int(side) for side in item.mask.box)
        runs = _row_runs(item.mask.to_array()[y1:y2, x1:x2])
        shape = f'rle="{", ".join(map(str, runs))}" left="{x1}" top="{y1}" width="{x2 - x1}" height="{y2 - y1}" z_order="{order}"'
        _write_mask(out, frame, 0, shape)
        last = (frame, shape)
    if last is not None and (end is None or last[0] + 1 < end):
        _write_mask(out, last[0] + 1, 1, last[1])


def _write_mask(out: IO[str], frame: int, outside: int, shape: str) -> None:
    out.write(f'<mask frame="{frame}" keyframe="1" outside="{outside}" occluded="0" {shape}></mask>\n')


def _row_runs(pixels: np.ndarray) -> list[int]:
    """Run lengths along the rows, background first."""
    flat = pixels.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(edges, prepend=0, append=flat.size).tolist()
    return [0, *runs] if flat[0] else runs


def read_cvat(source: Import) -> Iterator[ReadFrame]:
    """Reads masks, polygons and boxes of tracks, and single shapes of ``image`` elements (CVAT for images).

    The id of a track is the object's; tracks with the same ``group_id`` stay apart. Shapes between key frames are not
    interpolated: CVAT writes one for every frame.
    """
    file = check_file(source.path, FILE)
    reader = _Reader(source, file)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        with file.open("rb") as stream:
            parser.ParseFile(stream)
    except expat.ExpatError as error:
        raise InputError(f"{file} is not XML: {error}.") from error
    except (KeyError, ValueError, OverflowError) as error:
        line = parser.CurrentLineNumber
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{file}, line {line}: {what}.") from error
    except InputError as error:
        raise InputError(f"{file}, line {parser.CurrentLineNumber}: {error}") from error
    if not reader.is_cvat:
        raise InputError(f"{file} is not CVAT: it does not begin with <annotations>.")
    yield from in_order(reader.found)


class _Reader:
    def __init__(self, source: Import, file: Path) -> None:
        self._source, self._file = source, file
        self.found: dict[int, dict[int, ReadObject]] = {}
        self.is_cvat = False
        self._track: int | None = None

    def doctype(self, *_: object) -> None:
        raise InputError("a document type declaration, which CVAT never writes; it is refused.")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "annotations":
            self.is_cvat = True
        elif name == "track":
            self._track = self._source.object_id(int(attributes["id"]), "track")
            self._source.declare(self._track, attributes.get("label"))
        elif name == "image":
            raise InputError("this is CVAT for images, which has no tracks; export 'CVAT for video 1.1' instead.")
        elif self._track is not None and name in _SHAPES:
            if attributes.get("outside", "0") != "1":
                self._shape(self._track, name, attributes)
        elif self._track is not None and name in _ENCLOSE_NOTHING:
            self._source.troubles["unknown_shapes"] += 1

    def end(self, name: str) -> None:
        if name == "track":
            self._track = None

    def _shape(self, object_id: int, name: str, attributes: dict[str, str]) -> None:
        frame = int(attributes["frame"])
        where = f"track {object_id}, frame {frame}"
        if not 0 <= frame <= MAX_FRAME:
            raise InputError(f"{frame} is no frame number.")
        item: ReadObject | None
        if name == "mask":
            item = ReadObject(object_id, self._mask(attributes))
        elif name == "polygon":
            points = [pair.split(",") for pair in attributes["points"].split(";")]
            numbers = [(float(x), float(y)) for x, y in points]
            item = ReadObject(object_id, fill_polygons([numbers], self._source.height, self._source.width))
        else:
            box = (
                float(attributes["xtl"]),
                float(attributes["ytl"]),
                float(attributes["xbr"]),
                float(attributes["ybr"]),
            )
            item = self._source.from_box(object_id, box, where)
        if item is not None:
            objects = self.found.setdefault(frame, {})
            if object_id in objects:
                raise InputError(f"track {object_id} has two shapes on frame {frame}.")
            objects[object_id] = item

    def _mask(self, attributes: dict[str, str]) -> Mask:
        left, top, width, height = (int(attributes[key]) for key in ("left", "top", "width", "height"))
        inside = 0 <= left < left + width <= self._source.width and 0 <= top < top + height <= self._source.height
        if not inside:
            size = f"{self._source.width}x{self._source.height}"
            raise InputError(f"a mask of {width}x{height} px at {left},{top} is not inside the {size} px video.")
        runs = np.array([int(run) for run in attributes["rle"].split(",")], np.int64)
        if (runs < 0).any() or (runs > width * height).any() or runs.sum() != width * height:
            raise InputError("run lengths do not add up to the size of the mask.")
        pixels = np.zeros((self._source.height, self._source.width), bool)
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        pixels[top : top + height, left : left + width] = values.reshape(height, width)
        return Mask.from_array(pixels)


def _clean(text: str) -> str:
    """Without characters that XML cannot hold at all."""
    return re.sub("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def _text(text: str) -> str:
    return _clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
