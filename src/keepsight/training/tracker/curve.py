"""The curve of a run as a picture: what was lost and what was seen, over the steps."""

from __future__ import annotations

import csv
from pathlib import Path

from keepsight.store.files import replacing_file

_LEFT_OUT = {"norm"}


def draw_curve(table: Path, picture: Path) -> None:
    """Draws `curve.csv`: losses above, figures of quality (0 to 1) below."""
    lines: dict[str, list[tuple[int, float]]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["key"] not in _LEFT_OUT:
                lines.setdefault(row["key"], []).append((int(row["step"]), float(row["value"])))
    if not lines:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    for name, points in lines.items():
        axes = above if name in ("loss", "focal", "dice", "iou", "presence") and "prior" not in lines else None
        axes = axes or (above if name == "loss" else below)
        axes.plot(*zip(*points, strict=True), label=name, linewidth=2.5 if name in ("loss", "J") else 1.2)
    above.set_ylabel("loss")
    below.set_ylabel("on training clips (0 to 1)")
    below.set_xlabel("step")
    below.set_ylim(0, 1)
    for axes in (above, below):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small", ncols=2)
    with replacing_file(picture) as path:
        figure.savefig(path, dpi=110)
