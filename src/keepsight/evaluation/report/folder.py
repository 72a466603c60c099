"""Writing and reading the folder of a run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keepsight.core import InputError
from keepsight.evaluation.report.encoding import decode, encode, encode_row
from keepsight.evaluation.results import Results
from keepsight.store.files import replacing_file

RUN, ROWS, PAGE = "run.json", "rows.csv", "report.html"
_FORMAT = "keepsight-evaluation"
_VERSION = 1


@dataclass(frozen=True)
class Picture:
    """A look at a row, for its place among the worst: truth and prediction drawn over a frame.

    Attributes:
        row_name: :attr:`keepsight.evaluation.results.Row.name` of the row that it shows.
        caption: what is seen: the frame, the value there, which colour is the truth.
        rgb: uint8 (H, W, 3); about 480 px wide is enough.
    """

    row_name: str
    caption: str
    rgb: NDArray[np.uint8]


def write_run(results: Results, out: Path, *, pictures: Sequence[Picture] = ()) -> None:
    """Writes what a run measured: ``run.json``, ``rows.csv`` and ``report.html``, each whole or not at all.

    Args:
        out: folder of the run; made where there is none, an earlier report in it is replaced.
        pictures: of the worst rows, in any order.

    Raises:
        StoreError: the folder cannot be written.
    """
    head = {"format": _FORMAT, "version": _VERSION, **encode(results)}
    head.pop("rows")
    # Escaped: names of files may hold what no encoding has.
    rows = ",\n".join(json.dumps(encode_row(row), allow_nan=False) for row in results.rows)
    text = json.dumps(head, allow_nan=False, indent=1)
    with replacing_file(out / ROWS) as path:
        path.write_text(rows_table(results), encoding="utf-8", errors="backslashreplace")
    # Last: a folder with a run.json is complete.
    with replacing_file(out / RUN) as path:
        path.write_text(f'{text[:-2]},\n "rows": [\n{rows}\n]}}\n', encoding="utf-8")


def read_run(folder: Path) -> Results:
    """The results that :func:`write_run` wrote.

    Raises:
        InputError: there is no run, or it is damaged or of a newer version.
    """
    path = folder / RUN if folder.is_dir() else folder
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is not the folder of an evaluation: it has no {RUN}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise InputError(f"{path} is not the file of an evaluation.")
    if found.get("version") != _VERSION:
        raise InputError(f"{path} was written by another version of Keepsight; use that version, or measure again.")
    try:
        return decode(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); measure again.") from error


def rows_table(results: Results) -> str:
    """CSV: a line a row; a column a measure, empty where it does not apply; attributes joined by spaces."""
    measures = list(dict.fromkeys(name for row in results.rows for name in row.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "item", *measures, "attributes"])
    for row in results.rows:
        writer.writerow(
            [row.video, row.item, *(row.values.get(name, "") for name in measures), " ".join(row.attributes)]
        )
    return text.getvalue()
