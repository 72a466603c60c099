"""From a data set to predictions in its layout: late objects, shards, stops, several devices; the built-in model throughout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from vos_worlds import film, write_davis, write_film, write_pictures, write_sav, write_split

from keepsight.cli.main import run
from keepsight.core import Cancelled, FrameResult, InputError, Mask, TrackedObject
from keepsight.evaluation.cluster import places_on
from keepsight.evaluation.vos.clips import Clip
from keepsight.evaluation.vos.first_prompts import first_prompts
from keepsight.evaluation.vos.following import follow, tracker_for
from keepsight.evaluation.vos.job import PredictionFolder, VosJob
from keepsight.evaluation.vos.maps import read_label_map, read_object_map
from keepsight.evaluation.vos.protocol import DatasetKind, FirstPrompt, Protocol
from keepsight.evaluation.vos.running import run_vos
from keepsight.evaluation.vos.sources import masks_in
from keepsight.evaluation.vos.writing import writing
from keepsight.formats.labels import read_labels
from keepsight.pipeline.batch.executors.ray_nodes import Node
from keepsight.video import ArrayVideo

FRAMES = 6


def davis(root: Path, videos: int = 3) -> Path:
    write_davis(root, {f"v{seed}": film(seed, FRAMES, 64, 96) for seed in range(videos)})
    return root


def pictures(out: Path) -> dict[str, bytes]:
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted((out / "predictions").rglob("*.png"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set, and the folder of a run over it that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    root = davis(folder / "DAVIS")
    outcome = run_vos(VosJob(root, DatasetKind.DAVIS17, folder / "out", device="cpu", processes=1))
    assert outcome.results is not None
    return root, folder / "out"


def test_a_run_follows_writes_and_scores(whole: tuple[Path, Path]) -> None:
    root, out = whole
    assert [file.name for file in sorted((out / "predictions" / "v1").iterdir())] == [
        f"{t:05d}.png" for t in range(FRAMES)
    ]
    found = read_labels(out / "predictions" / "v0" / "00000.png")
    truth = read_labels(root / "Annotations" / "480p" / "v0" / "00000.png")
    assert found[1].iou(truth[1]) > 0.8
    results = json.loads((out / "run.json").read_text())
    assert results["summary"]["J&F"] > 0.6
    assert results["settings"]["model"] == "builtin"
    assert results["settings"]["speed"]["frames"] == 3 * FRAMES
    assert "frames a second" in results["remarks"][0]
    assert {row["item"] for row in results["rows"]} == {"1", "2"}


def test_shards_are_the_whole_and_the_last_one_scores(whole: tuple[Path, Path], tmp_path: Path) -> None:
    root, out = whole

    def shard(number: int) -> object:
        job = VosJob(root, DatasetKind.DAVIS17, tmp_path / "o", device="cpu", processes=1, shard=(number, 2))
        return run_vos(job).results

    assert shard(1) is None
    assert not (tmp_path / "o" / "predictions" / "v1").exists()
    results = shard(2)
    assert results is not None
    assert pictures(tmp_path / "o") == pictures(out)
    assert (
        json.loads((tmp_path / "o" / "run.json").read_text())["summary"]
        == (json.loads((out / "run.json").read_text())["summary"])
    )


def test_a_run_that_was_stopped_goes_on(whole: tuple[Path, Path], tmp_path: Path) -> None:
    root, out = whole
    job = VosJob(root, DatasetKind.DAVIS17, tmp_path / "o", device="cpu", processes=1)
    dataset, folder = job.open(), PredictionFolder(job.out)
    tracker, _ = tracker_for(job, dataset, lambda stage, done, total: None)
    shown: list[int] = []
    with pytest.raises(Cancelled):
        follow(
            dataset.clips[1],
            dataset,
            tracker,
            job.prompt,
            folder,
            told=lambda done, total: shown.append(done),
            stopped=lambda: len(shown) == 3,
        )
    assert shown == [1, 2, 3]
    assert not any(folder.predictions.iterdir())
    # One that was killed leaves what it had begun.
    left = folder.predictions / ".v2.0123abcd.tmp"
    left.mkdir()
    follow(dataset.clips[0], dataset, tracker, job.prompt, folder)
    before = (folder.predictions / "v0" / "00003.png").stat().st_mtime_ns
    assert run_vos(job).results is not None
    assert pictures(job.out) == pictures(out)
    assert (folder.predictions / "v0" / "00003.png").stat().st_mtime_ns == before
    assert not left.exists()


def test_other_settings_are_refused_and_overwrite_starts_anew(
    whole: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, _ = whole
    (tmp_path / "list.txt").write_text("v0\n")
    chosen = ["--videos", f"@{tmp_path / 'list.txt'}"]
    told = ["eval", "vos", str(root), "--dataset", "davis17", "--device", "cpu", *chosen, "--processes", "1"]
    out = ["--out", str(tmp_path / "o")]
    assert run([*told, *out]) == 0
    shown = capfd.readouterr().out
    assert "J&F" in shown
    assert "Frames: the video's annotated ones without the first and the last." in shown
    assert run([*told, *out, "--policy", "samurai"]) == 2
    said = capfd.readouterr().err
    assert "made with other settings: policy (sam2 then, samurai now)" in said
    assert said.count("\n") == 1
    assert run([*told, *out, "--prompt", "click", "--overwrite"]) == 0
    assert json.loads((tmp_path / "o" / "settings.json").read_text())["prompt"] == "click"
    for wrong in (
        ["--videos", "@nowhere.txt"],
        ["--shard", "3/2"],
        ["--shard", "1/2", "--overwrite"],
        ["--shard", "1/2", "--executor", "ray"],
    ):
        assert run([*told, *out, *wrong]) == 2
    assert run(["eval", "score", str(tmp_path / "o"), str(root), "--dataset", "davis17", "--processes", "1"]) == 2
    assert "no predictions for 2 of 3 videos (v1, v2)" in capfd.readouterr().err


def test_a_public_part_without_truth_is_followed_and_handed_in(tmp_path: Path) -> None:
    shots = film(0, FRAMES, 64, 96)
    part = tmp_path / "YT" / "valid"
    write_split(part, {"aa": shots}, range(0, 5 * FRAMES, 5), first_only=True)
    objects = {"1": {"category": "cat"}, "2": {"category": "ox"}, "5": {"category": "cat"}}
    (part / "meta.json").write_text(json.dumps({"videos": {"aa": {"objects": objects}}}))
    outcome = run_vos(VosJob(tmp_path / "YT", DatasetKind.YOUTUBE_VOS, tmp_path / "o", device="cpu"))
    assert outcome.results is None
    assert "truth of youtube-vos valid is not here" in outcome.lines[-1]
    assert outcome.predictions == tmp_path / "o" / "predictions" / "Annotations"
    maps = [read_label_map(outcome.predictions / "aa" / f"{5 * t:05d}.png") for t in range(FRAMES)]
    # The late object begins where its first annotation lies.
    assert [5 in each.ids for each in maps] == [False] * 3 + [True] * 3
    assert {1, 2} <= maps[1].ids


def test_sav_gets_a_picture_an_object_and_frame(tmp_path: Path) -> None:
    write_sav(tmp_path / "sav_val", {"sav_1": film(1, 9, 64, 96)})
    job = VosJob(tmp_path, DatasetKind.SA_V, tmp_path / "o", device="cpu", prompt=FirstPrompt.BOX, processes=1)
    outcome = run_vos(job)
    assert outcome.results is not None
    found = masks_in(outcome.predictions / "sav_1")
    assert found.objects == (1, 2, 5)
    assert found.numbers_of(1) == tuple(range(9))
    assert found.numbers_of(5) == tuple(range(4, 9))
    assert read_object_map(outcome.predictions / "sav_1" / "001" / "00002.png").any()


def test_a_broken_video_is_said_and_the_others_are_followed(tmp_path: Path) -> None:
    root = davis(tmp_path / "DAVIS", videos=2)
    (root / "JPEGImages" / "480p" / "v0" / "00003.jpg").write_bytes(b"no picture")
    job = VosJob(root, DatasetKind.DAVIS17, tmp_path / "o", device="cpu", processes=1)
    with pytest.raises(InputError, match=r"Not followed: v0: .*00003.jpg.* no predictions for 1 of 2 videos \(v0\)"):
        run_vos(job)
    assert (tmp_path / "o" / "predictions" / "v1").is_dir()


# -- parts ---------------------------------------------------------------------------------------------------------------
def clip_of(folder: Path, shots: list[np.ndarray], **more: object) -> Clip:
    write_film(folder / "m", shots)
    write_pictures(folder / "f", shots)
    numbers = tuple(range(len(shots)))
    return Clip("c", folder / "f", tuple(f"{n:05d}" for n in numbers), numbers, masks_in(folder / "m"), **more)


def test_objects_are_pointed_at_where_they_first_are(tmp_path: Path) -> None:
    shots = film(2, FRAMES, 64, 96)
    clip = clip_of(tmp_path, shots)
    masks, boxes, clicks = (
        first_prompts(clip, Protocol(), kind, per_object=False)
        for kind in (FirstPrompt.MASK, FirstPrompt.BOX, FirstPrompt.CLICK)
    )
    assert [(prompt.object_id, prompt.frame) for prompt in masks] == [(1, 0), (2, 0), (5, 3)]
    for by_mask, by_box, by_click in zip(masks, boxes, clicks, strict=True):
        assert by_mask.mask == Mask.from_array(shots[by_mask.frame] == by_mask.object_id)
        assert by_box.box == by_mask.mask.box
        [(x, y)] = by_click.points
        assert by_mask.mask.to_array()[int(y), int(x)]
    write_film(tmp_path / "m", [shot * 0 for shot in shots])
    with pytest.raises(InputError, match="c has no object"):
        first_prompts(clip, Protocol(), FirstPrompt.MASK, per_object=False)


def blob(object_id: int, x: int, width: int = 4) -> TrackedObject:
    pixels = np.zeros((8, 20), bool)
    pixels[2:6, x : x + width] = True
    return TrackedObject(object_id, Mask.from_array(pixels), 1.0, 1.0)


def frame(number: int, *objects: TrackedObject, revised: bool = False) -> FrameResult:
    return FrameResult(number, 0.0, 8, 20, objects, revised)


def test_what_is_revised_is_merged_with_what_stays(tmp_path: Path) -> None:
    clip = Clip("c", None, tuple("abcd"), (0, 5, 10, 15), None, wanted=frozenset({0, 10, 15}))
    video = ArrayVideo(np.zeros((4, 8, 20, 3), np.uint8))
    with writing(tmp_path / "o" / "c", clip, video, per_object=False) as writer:
        writer.write(frame(1, blob(1, 0)))
        writer.write(frame(2, blob(1, 0), blob(2, 8)))
        writer.write(frame(3, blob(1, 0), blob(2, 8)))
        writer.write(frame(2, blob(1, 14), revised=True))
        writer.write(frame(2, blob(2, 4), blob(3, 10), revised=True))
    assert sorted(file.name for file in (tmp_path / "o" / "c").iterdir()) == ["a.png", "c.png", "d.png"]
    row = read_label_map(tmp_path / "o" / "c" / "c.png").labels[3]
    assert row.tolist() == [0] * 4 + [2] * 4 + [0, 0] + [3] * 4 + [1] * 4 + [0] * 2
    assert read_label_map(tmp_path / "o" / "c" / "a.png").ids == set()


def test_places_on_a_cluster() -> None:
    cpu, gpus, head = Node("1", "a", 7.5, 0), Node("2", "b", 8, 2), Node("3", "h", 0, 0)
    assert [(p.name, p.device, p.gpus) for p in places_on([cpu, gpus, head], "auto")] == [
        ("b GPU 0", "cuda", 1),
        ("b GPU 1", "cuda", 1),
    ]
    assert [(p.name, p.cpus) for p in places_on([cpu, gpus, head], "cpu")] == [("a", 7.0), ("b", 8.0)]
    assert [(p.name, p.cpus) for p in places_on([Node("1", "a", 0.5, 0)], "auto")] == [("a", 0.5)]


def test_ray_gives_what_this_process_gives(whole: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    root, out = whole
    job = VosJob(root, DatasetKind.DAVIS17, tmp_path / "o", device="cpu", processes=1, ray=True)
    outcome = run_vos(job)
    assert outcome.results is not None
    assert pictures(tmp_path / "o") == pictures(out)
    assert not list((tmp_path / "o").glob(".seen-*"))
    # Everything is there: nothing is followed, nothing is asked of Ray.
    assert run_vos(job).results == outcome.results


def test_without_ray_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    job = VosJob(davis(tmp_path / "D", 1), DatasetKind.DAVIS17, tmp_path / "o", ray=True)
    with pytest.raises(InputError, match=r"pip install 'keepsight\[ray\]'"):
        run_vos(job)
