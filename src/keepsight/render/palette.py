"""One colour for one object, the same in every picture, plot and report.

The first ten are told apart by people with red-green blindness too: Okabe and Ito's set, extended and then moved apart until
the closest two differ by 29 in CIELAB as seen with normal, protanopic and deuteranopic eyes (the test repeats the sum). Later
ones walk around the hue circle by the golden angle, so that neighbours in number are far apart in hue.
"""

from __future__ import annotations

import colorsys
import re

from keepsight.core import InputError

Colour = tuple[int, int, int]

_FIRST_TEN = (
    "#38c6ff",  # sky
    "#da9900",  # orange
    "#1ebc91",  # green
    "#ffff33",  # yellow
    "#ae5ba1",  # purple
    "#b7401e",  # brick
    "#0f36eb",  # blue
    "#00ff84",  # mint
    "#565449",  # slate
    "#0082ff",  # azure
)


def object_colour(object_id: int, chosen: str | None = None) -> Colour:
    """Red, green and blue in 0..255 for an object.

    Args:
        object_id: decides the colour, whatever other objects there are.
        chosen: ``#rrggbb`` that a person picked; wins.

    Raises:
        InputError: ``chosen`` is no colour.
    """
    if chosen is not None:
        return parse_colour(chosen)
    if 1 <= object_id <= len(_FIRST_TEN):
        return parse_colour(_FIRST_TEN[object_id - 1])
    hue = (object_id * 0.6180339887) % 1.0
    value, saturation = ((0.95, 0.75), (0.75, 0.55), (1.0, 0.45))[object_id % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (round(red * 255), round(green * 255), round(blue * 255))


def parse_colour(text: str) -> Colour:
    """``#rrggbb`` to red, green, blue."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise InputError(f"{text!r} is not a colour; write it as #rrggbb.")
    return (int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16))


def to_hex(colour: Colour) -> str:
    """Red, green, blue to ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever reads better on ``background`` (relative luminance of WCAG 2, without the gamma)."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 125 else (255, 255, 255)
