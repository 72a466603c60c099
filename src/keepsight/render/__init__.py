"""Everything that a person looks at: overlays, crops, contact sheets, the report."""

from keepsight.render.crops import CropStyle
from keepsight.render.everything import Rendered, render_all
from keepsight.render.overlay import OverlayStyle, draw_overlay, render_overlay
from keepsight.render.palette import object_colour
from keepsight.render.report import write_report
from keepsight.render.strip import contact_sheet, save_sheet

__all__ = [
    "CropStyle",
    "OverlayStyle",
    "Rendered",
    "contact_sheet",
    "draw_overlay",
    "object_colour",
    "render_all",
    "render_overlay",
    "save_sheet",
    "write_report",
]
