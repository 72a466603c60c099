"""Quality and speed of the built-in model beside a tracker without weights, on held-out clips at full-HD frame size.

    python benchmarks/builtin.py --data data/builtin --out out/benchmark              # 20 clips, all prompts, speed
    python benchmarks/builtin.py --data data/builtin --clips 4 --prompts mask box     # a first look
    python benchmarks/builtin.py --sample                                             # the sample clip, by hand-made truth
    python benchmarks/builtin.py --show out/benchmark/tracks.json                     # the tables once more
    python benchmarks/builtin.py --compare before/tracks.json after/tracks.json       # what a change has done

`--data` is the folder with the packages that training fetches (`keepsight train builtin`). All objects of a clip are
followed in one session. A box is the tight box of the true mask, a click its deepest point; "click3" adds three clicks, each
in the middle of the largest region that is wrong on the first frame. No clip depends on the weights or on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as RichTable

import keepsight
import scoring
from calibration import calibration, calibration_table, scores_table
from clips import HdClip, clip_classes
from keepsight import EngineOptions, Mask, Session, Tracker
from keepsight.video.source import ArrayVideo
from scoring import OTHER, OURS, Table, Track
from sprites import Pictures
from truth_sample import SampleClip
from weight_free import WeightFreeTracker

PROMPTS = ("mask", "box", "click", "click3")
FIRST_SEED = 9000
_SPEED_FRAMES, _SPEED_WARM = 24, 6

Clip = HdClip | SampleClip
Bool = NDArray[np.bool_]


def load_tracker(weights: Path | None, zoom: bool | None, device: str) -> Tracker:
    """The built-in model, by the public door.

    Args:
        weights: a weights file, or a folder as `keepsight train builtin` leaves it; None for those of the package.
        zoom: None leaves the engine's default.
        device: "cpu", "cuda", ...
    """
    options = EngineOptions(zoom=zoom)
    if weights is None or weights.is_dir():
        return keepsight.load(weights or "builtin", device=device, options=options)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.safetensors").symlink_to(weights.resolve())
        (Path(folder) / "config.json").write_text(json.dumps({"model_type": "keepsight_builtin"}))
        return keepsight.load(folder, device=device, options=options)


# -- following -----------------------------------------------------------------------------------------------------------
def say(session: Session, clip: Clip, number: int, prompt: str) -> None:
    """Prompts one object on the clip's first frame."""
    truth = clip.truth(clip.first, number)
    common: dict[str, Any] = {"object_id": number, "frame": clip.first}
    if prompt == "mask":
        session.add(mask=truth, **common)
    elif prompt == "box":
        session.add(box=truth.box, **common)
    else:
        pixels = truth.to_array()
        found = session.add(points=[scoring.inner_point(pixels)], **common)
        for _ in range(3 if prompt == "click3" else 0):
            click = scoring.corrective_click(found.mask.to_array(), pixels)
            if click is None:
                break
            found = session.add(points=[click[0]], labels=[click[1]], **common)


def follow_builtin(tracker: Tracker, clip: Clip, prompt: str) -> list[Track]:
    """All targets of a clip in one session."""
    start = time.perf_counter()
    session = tracker.open(clip)
    tracks = _new_tracks(clip, OURS, prompt)
    for track in tracks:
        say(session, clip, track.number, prompt)
    for result in session.propagate():
        for track in tracks:
            item = result[track.number]
            _note(track, clip, result.frame, item.mask)
            if clip.has_truth(result.frame):
                track.score.append(float(item.score))
                track.presence.append(float(item.presence))
    return _timed(tracks, start)


