"""Who does the units of a batch: the crew of a machine, what becomes of workers that fall silent, leases, the time left."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from barns import settings, write_mover
from hypothesis import given
from hypothesis import strategies as st

from keepsight.cli.main import run
from keepsight.core import KeepsightError, StoreError
from keepsight.pipeline.batch import manifest as manifests
from keepsight.pipeline.batch.config import BatchConfig
from keepsight.pipeline.batch.executors import local
from keepsight.pipeline.batch.executors.base import Ended, Hand
from keepsight.pipeline.batch.executors.ray_nodes import Node, nodes_of, places_on
from keepsight.pipeline.batch.manifest import Manifest, Unit
from keepsight.pipeline.batch.progress import Tally
from keepsight.store.runs import is_alive

CONFIG = BatchConfig(input_folder=Path("videos"))


def placed(node: Node, *, gpus_anywhere: bool = False, **changes: object) -> list[tuple[str, str, float, int]]:
    config = CONFIG.model_copy(update=changes)
    places = places_on(node, config, gpus_anywhere=gpus_anywhere)
    return [(place.name, place.device, place.cpus, place.gpus) for place in places]


def test_a_machine_gets_a_worker_a_gpu_or_one_on_its_cpu_and_cutters_beside_them() -> None:
    assert placed(Node("1", "n", 16, 0)) == [("n cpu", "cpu", 15.0, 0), ("n cutter", "cpu", 1.0, 0)]
    assert placed(Node("1", "n", 1, 0)) == [("n cpu", "cpu", 0.5, 0), ("n cutter", "cpu", 0.5, 0)]
    assert placed(Node("1", "n", 8, 2), gpus_anywhere=True, cpu_workers=2) == [
        *(("n cuda 1", "cuda", 1.0, 1), ("n cuda 2", "cuda", 1.0, 1)),
        *(("n cutter 1", "cpu", 1.0, 0), ("n cutter 2", "cpu", 1.0, 0)),
    ]
    assert placed(Node("1", "n", 8, 1), gpus_anywhere=True, devices=("cuda:0", "cuda:1", "cpu")) == [
        *(("n cuda", "cuda", 1.0, 1), ("n cpu", "cpu", 6.0, 0)),
        ("n cutter", "cpu", 1.0, 0),
    ]
    assert placed(Node("1", "n", 4, 0), gpus_anywhere=True) == [("n cutter", "cpu", 1.0, 0)]
    assert placed(Node("1", "n", 0, 1), gpus_anywhere=True) == []


@given(
    cpus=st.one_of(st.integers(0, 64), st.floats(0.1, 3)),
    gpus=st.integers(0, 8),
    elsewhere=st.booleans(),
    devices=st.lists(st.sampled_from(["auto", "cpu", "cuda:0"]), min_size=1, max_size=4).map(tuple),
    cutters=st.integers(1, 64),
)
def test_workers_never_ask_for_more_than_a_machine_has(
    cpus: float, gpus: int, elsewhere: bool, devices: tuple[str, ...], cutters: int
) -> None:
    config = CONFIG.model_copy(update={"devices": devices, "cpu_workers": cutters})
    places = places_on(Node("1", "n", cpus, gpus), config, gpus_anywhere=elsewhere or gpus > 0)
    assert sum(place.cpus for place in places) <= cpus + 1e-6
    assert sum(place.gpus for place in places) <= gpus
    assert all(0 < place.cpus <= 1 or place.cpus == int(place.cpus) for place in places)
    assert len({place.name for place in places}) == len(places)
    assert (len(places) >= cutters) == (cpus > 0)


def test_machines_of_one_host_are_told_apart_and_dead_ones_left_out() -> None:
    described = [
        {"Alive": alive, "NodeID": name * 8, "NodeManagerHostname": host, "Resources": {"CPU": 2.0}}
        for alive, name, host in [(True, "a", "x"), (True, "b", "x"), (True, "c", "y"), (False, "d", "y")]
    ]
    assert [node.host for node in nodes_of(described)] == ["x-aaaa", "x-bbbb", "y"]


def test_a_worker_that_falls_silent_is_replaced_and_its_unit_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "SILENT_S", 3.0)
    source = str(write_mover(tmp_path / "a.mp4", 8))
    unit = Unit(1, "a", source, 0, "plan", "running", 1, None, "", 0.0, {}, {}, {}, 0, 0)
    with local.LocalExecutor(CONFIG, tmp_path / "logs") as executor:
        hand = until(lambda: free(executor), executor)
        pid = int(hand.process.rsplit("/", 2)[1])
        os.kill(pid, signal.SIGSTOP)
        executor.submit(hand, unit)
        [ended] = until_ended(executor)
        assert (ended.unit, ended.answer) == (unit, None)
        fresh = until(lambda: free(executor), executor)
        assert fresh.process != hand.process
        executor.submit(fresh, unit)
        [ended] = until_ended(executor)
        assert ended.answer is not None
        assert ended.answer.results["frames"] == 8
    assert not any(is_alive(hand.process) for hand in executor.hands())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def free(executor: local.LocalExecutor) -> Hand | None:
    return next((hand for hand in executor.hands() if "plan" in hand.stages and hand.unit is None), None)


def until(look: Callable[[], Hand | None], executor: local.LocalExecutor) -> Hand:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        hand = look()
        if hand is not None:
            return hand
        assert executor.wait(0.1) == []
    raise AssertionError("no worker in two minutes")


def until_ended(executor: local.LocalExecutor) -> list[Ended]:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if ended := executor.wait(0.1):
            return ended
    raise AssertionError("no unit came back in two minutes")


def test_workers_that_end_at_once_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MODULE", "keepsight.no_such_module")
    with (
        local.LocalExecutor(CONFIG, tmp_path / "logs") as executor,
        pytest.raises(KeepsightError, match=r"The workers end at once; see .*logs for why"),
    ):
        until(lambda: free(executor), executor)
    assert "no_such_module" in (tmp_path / "logs" / "worker-0.log").read_text()


def test_who_cannot_be_looked_at_holds_a_unit_until_the_lease_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(manifests.time, "time", lambda: now)
    with Manifest(tmp_path / "m.sqlite", create=True) as manifest:
        manifest.add_videos({"a": "a.mp4", "b": "b.mp4"})
        far = manifest.claim(["plan"], "elsewhere/1/0", "elsewhere cutter")
        manifest.claim(["plan"], f"{platform.node()}/1/0")
        # The process of this machine is known to be dead, the other one believed to live.
        assert manifest.recover() == 1
        assert [(unit.state, unit.attempts) for unit in manifest.units()] == [("running", 1), ("ready", 0)]
        now += manifests.LEASE_S - 1
        manifest.renew(["elsewhere/1/0"])
        now += manifests.LEASE_S - 1
        assert manifest.recover() == 1
        now += 2
        assert manifest.recover(["elsewhere/1/0"]) == 0
        assert {unit.state for unit in manifest.units()} == {"running", "ready"}
        assert manifest.recover() == 0
        assert {(unit.state, unit.attempts) for unit in manifest.units()} == {("ready", 0)}
        assert far is not None
        assert not manifest.finish(far, 1.0, {}, {}, [])


def test_a_unit_that_takes_its_worker_with_it_fails_after_so_many_attempts(tmp_path: Path) -> None:
    with Manifest(tmp_path / "m.sqlite", create=True) as manifest:
        manifest.add_videos({"a": "a.mp4"})
        for attempt in (1, 2):
            unit = manifest.claim(["plan"], f"elsewhere/{attempt}/0")
            assert unit is not None
            assert unit.attempts == attempt
            manifest.give_back(unit, 2)
        [unit] = manifest.units()
        assert (unit.state, unit.error) == ("failed", "its process died; tried 2 times")


def test_one_conductor_at_a_time_also_from_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Manifest(tmp_path / "m.sqlite", create=True) as manifest:
        manifest.set_fact("conductor", {"process": "elsewhere/1/0", "lease": time.time() + 5})
        with pytest.raises(StoreError, match="elsewhere/1/0"):
            manifest.take_charge()
        manifest.set_fact("conductor", {"process": "elsewhere/1/0", "lease": time.time() - 5})
        manifest.take_charge()
        manifest.leave()
        assert manifest.fact("conductor") is None


def test_the_time_left_is_that_of_the_highest_heap() -> None:
    tally = Tally()
    crew = [
        Hand("cpu", ("segment",), "1"),
        Hand("cuda", ("segment",), "2"),
        Hand("cutter", ("plan", "clip", "crop"), "3"),
    ]

    def note(number: int, stage: str, state: str, seconds: float = 0.0) -> None:
        tally.note(Unit(number, "a", "", number, stage, state, 1, None, "", seconds, {}, {}, {}, 0, 0))

    note(0, "plan", "ready")
    assert tally.left_s(crew) is None
    note(0, "plan", "done", 1.0)
    for number in range(1, 11):
        note(number, "clip", "done", 1.0)
    assert tally.left_s(crew) is None  # nothing has been followed yet
    note(21, "segment", "done", 10.0)
    note(31, "crop", "done", 2.0)
    assert tally.left_s(crew) == pytest.approx(max(9 * 10 / 2, 9 * 2))
    note(22, "segment", "running")
    assert tally.left_s(crew) == pytest.approx(8.5 * 10 / 2)
    note(22, "segment", "failed")
    assert (tally.ended("segment"), tally.total("segment"), tally.total("crop")) == (2, 10, 9)
    assert tally.left_s(crew[1:]) == pytest.approx(8 * 10)


def test_without_ray_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    write_mover(tmp_path / "videos" / "a.mp4", 8)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run([*settings(tmp_path / "videos", tmp_path / "out"), "--executor", "ray"]) == 2
    assert capfd.readouterr().err == "keepsight: Ray is not installed here: pip install 'keepsight[ray]'\n"
