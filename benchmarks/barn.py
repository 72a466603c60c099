"""A folder of barn videos to try the pipeline on: a camera below the ceiling, cows that walk along the alley, stand and go on.

Everything is drawn, so nothing need be fetched, and who is where is known. Writes `north.mp4` and `south.mp4`, and `truth.csv`
with the middle of every cow on every frame on which some of it is to be seen:

    python benchmarks/barn.py --out videos
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from keepsight.video import VideoWriter
from sprites import F64, U8, Actor, paste

WIDTH, HEIGHT, FPS, FRAMES = 640, 360, 10.0, 140
COATS = {"white": (232, 226, 214), "black": (38, 34, 33), "red": (128, 68, 38)}

#: Seed, and for every cow: coat, patches, px a frame (towards the left where negative), height in the picture, where it is at the
#: start, and when it stands for a while, in frames.
NORTH = (
    1,
    (
        ("white", "black", 3.4, 100, -40, 75),
        ("red", "white", -3.4, 183, 650, 30),
        ("black", "white", 3.2, 264, -180, 0),
    ),
)
SOUTH = (
    2,
    (
        ("white", "red", -3.3, 132, 690, 75),
        ("white", "black", 3.0, 246, 20, 32),
    ),
)


def cow(rng: np.random.Generator, coat: str, patches: str) -> U8:
    """A cow from above, looking to the right: premultiplied RGBA, 150 x 70 px."""
    scale, (height, width) = 4, (70, 150)
    shape = np.zeros((height * scale, width * scale), np.uint8)

    def oval(x: float, y: float, a: float, b: float, angle: float = 0) -> None:
        centre, axes = (round(x * scale), round(y * scale)), (round(a * scale), round(b * scale))
        cv2.ellipse(shape, centre, axes, angle, 0, 360, 255, -1)

    oval(60, 35, 44, 22)  # the barrel
    oval(32, 35, 22, 21)  # the hips
    oval(90, 35, 22, 17)  # the shoulders
    oval(110, 35, 15, 10)  # the neck
    oval(127, 35, 14, 9)  # the head
    oval(139, 35, 7, 6)  # the muzzle
    for side in (-1, 1):
        oval(118, 35 + side * 12, 3.5, 7, side * 25)  # an ear
    cv2.line(shape, (11 * scale, 35 * scale), (2 * scale, 41 * scale), 255, 3 * scale)  # the tail
    spots = cv2.resize(rng.standard_normal((5, 9)).astype(np.float32), shape.shape[::-1], interpolation=cv2.INTER_CUBIC)
    colour = np.where((spots > 0.35)[..., None], COATS[patches], COATS[coat]).astype(np.float32)
    colour[:, 134 * scale :] = (176, 132, 120)
    across = np.abs(np.arange(shape.shape[0]) / scale - 35) / 22
    colour *= (1.08 - 0.42 * np.clip(across, 0, 1.2) ** 2)[:, None, None]  # the back is round
    hair = cv2.GaussianBlur(rng.standard_normal(shape.shape).astype(np.float32), (0, 0), 3) * 30
    rgba = np.dstack((np.clip(colour + hair[..., None], 0, 255) * (shape[..., None] / 255), shape)).astype(np.float32)
    return np.asarray(cv2.resize(rgba, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def barn(rng: np.random.Generator) -> U8:
    """The floor: slats with straw on them between two rows of cubicles, and the rails."""
    floor = np.full((HEIGHT, WIDTH, 3), (118, 112, 102), np.float32)
    for cells in (9, 40, 160):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32) * 9
        floor += cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)[..., None]
    floor[:, ::16] -= 34
    floor[:, 1::16] -= 20
    picture = np.clip(floor, 0, 255).astype(np.uint8)
    for top in (0, HEIGHT - 52):
        picture[top : top + 52] = picture[top : top + 52] // 2 + np.array((74, 62, 36), np.uint8)
        for x in range(20, WIDTH, 84):
            cv2.line(picture, (x, top), (x, top + 52), (150, 154, 158), 4, cv2.LINE_AA)
        rail = 52 if top == 0 else HEIGHT - 52
        cv2.line(picture, (0, rail), (WIDTH, rail), (172, 176, 180), 5, cv2.LINE_AA)
    for _ in range(900):
        x, y = rng.uniform(0, (WIDTH, HEIGHT))
        turn, length = rng.uniform(0, np.pi), rng.uniform(4, 12)
        if abs(y - HEIGHT / 2) < 100 and rng.random() < 0.75:
            continue
        end = round(x + length * np.cos(turn)), round(y + length * np.sin(turn))
        gold = tuple(int(value) for value in np.array((196, 168, 92)) * rng.uniform(0.7, 1.1))
        cv2.line(picture, (round(x), round(y)), end, gold, 1, cv2.LINE_AA)
    return picture


def walk(rng: np.random.Generator, speed: float, y: float, begin: float, pause: int) -> tuple[F64, F64]:
    """Middle ``(T, 2)`` in px and angle ``(T,)`` on every frame."""
    going = np.ones(FRAMES)
    if pause:
        going[pause : pause + 18] = np.linspace(1, 0, 18) ** 2
        going[pause + 18 : pause + 30] = np.linspace(0, 1, 12)
    way = np.cumsum(speed * going)
    drift = 8 * np.sin(way / 90 + rng.uniform(0, 6.3))
    heading = np.gradient(drift) / speed * 0.8 + 0.035 * np.sin(np.arange(FRAMES) * 0.9) * going
    return np.stack((begin + way, y + drift), 1), heading + (np.pi if speed < 0 else 0)


def write(
    path: Path, seed: int, herd: tuple[tuple[str, str, float, float, float, int], ...]
) -> list[tuple[object, ...]]:
    """Writes one video; returns (video, cow, frame, x, y)."""
    rng = np.random.default_rng(seed)
    floor, ones, rows = barn(rng), np.ones(FRAMES), []
    cows = []
    for coat, patches, speed, y, begin, pause in herd:
        sprite = cow(rng, coat, patches)
        centres, angles = walk(rng, speed, y, begin, pause)
        if speed < 0:  # the light comes from the same side for all
            sprite = np.ascontiguousarray(sprite[::-1])
        stretches = 1 + 0.025 * np.sin(np.arange(FRAMES) * 1.1 + seed)
        cows.append(Actor(sprite, centres, ones, angles, stretches))
    with VideoWriter(path, height=HEIGHT, width=WIDTH, fps=FPS) as writer:
        for t in range(FRAMES):
            labels, dark = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.float32)
            for one in cows:
                x, y = one.centres[t]
                turn = float(np.degrees(one.angles[t]))
                cv2.ellipse(dark, (round(x + 4), round(y + 9)), (58, 22), turn, 0, 360, 0.34, -1)
            canvas = (floor * (1 - cv2.GaussianBlur(dark, (0, 0), 5))[..., None]).astype(np.uint8)
            for number, one in enumerate(cows, 1):
                paste(canvas, labels, one, t, number)
                if (labels == number).any():
                    rows.append((path.stem, number, t, *(f"{value:.1f}" for value in one.centres[t])))
            noise = rng.standard_normal((HEIGHT, WIDTH, 1), np.float32) * 3
            writer.write(np.clip(canvas + noise, 0, 255).astype(np.uint8))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("videos"), help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rows = [row for name, video in (("north", NORTH), ("south", SOUTH)) for row in write(out / f"{name}.mp4", *video)]
    with (out / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("video", "cow", "frame", "x", "y"), *rows])
    print(f"{out}: north.mp4 with {len(NORTH[1])} cows, south.mp4 with {len(SOUTH[1])}; {FRAMES} frames each")


if __name__ == "__main__":
    main()
