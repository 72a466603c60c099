"""What a person at the page waits for, and what a long day leaves behind: `keepsight annotate`, over HTTP.

    python benchmarks/server.py                          # the sample clip, 1280 x 720 px; about three minutes
    python benchmarks/server.py --only use --minutes 60 --pace 3   # an hour of clicks, runs and undo; the memory meanwhile
    python benchmarks/server.py --video barn.mp4 --model sam2.1-tiny --device cuda

The server is a process of its own. The frames that it streams are timed in turn with those of the engine alone in this process,
so that the ratio holds on a machine that has other work to do; and beside what a clock says of each wait stands the processor
time that the server spent on it, which with one thread is what an idle machine would need.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "bigbuckbunny.mp4"
BOXES = (
    (0.18, 0.35, 0.41, 0.78),
    (0.05, 0.53, 0.18, 0.74),
)  # shares of the frame: rabbit and rock on frame 0 of the sample clip
WORK_FRAMES = 8  # of a run in the long use
PARTS = ("waits", "engine", "health", "use")
DESKTOPS = 8  # clients that speak as X-AnyLabeling does, at once
DESKTOP_FRAMES, DESKTOP_WIDTH = 12, 640  # of the pictures that each of them sends


class Wait(NamedTuple):
    """Milliseconds, by the clock and of the server's processor time."""

    clock: float
    processor: float

    def __add__(self, other: Wait) -> Wait:  # type: ignore[override]
        return Wait(self.clock + other.clock, self.processor + other.processor)


class Server:
    """A server process and the one video on it."""

    def __init__(self, video: Path, projects: Path, model: str, device: str, threads: int) -> None:
        command = [sys.executable, "-m", "keepsight.cli.main", "annotate", str(video), "--no-browser", "--port", "0"]
        command += ["--out", str(projects), "--model", model, "--device", device]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout is not None
        found = re.search(r"http://\S+:\d+", self._process.stdout.readline())
        if found is None:
            raise SystemExit("The server did not begin.")
        self.client = httpx2.Client(base_url=found[0], timeout=600)
        self.at = f"/api/videos/{self.ask('GET', '/api/videos')[0]['id']}"
        self.video = self.ask("GET", self.at)

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        answer = self.client.request(method, path, json=body, params=params)
        if answer.is_error:
            raise SystemExit(f"{method} {path}: {answer.text}")
        return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.content

    def click(self, frame: int, x: float, y: float, object_id: int | None = None, on: int = 1) -> Any:
        said = {"frame": frame, "object_id": object_id, "points": [[x, y, on]]}
        return self.ask("POST", f"{self.at}/prompts", said)

    def picture(self, frame: int, **params: Any) -> bytes:
        return bytes(self.ask("GET", f"{self.at}/frames/{frame}.jpg", **params))

    def track(self, start: int, stop: int, objects: Sequence[int]) -> None:
        """Follows objects, and waits for the end."""
        with self.frames(start, stop, objects) as times:
            for _ in times:
                pass

    @contextmanager
    def frames(self, start: int, stop: int, objects: Sequence[int]) -> Iterator[Iterator[float]]:
        """Times at which the frames of a run arrive."""
        with self.client.stream("GET", f"{self.at}/events") as events:
            lines = events.iter_lines()
            next(lines)
            body = {"start": start, "stop": stop, "objects": list(objects)}
            job = self.ask("POST", f"{self.at}/jobs", body)
            yield self._arrivals(lines, job["id"])

    @staticmethod
    def _arrivals(lines: Iterator[str], job: int) -> Iterator[float]:
        kind = ""
        for line in lines:
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: ") and kind == "frame":
                yield time.perf_counter()
            elif line.startswith("data: ") and kind == "job":
                told = json.loads(line[6:])
                if told["id"] == job and told["state"] not in ("queued", "running"):
                    return

    @property
    def memory_mib(self) -> float:
        return float(psutil.Process(self._process.pid).memory_info().rss / 2**20)

    @property
    def processor_ms(self) -> float:
        """Spent so far, by all threads."""
        times = psutil.Process(self._process.pid).cpu_times()
        return 1000 * float(times.user + times.system)

    def wait(self, work: Callable[[], Any]) -> Wait:
        """What a person waits for."""
        spent, begun = self.processor_ms, time.perf_counter()
        work()
        return Wait(1000 * (time.perf_counter() - begun), self.processor_ms - spent)

    def stop(self) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait()


