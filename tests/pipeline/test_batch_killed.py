"""A batch whose processes are killed at random moments ends as one that was left alone; on this machine and on a Ray cluster."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from at_hand import batches_at_hand
from barns import results, settings, write_mover

from keepsight.cli.main import run
from keepsight.pipeline.batch.conduct import MANIFEST_NAME, begin_batch
from keepsight.pipeline.batch.config import load_config
from keepsight.pipeline.batch.manifest import Manifest
from keepsight.store.runs import is_alive

DICE = random.Random(time.time_ns())


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("barns")
    write_mover(folder / "a.mp4", 24)
    write_mover(folder / "b.mp4", 12, width=160)
    return folder


@pytest.fixture(scope="module")
def calm(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch that was left alone."""
    out = tmp_path_factory.mktemp("calm") / "out"
    with batches_at_hand():
        assert run(settings(videos, out)) == 0
    assert len(results(out)) > 20
    return out


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Two machines, as far as Ray can tell."""
    pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.second = cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "keepsight.cli.main", *command], stdout=subprocess.DEVNULL)


def wait_for(out: Path, ended: int, conductor: subprocess.Popen[bytes]) -> None:
    """Waits until so many units are done, and then for a moment."""
    while conductor.poll() is None and (not (out / MANIFEST_NAME).exists() or done(out) < ended):
        time.sleep(0.05)
    time.sleep(DICE.uniform(0, 0.3))  # a few units take a second: longer, and a fast machine has ended them all


def done(out: Path) -> int:
    with Manifest(out / MANIFEST_NAME) as manifest:
        return sum(unit.state == "done" for unit in manifest.units())


def some_more(out: Path) -> int:
    """As many units as are done, or more; not the last, if a fast machine has left it."""
    return DICE.randint(min(done(out), 9), 9)


def kill_a_worker(out: Path) -> None:
    with Manifest(out / MANIFEST_NAME) as manifest:
        owners = [unit.owner for unit in manifest.units() if unit.state == "running" and unit.owner]
    for owner in owners[:1]:
        os.kill(int(owner.rsplit("/", 2)[1]), signal.SIGKILL)


def check_equal(out: Path, calm: Path) -> None:
    assert results(out) == results(calm)
    with Manifest(out / MANIFEST_NAME) as manifest:
        assert {(unit.state, unit.completed) for unit in manifest.units()} == {("done", 1)}
    assert not [path for path in out.rglob("*") if path.name.endswith((".part", ".tmp")) or path.name.startswith(".")]


def test_on_one_machine(calm: Path, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = start(settings(videos, out))
    wait_for(out, DICE.randint(0, 6), first)
    first.kill()
    first.wait(60)
    second = start(settings(videos, out))
    wait_for(out, some_more(out), second)
    kill_a_worker(out)
    assert second.wait(300) == 0
    check_equal(out, calm)


def test_on_a_cluster(calm: Path, videos: Path, tmp_path: Path, cluster: object) -> None:
    out = tmp_path / "out"
    command = [*settings(videos, out), "--executor", "ray", "--address", cluster.address]
    first = start(command)
    wait_for(out, DICE.randint(1, 6), first)
    kill_a_worker(out)
    wait_for(out, DICE.randint(1, 7), first)
    first.kill()
    first.wait(60)
    second = start(command)
    wait_for(out, some_more(out), second)
    cluster.remove_node(cluster.second, allow_graceful=False)
    assert second.wait(300) == 0
    check_equal(out, calm)


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_ctrl_c_ends_the_workers_and_gives_back_what_they_held(
    executor: str, videos: Path, tmp_path: Path, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = settings(videos, out)
    if executor == "ray":
        command += ["--address", request.getfixturevalue("cluster").address]
    conductor = subprocess.Popen(
        [sys.executable, "-m", "keepsight.cli.main", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    owners = wait_for_owners(out, conductor)
    assert run(["pipeline", "status", str(out)]) == 0
    assert run(["pipeline", "resume", str(out)]) == 2
    printed, refused = capfd.readouterr()
    assert re.search("^segment .* running", printed, re.MULTILINE)
    assert f"The batch in {out} is being worked on by another process" in refused
    conductor.send_signal(signal.SIGINT)
    said = conductor.communicate(timeout=120)[1].decode()
    assert conductor.returncode == 130, said
    assert said.splitlines()[-1].endswith(f"Go on with: keepsight pipeline resume {out}")
    wait_until(lambda: not any(map(is_alive, owners)))
    with Manifest(out / MANIFEST_NAME) as manifest:
        assert {(unit.state, unit.owner) for unit in manifest.units()} <= {("ready", None), ("done", None)}
        assert all(unit.attempts == (unit.state == "done") for unit in manifest.units())
        assert manifest.fact("conductor") is None


def wait_for_owners(out: Path, conductor: subprocess.Popen[bytes]) -> list[str]:
    """The process that follows the first clip, once it does."""
    found: list[str] = []

    def look() -> bool:
        assert conductor.poll() is None
        if (out / MANIFEST_NAME).exists():
            with Manifest(out / MANIFEST_NAME) as manifest:
                found[:] = [unit.owner for unit in manifest.units() if unit.stage == "segment" and unit.owner]
        return bool(found)

    wait_until(look)
    return found


def wait_until(look: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not look():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_machines_that_do_not_see_the_folders_are_left_out(
    videos: Path, tmp_path: Path, cluster: object, capfd
) -> None:
    out, folder = tmp_path / "out", tmp_path / "videos"
    shutil.copytree(videos, folder)
    begin_batch(load_config(Path(settings(folder, out)[-1])))
    folder.rename(tmp_path / "away")
    assert run(["pipeline", "resume", str(out), "--executor", "ray", "--address", cluster.address]) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("keepsight: No machine of the cluster can work. ")
    assert f"does not see {folder} and {out}: input and output folders must be on storage that all machines see" in line
    with Manifest(out / MANIFEST_NAME) as manifest:
        assert {(unit.state, unit.attempts) for unit in manifest.units()} == {("ready", 0)}
