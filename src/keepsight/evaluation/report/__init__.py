"""The folder of a run: ``run.json`` to read back, ``rows.csv`` for a spreadsheet, ``report.html`` for people."""

from keepsight.evaluation.report.folder import Picture, read_run, write_run

__all__ = ["Picture", "read_run", "write_run"]
