"""Writing and reading the folder of a run."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keepsight.core import InputError
from keepsight.evaluation.report.encoding import decode, encode, encode_row
from keepsight.evaluation.report.made import made_now
from keepsight.evaluation.report.page import write_report
from keepsight.evaluation.report.run import Picture, Run, StoredPicture
from keepsight.evaluation.results import Results
from keepsight.render.pages import jpeg
from keepsight.store.files import replacing_file

RUN, ROWS, PAGE, PICTURES = "run.json", "rows.csv", "report.html", "pictures"
_FORMAT = "keepsight-evaluation"
_VERSION = 1
_PICTURE_NAME = re.compile(r"[0-9a-f]{16}\.jpg")


def write_run(
    results: Results, out: Path, *, pictures: Sequence[Picture] = (), made: Mapping[str, Any] | None = None
) -> None:
    """Writes what a run measured: ``run.json``, ``rows.csv`` and ``report.html``, each whole or not at all.

    Args:
        out: folder of the run; made where there is none, an earlier report in it is replaced.
        pictures: of the worst rows; several of one row are shown in the order given.
        made: code, weights and machine of the measuring, where that was not now and here.

    Raises:
        StoreError: the folder cannot be written.
    """
    stored = tuple(_store(picture, out / PICTURES) for picture in pictures)
    run = Run(out, results, dict(made_now(results.settings) if made is None else made), stored)
    # What took hours to measure first; the page can be made of it again.
    with replacing_file(out / RUN) as path:
        path.write_text(_run_text(run), encoding="utf-8")
    write_pages(run)
    _sweep(out / PICTURES, {picture.path.name for picture in stored})


def write_pages(run: Run) -> tuple[Path, Path]:
    """Writes ``rows.csv`` and ``report.html`` of a run into its folder.

    Returns:
        Both paths.

    Raises:
        StoreError: the folder cannot be written.
    """
    table, page = run.folder / ROWS, run.folder / PAGE
    with replacing_file(table) as path:
        path.write_text(rows_table(run.results), encoding="utf-8", errors="backslashreplace")
    write_report(run, page)
    return table, page


def read_run(folder: Path) -> Results:
    """The results that :func:`write_run` wrote.

    Raises:
        InputError: there is no run, or it is damaged or of a newer version.
    """
    return open_run(folder).results


def open_run(folder: Path) -> Run:
    """Everything in the folder of a run; its ``run.json`` may be given instead of it.

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
        results = decode(found)
        # Neither is a result: where an older version wrote none, figures and rows are whole.
        made = dict(found.get("made", {}))
        pictures = tuple(
            StoredPicture(each["row"], each["caption"], path.parent / PICTURES / each["file"])
            for each in found.get("pictures", ())
            # A file from elsewhere must not make the page show what lies elsewhere.
            if _PICTURE_NAME.fullmatch(each["file"])
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be understood ({error})"
        raise InputError(
            f"{path} {what}: it is damaged, or of an older Keepsight. Run the command that wrote it again; it goes on from the "
            "predictions that are there."
        ) from error
    return Run(path.parent, results, made, pictures)


def rows_table(results: Results) -> str:
    """CSV: a line a row; a column a measure, empty where it does not apply; attributes joined by spaces."""
    measures = list(dict.fromkeys(name for row in results.rows for name in row.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "item", *measures, "attributes"])
    for row in results.rows:
        values = (_cell(row.values.get(name), name in results.counts) for name in measures)
        writer.writerow([row.video, row.item, *values, " ".join(row.attributes)])
    return text.getvalue()


def _cell(value: float | None, count: bool) -> float | str:
    """A count without a point; all else in every digit."""
    if value is None:
        return ""
    return f"{value:.0f}" if count and value == round(value) else value


def _run_text(run: Run) -> str:
    """JSON with a line a row, so that two runs can be compared with the usual tools."""
    head: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, "made": run.made, **encode(run.results)}
    head.pop("rows")
    head["pictures"] = [
        {"row": each.row_name, "caption": each.caption, "file": each.path.name} for each in run.pictures
    ]
    text = json.dumps(head, allow_nan=False, indent=1)
    # Escaped: names of files may hold what no encoding has.
    rows = ",\n".join(json.dumps(encode_row(row), allow_nan=False) for row in run.results.rows)
    return f'{text[:-2]},\n "rows": [\n{rows}\n]}}\n'


def _store(picture: Picture, folder: Path) -> StoredPicture:
    data = jpeg(picture.rgb, quality=85)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.jpg"
    with replacing_file(path) as temporary:
        temporary.write_bytes(data)
    return StoredPicture(picture.row_name, picture.caption, path)


def _sweep(folder: Path, used: set[str]) -> None:
    """Removes pictures of an earlier report."""
    for path in folder.glob("*.jpg"):
        if path.name not in used and _PICTURE_NAME.fullmatch(path.name):
            path.unlink(missing_ok=True)
