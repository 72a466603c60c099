"""What the policy benchmark measured, as runs of `keepsight.evaluation`, and the tables and plots that are made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as RichTable

from keepsight.evaluation.diff import compare_runs, write_difference
from keepsight.evaluation.paired import Estimate, differences, estimates
from keepsight.evaluation.report import open_run, write_run
from keepsight.evaluation.results import Results, Row

RESULTS, RUNS = "clips.jsonl", "runs"
BASE, LONG = "sam2", "sam2long"
GONE_FRAMES, BACK_FRAMES, LEAST_PX = 5, 25, 20
PROTOCOL = (
    "J and F are of the frames after the first, whose true mask is given; a frame without the object counts 1 where nothing is "
    "shown and 0 where something is.",
    "A measure of an object is the mean over its frames, a figure the mean over objects; intervals draw whole clips.",
    f"J visible: frames with {LEAST_PX} pixels or more of the object.",
    f"J after return: frames with the object within {BACK_FRAMES} frames after an absence of {GONE_FRAMES} or more.",
    "wrong object: share of frames on which the mask lies on another thing more than on the object.",
    "gone said: share of the frames with (visible) and without (absent) the object on which nothing is shown.",
    "seconds: processor time of one thread for an object of a clip, the image encoder included, decoding left out.",
)
LESS_IS_BETTER = ("wrong object", "gone said, visible", "seconds", "units")

Numbers = NDArray[np.float64]
Clip = dict[str, Any]


def load(folder: Path) -> tuple[dict[str, Any], list[Clip]]:
    """What a results file says about its run, and its clips; a line that was cut off by a kill is left out."""
    lines = (folder / RESULTS).read_text().splitlines() if (folder / RESULTS).exists() else []
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return (parsed[0], sorted(parsed[1:], key=lambda clip: clip["seed"])) if parsed else ({}, [])


# -- clips to results ----------------------------------------------------------------------------------------------------
def back_frames(area: Sequence[int]) -> list[int]:
    """Frames with the object within `BACK_FRAMES` after an absence of `GONE_FRAMES` or more."""
    frames: list[int] = []
    gone, since = 0, BACK_FRAMES
    for t, pixels in enumerate(area):
        if pixels >= LEAST_PX:
            since = 0 if gone >= GONE_FRAMES else since + 1
            gone = 0
            if since < BACK_FRAMES:
                frames.append(t)
        else:
            gone += pixels == 0
            since += 1
    return frames


MEASURES: dict[str, Callable[[dict[str, Any]], Sequence[float]]] = {
    "J&F": lambda track: [(j + f) / 2 for j, f in zip(track["j"][1:], track["f"][1:], strict=True)],
    "J": lambda track: track["j"][1:],
    "F": lambda track: track["f"][1:],
    "J visible": lambda track: [j for j, a in zip(track["j"][1:], track["area"][1:], strict=True) if a >= LEAST_PX],
    "J after return": lambda track: [track["j"][t] for t in back_frames(track["area"])],
    "wrong object": lambda track: track["wrong"][1:],
    "gone said, visible": lambda track: [
        e for e, a in zip(track["empty"][1:], track["area"][1:], strict=True) if a >= LEAST_PX
    ],
    "gone said, absent": lambda track: [
        e for e, a in zip(track["empty"][1:], track["area"][1:], strict=True) if a == 0
    ],
}


def names_of(clips: Sequence[Clip]) -> list[str]:
    return list(clips[0]["tracks"])


def results_of(header: dict[str, Any], clips: Sequence[Clip], name: str) -> Results:
    """What one policy did on all clips."""
    rows = [row for clip in clips for row in _rows(clip, name)]
    measures = [
        measure
        for measure in (*MEASURES, "seconds", "units", "uncertain")
        if any(measure in row.values for row in rows)
    ]
    summary = {
        measure: float(np.mean([row.values[measure] for row in rows if measure in row.values])) for measure in measures
    }
    return Results(
        task="vos",
        protocol=PROTOCOL,
        summary=summary,
        headline=tuple(measure for measure in ("J&F", "J after return", "wrong object") if measure in summary),
        rows=tuple(rows),
        settings={
            "dataset": "long synthetic clips",
            "clips": f"seeds {clips[0]['seed']} to {clips[-1]['seed']}",
            "model": "builtin",
            "policy": name,
            "policy_options": header.get("options", {}).get(name, {}),
            **{key: header[key] for key in ("frames", "objects", "zoom") if key in header},
        },
        remarks=()
        if "made" in header
        else ("The run did not note its code and weights; Made with is about this page.",),
        lower_is_better=LESS_IS_BETTER,
    )


def _rows(clip: Clip, name: str) -> list[Row]:
    tracks, used = clip["tracks"][name], clip["usage"].get(name)
    rows = []
    for number, track in enumerate(tracks, start=1):
        values = {measure: float(np.mean(found)) for measure, of in MEASURES.items() if (found := of(track))}
        if used is not None:
            values |= {"seconds": used["seconds"] / len(tracks), "units": used["units"] / len(tracks)}
            if str(number) in used["uncertain"]:
                values["uncertain"] = used["uncertain"][str(number)]
        kinds = ("returns",) if back_frames(track["area"]) else ("is never away for long",)
        series = {"J": (None, *track["j"][1:]), "F": (None, *track["f"][1:])}
        item = str(number) if len(tracks) > 1 else ""
        rows.append(Row(f"clip {clip['seed']}", item, values, kinds, tuple(range(len(track["j"]))), series))
    return rows


# -- tables --------------------------------------------------------------------------------------------------------------
QUALITY = [
    *(
        "policy",
        "J&F [95 %]",
        "against sam2 [95 %]",
        "J",
        "F",
        "J visible [against sam2]",
        "J after return [against sam2]",
    ),
    *("on another [against sam2]", "gone said, visible", "gone said, absent"),
]


def quality_rows(runs: dict[str, Results]) -> list[list[str]]:
    rows = []
    for name, results in runs.items():
        own = estimates(results)
        gains = differences(runs[BASE], results) if BASE in runs and name != BASE else {}
        cells = [_figure(own["J&F"]), _gain(gains.get("J&F"))]
        cells += [f"{own[measure].value:.3f}" for measure in ("J", "F")]
        for measure in ("J visible", "J after return"):
            cells.append(f"{_value(own, measure):.3f} {_gain(gains.get(measure), 'bracket')}".strip())
        wrong = _gain(gains.get("wrong object"), "percent")
        cells.append(f"{100 * own['wrong object'].value:.1f} % {wrong}".strip())
        cells += [f"{100 * _value(own, measure):.1f} %" for measure in ("gone said, visible", "gone said, absent")]
        rows.append([name, *cells])
    return rows


def _value(found: dict[str, Estimate], measure: str) -> float:
    return found[measure].value if measure in found else float("nan")


def _figure(found: Estimate) -> str:
    return f"{found.value:.3f}" + ("" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]")


def _gain(found: Estimate | None, style: str = "") -> str:
    if found is None or found.low is None:
        return ""
    if style == "percent":
        return f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    interval = f"[{found.low:+.3f}, {found.high:+.3f}]"
    return interval if style == "bracket" else f"{found.value:+.3f} {interval}"


def cost_rows(clips: Sequence[Clip]) -> list[list[str]]:
    """Time and units relative to sam2, over all clips."""
    rows = []
    names = list(clips[0]["usage"])
    base = BASE if BASE in names else names[0]
    for name in names:
        used = [clip["usage"][name] for clip in clips]
        seconds, units = (sum(u[key] for u in used) for key in ("seconds", "units"))
        against = [sum(clip["usage"][base][key] for clip in clips) for key in ("seconds", "units")]
        peak = max(u["peak_bytes"] for u in used) / 2**20
        rows.append([name, f"{seconds / against[0]:.2f}x", f"{units / against[1]:.2f}x", f"{peak:.1f}"])
    return rows


def doubt_rows(clips: Sequence[Clip]) -> list[list[str]]:
    """sam2long's time against the share of frames on which it was uncertain."""
    shares, times, units = doubts(clips)
    rows = []
    for low, high in ((0, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 1.01)):
        some = (shares >= low) & (shares < high)
        if some.any():
            rows.append(
                [
                    f"{100 * low:.0f} to {100 * min(high, 1):.0f} %",
                    str(int(some.sum())),
                    f"{times[some].mean():.2f}x",
                    f"{times[some].max():.2f}x",
                    f"{units[some].mean():.2f}x",
                ]
            )
    return rows