def follow_weight_free(clip: Clip, prompt: str) -> list[Track]:
    """The same with the tracker without weights; one after another, since it knows of one object only."""
    start = time.perf_counter()
    tracks = _new_tracks(clip, OTHER, prompt)
    trackers = [WeightFreeTracker() for _ in tracks]
    for frame in clip.frames(clip.first):
        for track, tracker in zip(tracks, trackers, strict=True):
            if frame.index == clip.first:
                truth = clip.truth(frame.index, track.number)
                found = tracker.start(
                    frame.rgb, **({"mask": truth.to_array()} if prompt == "mask" else {"box": truth.box})
                )
            else:
                found = tracker.step(frame.rgb)
            _note(track, clip, frame.index, Mask.from_array(found))
    return _timed(tracks, start)


def _new_tracks(clip: Clip, tracker: str, prompt: str) -> list[Track]:
    return [Track(clip.name, t.number, tracker, prompt, t.side_px, t.event, t.twin) for t in clip.targets]


def _timed(tracks: list[Track], start: float) -> list[Track]:
    for track in tracks:
        track.seconds = (time.perf_counter() - start) / len(tracks)
    return tracks


def _note(track: Track, clip: Clip, frame: int, found: Mask) -> None:
    if not clip.has_truth(frame):
        return
    truth = clip.truth(frame, track.number)
    track.j.append(found.iou(truth))
    track.visible.append(truth.area > 0)
    track.empty.append(found.area == 0)
    share = 0.0
    if track.twin and found.area:
        twin = clip.truth(frame, track.twin)
        if twin.area:
            share = float((found.to_array() & twin.to_array()).sum() / found.area)
    track.on_twin.append(share)


# -- speed ---------------------------------------------------------------------------------------------------------------
def measure_speed(
    tracker: Tracker, pictures: Pictures, counts: tuple[int, ...] = (1, 3, 5)
) -> dict[str, dict[int, float]]:
    """Frames a second by number of objects, for both trackers: median frame of a clip of its own, after warm-up.

    Frames lie in memory before the clock starts: decoding is left out, scaling and cutting are in it.
    """
    rates: dict[str, dict[int, float]] = {OURS: {}, OTHER: {}}
    for count in counts:
        clip = HdClip(pictures, 5, [2, 3, 1, 2, 4][:count], _SPEED_FRAMES)
        frames = [clip.read(index).rgb for index in range(_SPEED_FRAMES)]
        session = tracker.open(ArrayVideo(frames))
        for target in clip.targets:
            session.add(object_id=target.number, frame=0, box=clip.truth(0, target.number).box)
        rates[OURS][count] = 1 / _median_gap(session.propagate())
        trackers = [WeightFreeTracker() for _ in clip.targets]
        for one, target in zip(trackers, clip.targets, strict=True):
            one.start(frames[0], box=clip.truth(0, target.number).box)
        rates[OTHER][count] = 1 / _median_gap([one.step(frame) for one in trackers] for frame in frames[1:])
    return rates


def _median_gap(steps: Iterator[Any]) -> float:
    spent, last = [], time.perf_counter()
    for _ in steps:
        now = time.perf_counter()
        spent.append(now - last)
        last = now
    return statistics.median(spent[_SPEED_WARM:])


def speed_table(rates: dict[str, dict[int, float]], threads: int) -> Table:
    counts = sorted(rates[OURS])
    rows = [[name, *(f"{rate[count]:.1f}" for count in counts)] for name, rate in rates.items()]
    note = f"{threads} threads, 1920x1080 frames in memory (decoding left out, scaling in), box prompts, median after warm-up."
    return Table("Frames a second", ["tracker", *(f"{n} object{'s' * (n > 1)}" for n in counts)], rows, note)


# -- report --------------------------------------------------------------------------------------------------------------
def show(console: Console, table: Table) -> None:
    rich = RichTable(title=table.title, caption=table.note or None)
    for index, column in enumerate(table.columns):
        rich.add_column(column, justify="left" if index < 1 else "right")
    for row in table.rows:
        rich.add_row(*[cell.replace("[", "\\[") for cell in row])
    console.print(rich)