def spread(values: Sequence[Wait]) -> tuple[str, str, str]:
    """Median and the value that nine of ten stay below, and the median of processor time, in ms."""
    clock = sorted(value.clock for value in values)
    spent = statistics.median(value.processor for value in values)
    return f"{statistics.median(clock):,.0f}", f"{clock[math.ceil(0.9 * len(clock)) - 1]:,.0f}", f"{spent:,.0f}"


def waits(server: Server, count: int) -> list[tuple[str, Sequence[Wait]]]:
    """What a person waits for."""
    width, height, length = (server.video[name] for name in ("width", "height", "frame_count"))
    x, y = int(width * 0.35), int(height * 0.46)
    wait = server.wait

    def at_once(frame: int) -> Wait:
        """What a page shows of a first click before its mask is there."""
        said = {"frame": frame, "object_id": 1, "points": [[x, y, 1]], "quick": True}
        return wait(lambda: server.ask("POST", f"{server.at}/preview", said))

    begin = [wait(lambda: server.click(0, x, y))]
    frames = [length * (2 * number + 1) // (2 * count) for number in range(count)]
    first, glance, following, ready, ready_glance, rested = [], [], [], [], [], []
    for number, frame in enumerate(frames):
        # A preview elsewhere leaves nothing behind but the whole frame's features; one at the place does what a look there does.
        if number % 3 == 0:
            glance.append(at_once(frame))
            first.append(glance[-1] + wait(lambda frame=frame: server.click(frame, x, y, 1)))  # type: ignore[misc]
        elif number % 3 == 1:
            server.ask("POST", f"{server.at}/look", {"frame": frame})
            server.ask("POST", f"{server.at}/preview", {"frame": frame, "points": [[1, 1, 1]]})
            ready_glance.append(at_once(frame))
            ready.append(ready_glance[-1] + wait(lambda frame=frame: server.click(frame, x, y, 1)))  # type: ignore[misc]
        else:
            place = {"frame": frame, "object_id": 1, "points": [[x, y, 1]]}
            server.ask("POST", f"{server.at}/preview", place)
            rested.append(wait(lambda frame=frame: server.click(frame, x, y, 1)))  # type: ignore[misc]
        following += [wait(lambda f=frame, d=d: server.click(f, x + d, y, 1)) for d in (20, 40, 60)]  # type: ignore[misc]
    steps = [wait(lambda n=n: server.picture(n)) for n in range(length // 2, length // 2 + 30)]  # type: ignore[misc]
    chance = random.Random(0)
    jumps = [wait(lambda: server.picture(chance.randrange(length), width=width - 2)) for _ in range(20)]
    again = [wait(lambda n=n: server.picture(n)) for n in range(length // 2, length // 2 + 30)]  # type: ignore[misc]
    return [
        ("the very first click (loads the model)", begin),
        ("a click on a frame never looked at: a first mask", glance),
        ("... the mask", first),
        ("a click on a frame whose whole was looked at: a first mask", ready_glance),
        ("... the mask", ready),
        ("a click where the pointer had rested", rested),
        ("each further click on it", following),
        ("a step to the next frame (its picture)", steps),
        ("a jump to any frame", jumps),
        ("a frame that was shown before", again),
    ]


def against_the_engine(
    server: Server, video: Path, model: str, device: str, rounds: int, each: int, threads: int
) -> list[tuple[float, float]]:
    """Frames a second of server and bare engine with two objects, in turn."""
    import torch

    import keepsight

    torch.set_num_threads(threads)
    session = keepsight.load(model, device=device).open(video)
    ids = []
    sides = (server.video["width"], server.video["height"]) * 2
    for number, shares in enumerate(BOXES, 1):
        box = tuple(share * side for share, side in zip(shares, sides, strict=True))
        session.add(object_id=number, frame=0, box=box)
        said = {"frame": 0, "box": box, "object_id": None}
        ids.append(server.ask("POST", f"{server.at}/prompts", said)["object"]["id"])
    results = session.propagate(0)
    server.track(0, 4, ids)
    for _ in range(4):
        next(results)
    found = []
    for turn in range(rounds):
        start = 3 + turn * each
        with server.frames(start, start + each + 1, ids) as arrivals:
            times = list(arrivals)
        begun = [time.perf_counter() for _ in itertools.islice(results, each)]
        found.append(((len(times) - 1) / (times[-1] - times[0]), (len(begun) - 1) / (begun[-1] - begun[0])))
    return found


def health_beside_desktops(server: Server) -> list[float]:
    """Milliseconds that ``/health`` took, asked again and again while clients of X-AnyLabeling's kind point and track."""
    server.click(0, 1, 1)  # a model that is still to be loaded is another matter
    frames = [
        "data:image/jpeg;base64," + base64.b64encode(server.picture(frame, width=DESKTOP_WIDTH)).decode()
        for frame in range(DESKTOP_FRAMES)
    ]
    address = str(server.client.base_url)
    together = threading.Barrier(DESKTOPS)

    def work(number: int) -> None:
        with httpx2.Client(base_url=address, timeout=600) as http:

            def ask(path: str, **body: Any) -> Any:
                answer = http.post(path, json=body).raise_for_status().json()
                assert answer["success"], answer
                return answer["data"]

            models = http.get("/v1/models").json()["data"]
            model = next(name for name in models if name.endswith("video_masks"))
            mine = json.dumps(
                {"model": model, "frames": frames[number:] + frames[:number]}
            )  # else all would be one clip
            together.wait()
            begun = http.post("/v1/video/init", content=mine, headers={"Content-Type": "application/json"}).json()
            about = {"model": model, "session_id": begun["data"]["session_id"]}
            said = {"points": [[0.35, 0.46]], "point_labels": [1], "obj_id": 10000, "params": {}, "frame_index": 0}
            ask("/v1/video/prompt", **about, **said)
            with http.stream("POST", "/v1/video/propagate/stream", json=about | {"start_frame": 0}) as answer:
                last = [line for line in answer.iter_lines() if line.startswith("data: ")][-1]
            assert json.loads(last[6:])["type"] == "completed", last[:200]

    found = []
    with ThreadPoolExecutor(DESKTOPS) as pool, httpx2.Client(base_url=address, timeout=600) as http:
        http.get("/health")  # opens the connection
        futures = [pool.submit(work, number) for number in range(DESKTOPS)]
        while not all(future.done() for future in futures):
            begun = time.perf_counter()
            http.get("/health").raise_for_status()
            found.append(1000 * (time.perf_counter() - begun))
            time.sleep(0.05)
        for future in futures:
            future.result()
    return sorted(found)


class Sample(NamedTuple):
    """What the server holds, and what it has done until then."""

    minute: float
    rounds: int
    memory_mib: float
    processor_s: float


def long_use(server: Server, minutes: float, pace_s: float, say: Callable[[str], None]) -> list[Sample]:
    """Works as a person would; tells every minute, of short uses ten times.

    Args:
        server: that is worked with.
        minutes: for how long.
        pace_s: which a person takes between one thing and the next, on average; 0 works without a pause.
        say: is told each sample.
    """
    width, height, length = (server.video[name] for name in ("width", "height", "frame_count"))
    chance = random.Random(1)
    samples: list[Sample] = []
    begun, rounds, spent = time.monotonic(), 0, server.processor_ms

    def think() -> None:
        time.sleep(pace_s * chance.uniform(0.5, 1.5))

    while True:
        minute = (time.monotonic() - begun) / 60
        if not samples or minute >= len(samples) * min(1, minutes / 10):
            samples.append(Sample(minute, rounds, server.memory_mib, (server.processor_ms - spent) / 1000))
            say(f"minute {minute:.1f}: {rounds} rounds, {samples[-1].memory_mib:,.0f} MiB")
        if minute >= minutes:
            return samples
        frame = chance.randrange(length - WORK_FRAMES)
        for step in range(10):
            server.picture((frame + step) % length)
        x, y = chance.uniform(0, width - 1), chance.uniform(0, height - 1)
        think()
        number = server.click(frame, x, y)["object"]["id"]
        think()
        server.ask("POST", f"{server.at}/preview", {"frame": frame, "object_id": number, "points": [[y, y, 1]]})
        server.click(frame, min(x + 9, width - 1), y, number, chance.randint(0, 1))
        think()
        server.track(frame, frame + WORK_FRAMES, [number])
        server.ask("GET", f"{server.at}/masks", start=0, stop=min(length, 200))
        server.ask("GET", f"{server.at}/timeline")
        think()
        if chance.random() < 0.5:
            server.ask("POST", f"{server.at}/undo")
            think()
        server.ask("DELETE", f"{server.at}/objects/{number}")
        think()
        rounds += 1


def table_of_waits(found: Sequence[tuple[str, Sequence[Wait]]]) -> Table:
    table = Table("wait", "median ms", "90 % below, ms", "processor ms", "times")
    for name, values in found:
        table.add_row(name, *spread(values), str(len(values)))
    return table


def table_of_pairs(pairs: Sequence[tuple[float, float]]) -> Table:
    table = Table("two objects", "frames a second")
    table.add_row("streamed by the server", f"{statistics.median(ours for ours, _ in pairs):.2f}")
    table.add_row("the engine alone", f"{statistics.median(bare for _, bare in pairs):.2f}")
    table.add_row("ratio, median of the turns", f"{statistics.median(ours / bare for ours, bare in pairs):.2f}")
    return table


def table_of_health(sorted_ms: Sequence[float]) -> Table:
    table = Table(f"/health beside {DESKTOPS} desktop clients", "ms")
    for name, share in (("median", 0.5), ("99 % below", 0.99), ("most", 1.0)):
        table.add_row(name, f"{sorted_ms[math.ceil(share * len(sorted_ms)) - 1]:,.0f}")
    table.add_row("times", str(len(sorted_ms)))
    return table


def table_of_use(samples: Sequence[Sample]) -> Table:
    table = Table("minute", "rounds", "resident MiB", "processor s")
    for minute, rounds, memory, spent in samples:
        table.add_row(f"{minute:.1f}", str(rounds), f"{memory:,.0f}", f"{spent:,.0f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=SAMPLE)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--frames", type=int, default=9, help="frames that are clicked on")
    parser.add_argument("--rounds", type=int, default=4, help="turns of server and engine")
    parser.add_argument("--each", type=int, default=12, help="frames a turn")
    parser.add_argument("--minutes", type=float, default=1.0, help="of simulated use")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds that a person takes between two things")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="parts to measure")
    given = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(given.video, Path(folder), given.model, given.device, given.threads)
        try:
            console.print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {given.threads} threads")
            if "waits" in given.only:
                console.print(table_of_waits(waits(server, given.frames)))
            if "engine" in given.only:
                pairs = against_the_engine(
                    server, given.video, given.model, given.device, given.rounds, given.each, given.threads
                )
                console.print(table_of_pairs(pairs))
            if "health" in given.only:
                console.print(table_of_health(health_beside_desktops(server)))
            if "use" in given.only:
                console.print(table_of_use(long_use(server, given.minutes, given.pace, console.print)))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
