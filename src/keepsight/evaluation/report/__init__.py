"""The folder of a run: ``run.json`` to read back, ``rows.csv`` for a spreadsheet, ``report.html`` for people."""

from keepsight.evaluation.report.folder import open_run, read_run, write_pages, write_run
from keepsight.evaluation.report.run import Picture, Run, StoredPicture

__all__ = ["Picture", "Run", "StoredPicture", "open_run", "read_run", "write_pages", "write_run"]
