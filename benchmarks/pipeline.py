"""What a batch costs beside its slowest stage, beside a plain script, with one and two workers; memory against clip length.

python benchmarks/pipeline.py --videos 4 --frames 60
python benchmarks/pipeline.py --part memory --lengths 20 40 80 160

Videos are drawn: discs that drive past before a camera that stands still, found by `motion` and followed by the built-in
model. All figures of a table are from one run of this script; each is a process of its own that reads its model itself. Set
OMP_NUM_THREADS=1 on a machine with few cores, so that two workers do not share one.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from keepsight.video import VideoWriter

CLIP, SIZE = 30, (640, 360)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["all", "time", "memory"], default="all")
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--frames", type=int, default=60, help="of a video; clips have 30")
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="the fastest of so many counts")
    parser.add_argument("--lengths", type=int, nargs="+", default=[20, 40, 80, 160], help="frames a clip")
    parser.add_argument("--alone", choices=list(ALONE), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        ALONE[arguments.alone](arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.part != "memory":
            time_table(folder, arguments)
        if arguments.part != "time":
            memory_table(folder, arguments)


def draw(path: Path, frames: int, objects: int, seed: int) -> None:
    """Discs that go round, 640 x 360 px."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    scenery = cv2.resize(rng.integers(40, 180, (18, 32, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    colours = rng.integers(0, 2, (objects, 3)) * 215 + 20
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, height=height, width=width, fps=25) as writer:
        for index in range(frames):
            picture = scenery.copy()
            for number, colour in enumerate(colours):
                angle = 0.05 * index + 2 * np.pi * number / objects
                centre = (int(width / 2 + 230 * np.cos(angle)), int(height / 2 + 120 * np.sin(angle)))
                cv2.circle(picture, centre, 34, colour.tolist(), -1)
                cv2.circle(picture, centre, 15, (255 - colour).tolist(), -1)
            writer.write(picture)


def batch(folder: Path, out: Path, workers: int, clip: int = CLIP) -> None:
    """`keepsight pipeline run`."""
    import yaml

    values = {
        "input_folder": str(folder / "videos"),
        "output_folder": str(out),
        "frames_per_clip": clip,
        "detector": "motion",
        "prompt_class": "disc",
        "crop_size": 128,
        "devices": ["cpu"] * workers,
    }
    config = out.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(values))
    run(["-m", "keepsight.cli.main", "pipeline", "run", str(config)])


def job_for(video: Path, out: Path, **outputs: bool):  # type: ignore[no-untyped-def]
    from keepsight.pipeline.job import Outputs, SegmentJob
    from keepsight.pipeline.words import parse_concepts

    wanted = {"overlay": False, "crops": False, "masks": True, "annotations": True, "report": False} | outputs
    concepts = parse_concepts(["disc"])
    return SegmentJob(video, out, concepts=concepts, detector="motion", device="cpu", outputs=Outputs(**wanted))


def follow_alone(folder: Path) -> None:
    """The slowest stage: every clip is followed, and nothing else."""
    from keepsight.pipeline.loaded import LoadedModels
    from keepsight.pipeline.segment import run_segment

    models = LoadedModels()
    for number, clip in enumerate(sorted((folder / "clips").rglob("*.mp4"))):
        run_segment(job_for(clip, folder / "alone" / str(number)), models=models)


def plain_script(folder: Path) -> None:
    """The same steps as a person would write them down: cut, follow, cut out, one after the other."""
    from keepsight.pipeline.clips import CutRule, cut_video
    from keepsight.pipeline.crops import crop_objects, crop_style_of
    from keepsight.pipeline.segment import run_segment

    style = crop_style_of(size=128, margin=0.15, background="black", path="smooth")
    for video in sorted((folder / "videos").glob("*.mp4")):
        for clip in cut_video(video, folder / "plain" / "clips", CutRule(frames=CLIP)).clips:
            out = folder / "plain" / clip.stem
            run_segment(job_for(clip, out))
            crop_objects(out, style=style)


ALONE: dict[str, Callable[[Path], None]] = {"follow": follow_alone, "plain": plain_script}


def run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def timed(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def time_table(folder: Path, arguments: argparse.Namespace) -> None:
    for number in range(arguments.videos):
        draw(folder / "videos" / f"v{number}.mp4", arguments.frames, arguments.objects, number)
    frames = arguments.videos * arguments.frames
    batch(folder, folder / "clips-for-alone", 1)  # once unmeasured: it warms the disk, and leaves the clips
    shutil.move(folder / "clips-for-alone" / "clips", folder / "clips")

    def alone(part: str, leftover: str) -> float:
        shutil.rmtree(folder / leftover, ignore_errors=True)
        return timed(lambda: run([__file__, "--alone", part, "--folder", str(folder)]))

    def pipeline(workers: int) -> float:
        shutil.rmtree(folder / f"out{workers}", ignore_errors=True)
        return timed(lambda: batch(folder, folder / f"out{workers}", workers))

    sides: dict[str, Callable[[], float]] = {
        "following alone, one process": lambda: alone("follow", "alone"),
        "pipeline, one worker": lambda: pipeline(1),
        "plain script": lambda: alone("plain", "plain"),
        "pipeline, two workers": lambda: pipeline(2),
    }
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(arguments.rounds):
        for name, side in sides.items():
            best[name] = min(best[name], side())
    first = best["following alone, one process"]
    print(
        f"{arguments.videos} videos of {arguments.frames} frames, {SIZE[0]} x {SIZE[1]} px, {arguments.objects} objects"
    )
    print("\n| | seconds | frames/s | against following alone |\n|---|---|---|---|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.1f} | {frames / seconds:.2f} | {seconds / first:.2f}x |")
    one, two = best["pipeline, one worker"], best["pipeline, two workers"]
    print(
        f"\nPlain script / pipeline: {best['plain script'] / one:.2f}x; one worker / two: {one / two:.2f}x", flush=True
    )
    print_stages(folder / "out1", one)


def print_stages(out: Path, wall_s: float) -> None:
    """Where the time went, as the report has it; the ratio to its own slowest stage bears a machine that others use, too."""
    from keepsight.pipeline.batch.conduct import read_batch
    from keepsight.pipeline.batch.report import inner_times, stage_rows

    _, units = read_batch(out)
    print("\nStages, one worker: " + ", ".join(f"{row['stage']} {row['seconds']:.1f} s" for row in stage_rows(units)))
    slowest = max(row["seconds"] for row in stage_rows(units))
    print(f"Wall time against its own slowest stage: {wall_s / slowest:.2f}x")
    inner = [f"{row['name']}{' (beside)' * row['beside']} {row['seconds']:.1f} s" for row in inner_times(units)]
    print("Within segment: " + ", ".join(inner), flush=True)


def memory_table(folder: Path, arguments: argparse.Namespace) -> None:
    from keepsight.pipeline.batch.conduct import read_batch

    shutil.rmtree(folder / "videos", ignore_errors=True)
    draw(folder / "videos" / "long.mp4", max(arguments.lengths), 1, 0)
    print("\n| frames a clip | clips | most memory of segment, MiB | of crop, MiB |\n|---|---|---|---|")
    for length in arguments.lengths:
        out = folder / f"clips{length}"
        batch(folder, out, 1, length)
        _, units = read_batch(out)
        clips = sum(unit.stage == "segment" for unit in units)
        segment, crop = (
            max(unit.results["peak_mib"] for unit in units if unit.stage == stage) for stage in ("segment", "crop")
        )
        print(f"| {length} | {clips} | {segment:.0f} | {crop:.0f} |", flush=True)


if __name__ == "__main__":
    main()