def write_report(out: Path, tables: list[Table], curves: dict[str, dict[str, list[float]]], head: str) -> None:
    """report.md, report.html and calibration.png in `out`."""
    import html

    picture = plot_calibration(out / "calibration.png", curves) if curves else ""
    text = "\n".join([f"# Built-in model beside the {OTHER} tracker", "", head, "", *map(scoring.markdown, tables)])
    (out / "report.md").write_text(text + picture, encoding="utf-8")
    parts = [f"<h1>Built-in model beside the {OTHER} tracker</h1><p>{html.escape(head)}</p>"]
    for table in tables:
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
        )
        names = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
        title, note = html.escape(table.title), html.escape(table.note)
        parts.append(f"<h2>{title}</h2><table><tr>{names}</tr>{body}</table><p>{note}</p>")
    if curves:
        parts.append('<img src="calibration.png" alt="calibration curves" width="900">')
    style = (
        "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd}"
    )
    page = f"<!doctype html><meta charset=utf-8><title>Benchmark</title><style>{style}</style>" + "\n".join(parts)
    (out / "report.html").write_text(page, encoding="utf-8")


def plot_calibration(path: Path, curves: dict[str, dict[str, list[float]]]) -> str:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4.6))
    for panel, kind, truth in zip(panels, ("IoU score", "object score"), ("true IoU", "share visible"), strict=True):
        panel.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, curve in curves.items():
            if name.startswith(kind):
                label = f"{name.split(', ')[1]} (error {curve['error'][0]:.2f})"
                panel.plot(curve["said"], curve["true"], marker="o", label=label)
        panel.set(xlabel=f"{kind}, said", ylabel=truth, xlim=(0, 1), ylim=(0, 1), aspect="equal")
        panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return f"![calibration curves]({path.name})\n"


def all_tables(tracks: list[Track], rates: dict[str, dict[int, float]] | None, threads: int) -> list[Table]:
    tables = [scoring.by_frame_table(tracks), scoring.by_size_table(tracks), scoring.presence_table(tracks)]
    if rates:
        tables.append(speed_table(rates, threads))
    tables.append(scoring.criteria_table(tracks, rates[OURS] if rates else None))
    curves = calibration(tracks)
    return [*tables, calibration_table(curves), scores_table(tracks)] if curves else tables


# -- main ----------------------------------------------------------------------------------------------------------------
def clips_of(options: argparse.Namespace, pictures: Pictures | None) -> Iterator[Clip]:
    if pictures is None:
        yield SampleClip()
        return
    for index in range(options.clips):
        yield HdClip(pictures, options.seed + index, clip_classes(index, options.objects), options.length)