def doubts(clips: Sequence[Clip]) -> tuple[Numbers, Numbers, Numbers]:
    """Share of uncertain frames, time and units of sam2long relative to sam2, a value a clip."""
    shares, times, units = [], [], []
    for clip in clips:
        long, plain = clip["usage"].get(LONG), clip["usage"].get(BASE)
        if long and plain:
            shares.append(float(np.mean(list(long["uncertain"].values()) or [0.0])))
            times.append(long["seconds"] / plain["seconds"])
            units.append(long["units"] / plain["units"])
    return np.array(shares), np.array(times), np.array(units)


# -- showing -------------------------------------------------------------------------------------------------------------
def show(folder: Path, out: Path | None = None) -> None:
    """Prints the tables; writes them (`report.md`), the plots and a run folder a policy to `out` or beside the results."""
    header, clips = load(folder)
    if not clips:
        raise SystemExit(f"There are no finished clips in {folder} yet.")
    out = out or folder
    runs = {name: results_of(header, clips, name) for name in names_of(clips)}
    frames = len(next(iter(clips[0]["tracks"].values()))[0]["j"])
    told = {key: value for key, value in header.items() if key != "made"}
    console, lines = Console(width=220), [f"{len(clips)} clips of {frames} frames; {told}", ""]
    tables = [("Quality", QUALITY, quality_rows(runs))]
    tables.append(("Cost", ["policy", "time", "units", "most remembered, MiB"], cost_rows(clips)))
    if len(doubts(clips)[0]):
        columns = ["uncertain frames", "clips", "time, mean", "time, most", "units, mean"]
        tables.append(("sam2long against sam2", columns, doubt_rows(clips)))
    for title, columns, rows in tables:
        table = RichTable(*columns, title=f"{title} ({len(clips)} clips)")
        lines += [f"**{title}**", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        for row in rows:
            table.add_row(*row)
            lines.append("| " + " | ".join(row) + " |")
        lines.append("")
        console.print(table)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text("\n".join(lines))
    plot(runs, clips, out)
    write_runs(runs, out / RUNS, header.get("made"))
    console.print(f"A page a policy and its difference to {BASE}: {out / RUNS}", markup=False)


def write_runs(runs: dict[str, Results], folder: Path, made: dict[str, Any] | None) -> None:
    """A run folder a policy, as `keepsight eval` writes them, and its difference to sam2."""
    for name, results in runs.items():
        write_run(results, folder / _slug(name), made=made)
    for name in runs:
        if BASE in runs and name != BASE:
            found = compare_runs(open_run(folder / BASE), open_run(folder / _slug(name)))
            write_difference(found, folder / f"{_slug(name)}-against-{BASE}")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def plot(runs: dict[str, Results], clips: Sequence[Clip], folder: Path) -> None:
    """`policies.png`: J&F with intervals, J&F against sam2 clip by clip, J over time, and the price of doubt."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    bars, gains, course, price = figure.subplots(2, 2).ravel()
    colours = {name: f"C{i}" for i, name in enumerate(runs)}
    for place, (name, results) in enumerate(runs.items()):
        own = estimates(results)
        for shift, measure, shade in ((-0.15, "J&F", 1.0), (0.15, "J after return", 0.45)):
            found = own.get(measure)
            if found is not None:
                low, high = (found.value if end is None else end for end in (found.low, found.high))
                error = [[found.value - low], [high - found.value]]
                bars.errorbar(place + shift, found.value, error, fmt="o", color=colours[name], alpha=shade, capsize=3)
    bars.set_xticks(range(len(runs)), list(runs), rotation=25, ha="right")
    bars.set_title("J&F (left) and J after a return (right, pale), 95 %", fontsize=10)
    if BASE in runs:
        rest = [name for name in runs if name != BASE]
        plain = np.array([row.values["J&F"] for row in runs[BASE].rows])
        for place, name in enumerate(rest):
            change = np.array([row.values["J&F"] for row in runs[name].rows]) - plain
            places = place + np.random.default_rng(0).uniform(-0.15, 0.15, len(change))
            gains.plot(places, change, ".", color=colours[name], alpha=0.6)
        gains.axhline(0, color="grey", linewidth=0.8)
        gains.set_xticks(range(len(rest)), rest, rotation=25, ha="right")
    gains.set_title("J&F less that of sam2, a point an object", fontsize=10)
    for name in runs:
        j = np.array([track["j"] for clip in clips for track in clip["tracks"][name]]).mean(axis=0)
        smooth = np.convolve(np.pad(j, 7, mode="edge"), np.ones(15) / 15, mode="valid")
        course.plot(smooth, color=colours[name], label=name, linewidth=1.2)
    course.set_title("J over time, mean of all objects, over 15 frames", fontsize=10)
    course.set_xlabel("frame")
    course.legend(fontsize=7)
    shares, times, units = doubts(clips)
    if len(shares):
        price.plot(100 * shares, times, "o", markersize=4, label="time")
        price.plot(100 * shares, units, "x", markersize=4, label="units decoded")
        price.axhline(1.25, color="grey", linewidth=0.8, linestyle="--")
        price.axvline(20, color="grey", linewidth=0.8, linestyle="--")
        price.set_xlabel("share of uncertain frames, %")
        price.legend(fontsize=7)
    price.set_title("sam2long against sam2, a point a clip", fontsize=10)
    figure.savefig(folder / "policies.png", dpi=110)
