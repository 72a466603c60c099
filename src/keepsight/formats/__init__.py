"""Readers and writers, one file a format."""

from keepsight.formats.boxes import load_box_prompts, read_box_track
from keepsight.formats.davis import DavisExport, export_davis, read_davis
from keepsight.formats.labels import read_labels, write_labels
from keepsight.formats.prompts import load_prompts, load_request, save_prompts
from keepsight.formats.ytvis import YtvisTrack, export_ytvis, read_ytvis

__all__ = [
    "DavisExport",
    "YtvisTrack",
    "export_davis",
    "export_ytvis",
    "load_box_prompts",
    "load_prompts",
    "load_request",
    "read_box_track",
    "read_davis",
    "read_labels",
    "read_ytvis",
    "save_prompts",
    "write_labels",
]