def run(options: argparse.Namespace, console: Console) -> None:
    pictures = None if options.sample else Pictures.held_out(options.data)
    tracker = load_tracker(options.weights, options.zoom, options.device)
    kept = options.out / "tracks.json" if options.out else None
    tracks = scoring.load(kept)[0] if options.resume and kept is not None and kept.exists() else []
    begun = time.perf_counter()
    for clip in clips_of(options, pictures):
        start = time.perf_counter()
        there = {(track.tracker, track.prompt) for track in tracks if track.clip == clip.name}
        for prompt in options.prompts:
            if (OURS, prompt) not in there:
                tracks += follow_builtin(tracker, clip, prompt)
            if options.baseline and prompt in ("mask", "box") and (OTHER, prompt) not in there:
                tracks += follow_weight_free(clip, prompt)
        if kept is not None:  # what is done is kept, should the run be stopped
            kept.parent.mkdir(parents=True, exist_ok=True)
            scoring.save(kept, tracks)
        mine = [t for t in tracks if t.clip == clip.name]
        means = ", ".join(
            f"{prompt} {np.mean([t.later for t in scoring.pick(mine, OURS, prompt)]):.2f}"
            + (f"/{np.mean([t.later for t in other]):.2f}" if (other := scoring.pick(mine, OTHER, prompt)) else "")
            for prompt in options.prompts
        )
        console.print(f"{clip.name}: {means}  ({time.perf_counter() - start:.0f} s)", highlight=False)
    rates = None
    if options.speed and pictures is not None:
        rates = measure_speed(tracker, pictures)
    threads = torch.get_num_threads()
    tables = all_tables(tracks, rates, threads)
    if options.sample:  # one object on a few frames: the other tables would say nothing
        tables = [replace(scoring.by_frame_table(tracks), columns=_sample_columns(tracks), rows=_sample_rows(tracks))]
        tables[0].title, tables[0].note = (
            "J on the annotated frames of the sample clip",
            "A check; never used for training.",
        )
    for table in tables:
        show(console, table)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        curves = calibration(tracks)
        head = (
            f"{len({t.clip for t in tracks})} clips, {len({t.key[:2] for t in tracks})} objects, seed {options.seed}, "
            f"zoom {'engine default' if options.zoom is None else 'on' if options.zoom else 'off'}, "
            f"weights {options.weights.name if options.weights else 'of the package'}, {threads} threads, "
            f"{time.perf_counter() - begun:.0f} s."
        )
        scoring.save(options.out / "tracks.json", tracks, head=head, threads=threads, speed=rates, calibration=curves)
        write_report(options.out, tables, curves, head)
        console.print(f"report: {options.out / 'report.html'}")


def _sample_columns(tracks: list[Track]) -> list[str]:
    return ["object", "prompt", "tracker", *(f"frame {f}" for f in SampleClip().annotated), "mean after first"]


def _sample_rows(tracks: list[Track]) -> list[list[str]]:
    names = {target.number: target.event for target in SampleClip().targets}
    return [[names[t.number], t.prompt, t.tracker, *(f"{j:.3f}" for j in t.j), f"{t.later:.3f}"] for t in tracks]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/builtin"), help="folder with the fetched packages")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--objects", type=int, default=3, help="targets a clip")
    parser.add_argument("--length", type=int, default=None, help="frames a clip; default: 30 to 60, drawn")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first clip; the next ones count up")
    parser.add_argument("--prompts", nargs="+", choices=PROMPTS, default=list(PROMPTS))
    parser.add_argument("--zoom", action=argparse.BooleanOptionalAction, default=None, help="default: the engine's own")
    parser.add_argument("--weights", type=Path, default=None, help="weights file or folder; default: of the package")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--baseline", action=argparse.BooleanOptionalAction, default=True, help="the tracker without weights"
    )
    parser.add_argument("--speed", action=argparse.BooleanOptionalAction, default=True, help="time 1, 3 and 5 objects")
    parser.add_argument("--sample", action="store_true", help="the sample clip of the repository instead")
    parser.add_argument("--compare", type=Path, nargs=2, metavar="TRACKS.json", help="two runs; nothing else is done")
    parser.add_argument(
        "--show", type=Path, metavar="TRACKS.json", help="tables of a run that was kept, finished or not"
    )
    parser.add_argument("--out", type=Path, default=None, help="folder for tracks.json and the report")
    parser.add_argument(
        "--resume", action="store_true", help="what is in --out is not done again; the model has to be the same"
    )
    options = parser.parse_args(arguments)
    console = Console(width=150)
    if options.compare:
        show(console, scoring.compare_table(*(scoring.load(path)[0] for path in options.compare)))
        return
    if options.show:
        tracks, more = scoring.load(options.show)
        rates = {name: {int(k): v for k, v in rate.items()} for name, rate in (more.get("speed") or {}).items()}
        tables = all_tables(tracks, rates or None, more.get("threads", options.threads))
        for table in tables:
            show(console, table)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            write_report(options.out, tables, calibration(tracks), more.get("head", "an unfinished run"))
        return
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    run(options, console)


if __name__ == "__main__":
    main()
