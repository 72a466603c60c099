"""Plain tables of boxes, one row an object on a frame: CSV, and Parquet where ``pyarrow`` is installed."""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from keepsight.core import InputError
from keepsight.formats.exchange import Export, Import, ReadFrame, ReadObject, check_file, score_of
from keepsight.formats.rows import IntArray, TextRows, frames_of

CSV, PARQUET = "boxes.csv", "boxes.parquet"
COLUMNS = {
    "frame": int,
    "time_s": float,
    "object_id": int,
    "label": str,
    "x1": float,
    "y1": float,
    "x2": float,
    "y2": float,
    "score": float,
}
_BATCH_ROWS = 5000


def write_csv(source: Export, folder: Path) -> None:
    """Writes ``boxes.csv``: corners in px, the far ones on the far edge; rows only where an object is present."""
    with TableWriter([folder / CSV], COLUMNS) as table:
        table.write(_rows(source))


def write_parquet(source: Export, folder: Path) -> None:
    """Writes ``boxes.parquet`` with the columns of the CSV, typed, some thousand rows at a time.

    Raises:
        InputError: ``pyarrow`` is not installed.
    """
    with TableWriter([folder / PARQUET], COLUMNS) as table:
        table.write(_rows(source))


class TableWriter:
    """Writes the same rows into CSV and Parquet files, a few thousand at a time.

    Args:
        files: told apart by their suffix, ``.csv`` or ``.parquet``.
        columns: ``int``, ``float`` or ``str`` by name. CSV takes values as they are; Parquet gets int64, float64 and strings.

    Raises:
        InputError: Parquet is wanted and ``pyarrow`` is not installed.
    """

    def __init__(self, files: Sequence[Path], columns: Mapping[str, type]) -> None:
        self._kinds = list(columns.values())
        self._waiting: list[Sequence[Any]] = []
        self._csvs: list[Any] = []
        self._parquets: list[Any] = []
        with ExitStack() as opened:
            for path in files:
                if path.suffix == ".parquet":
                    pyarrow, parquet = _pyarrow()
                    types = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
                    schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
                    writer = opened.enter_context(parquet.ParquetWriter(path, schema))
                    self._parquets.append((pyarrow, writer, schema))
                else:
                    file = opened.enter_context(path.open("w", encoding="utf-8", newline=""))
                    self._csvs.append(csv.writer(file, lineterminator="\n"))
            self._stack = opened.pop_all()
        for out in self._csvs:
            out.writerow(columns)

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        """Adds rows, values in the order of the columns."""
        for row in rows:
            self._waiting.append(row)
            if len(self._waiting) == _BATCH_ROWS:
                self._flush()

    def _flush(self) -> None:
        rows, self._waiting = self._waiting, []
        for out in self._csvs:
            out.writerows(rows)
        if not rows or not self._parquets:
            return
        columns = [[kind(row[place]) for row in rows] for place, kind in enumerate(self._kinds)]
        for pyarrow, writer, schema in self._parquets:
            arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                self._flush()


def check_parquet() -> None:
    """Raises :class:`InputError` where Parquet cannot be written."""
    _pyarrow()


def _rows(source: Export) -> Iterator[tuple[Any, ...]]:
    for result in source.results():
        source.losses["empty_frames"] += not any(item.present for item in result.objects)
        for item in result.objects:
            if item.mask.box is not None:
                source.losses["masks_as_boxes"] += 1
                label = source.label(item.object_id)
                yield result.frame, result.time_s, item.object_id, label, *item.mask.box, round(item.score, 5)


def read_csv(source: Import) -> Iterator[ReadFrame]:
    """Reads a table with at least ``frame``, ``object_id`` and ``x1 y1 x2 y2``, in any order of columns and rows."""
    file = check_file(source.path, CSV)

    def rows_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
        reader = csv.DictReader(lines)
        _ = reader.fieldnames  # reads the heading now
        return reader

    try:
        yield from _read(source, file, TextRows(file, rows_of))
    except csv.Error as error:
        raise InputError(f"{file} is not CSV: {error}.") from error


def read_parquet(source: Import) -> Iterator[ReadFrame]:
    """Reads what :func:`read_csv` reads from a Parquet file."""
    file = check_file(source.path, PARQUET)
    pyarrow, parquet = _pyarrow()
    try:
        yield from _read(source, file, _ParquetRows(parquet, file))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file} is not Parquet: {str(error).rstrip('.')}.") from error


class _ParquetRows:
    """The rows of a Parquet file: a batch in memory, or the columns where the rows are not in order."""

    def __init__(self, parquet: Any, file: Path) -> None:
        self._parquet, self._file = parquet, file

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._parquet.ParquetFile(self._file) as opened:
            for batch in opened.iter_batches(_BATCH_ROWS):
                yield from batch.to_pylist()

    def at(self, places: IntArray) -> Iterator[dict[str, Any]]:
        if (places == np.arange(len(places))).all():
            yield from self
            return
        for batch in self._parquet.read_table(self._file).take(places).to_batches(_BATCH_ROWS):
            yield from batch.to_pylist()


def _read(source: Import, file: Path, rows: TextRows[dict[str, Any]] | _ParquetRows) -> Iterator[ReadFrame]:
    def where(place: int) -> str:
        return f"{file}, row {place + 1}"

    def frames() -> Iterator[int]:
        for place, row in enumerate(rows):
            try:
                frame, value = int(row["frame"]), int(row["object_id"])
            except KeyError as error:
                raise _no_column(file, error) from error
            except (TypeError, ValueError, OverflowError) as error:
                raise InputError(f"{where(place)}: {str(error)[:100]}.") from error
            source.declare(source.object_id(value, where(place)), row.get("label") or None)
            yield source.frame(frame, where(place))

    def read(place: int, row: dict[str, Any]) -> tuple[ReadObject | None, float | None]:
        try:
            x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
            time_s = float(row["time_s"]) if row.get("time_s") not in (None, "") else None
        except KeyError as error:
            raise _no_column(file, error) from error
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{where(place)}: {str(error)[:100]}.") from error
        if time_s is not None and not math.isfinite(time_s):
            raise InputError(f"{where(place)}: time {time_s} must be a finite number of seconds.")
        said = row.get("score")
        score = score_of(None if said == "" else said, where(place))
        object_id = source.object_id(int(row["object_id"]), where(place))
        return source.from_box(object_id, (x1, y1, x2, y2), where(place), score), time_s

    yield from frames_of(frames(), rows.at, read, where)


def _no_column(file: Path, error: KeyError) -> InputError:
    return InputError(f"{file} has no column {error}; it needs frame, object_id, x1, y1, x2 and y2.")


def _pyarrow() -> tuple[Any, Any]:
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError("Parquet needs pyarrow: `pip install keepsight[parquet]`, or use --format csv.")
    import pyarrow
    import pyarrow.parquet

    return pyarrow, pyarrow.parquet
