"""Every layout: what is found in it, what its protocol does, and what is said of a broken one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vos_worlds import film, spoiled, write_davis, write_film, write_objects, write_pictures, write_sav, write_split

from keepsight.core import InputError, Mask
from keepsight.evaluation.results import Results
from keepsight.evaluation.vos.clips import Dataset
from keepsight.evaluation.vos.layouts import open_dataset, predictions_in
from keepsight.evaluation.vos.maps import read_label_map, read_object_map
from keepsight.evaluation.vos.protocol import DatasetKind, Frames, Objects
from keepsight.evaluation.vos.scoring import score
from keepsight.evaluation.vos.sources import masks_in


def judged(dataset: Dataset, found: Path) -> Results:
    return score(dataset.clips, predictions_in(found, dataset.subfolder), dataset.protocol, {})


def test_davis(tmp_path: Path) -> None:
    shots = {"b": film(0), "a": film(1)}
    write_davis(tmp_path / "d", shots)
    dataset = open_dataset(tmp_path / "d", DatasetKind.DAVIS17)
    assert [clip.name for clip in dataset.clips] == ["a", "b"]
    assert dataset.clips[0].stems[:2] == ("00000", "00001")
    for name, film_of in shots.items():
        write_film(tmp_path / "p" / name, film_of)
    results = judged(dataset, tmp_path / "p")
    # The object that comes later does not count, the first and the last frame neither.
    assert {row.item for row in results.rows} == {"1", "2"}
    assert all(row.frames == tuple(range(1, 8)) for row in results.rows)
    assert results.summary["J&F"] == 1.0
    with pytest.raises(InputError, match=r"list of videos .*test-dev.txt cannot be read.*--split"):
        open_dataset(tmp_path / "d", DatasetKind.DAVIS17, "test-dev")


def youtube(root: Path) -> dict[str, list[np.ndarray]]:
    shots = {name: film(seed, frames=5) for seed, name in enumerate(("aa", "bb"))}
    write_split(root / "valid", shots, range(0, 25, 5))
    objects = {"1": {"category": "cat"}, "2": {"category": "ox"}, "5": {"category": "cat"}}
    (root / "valid" / "meta.json").write_text(json.dumps({"videos": {name: {"objects": objects} for name in shots}}))
    (root / "train").mkdir()
    known = {"videos": {"x": {"objects": {"1": {"category": "cat"}}}}}
    (root / "train" / "meta.json").write_text(json.dumps(known))
    return shots


def test_youtube_vos(tmp_path: Path) -> None:
    shots = youtube(tmp_path / "y")
    dataset = open_dataset(tmp_path / "y", DatasetKind.YOUTUBE_VOS)
    for seed, (name, film_of) in enumerate(shots.items()):
        write_film(tmp_path / "p" / "Annotations" / name, spoiled(film_of, seed), range(0, 25, 5))
    results = judged(dataset, tmp_path / "p")
    rows = {row.name: row for row in results.rows}
    # Each from the frame after its first: the third object comes on the fourth frame.
    assert rows["aa/1"].frames == (1, 2, 3, 4)
    assert rows["aa/5"].frames == (4,)
    assert "seen" in rows["aa/5"].attributes
    assert "unseen" in rows["aa/2"].attributes
    parts = [results.summary[f"{name} {kind}"] for kind in ("seen", "unseen") for name in ("J", "F")]
    assert results.summary["G"] == pytest.approx(np.mean(parts))
    (tmp_path / "y" / "train" / "meta.json").unlink()
    blind = open_dataset(tmp_path / "y", DatasetKind.YOUTUBE_VOS)
    assert "train/meta.json" in blind.remarks[0]
    assert "G" not in judged(blind, tmp_path / "p").summary


def test_youtube_vos_at_the_full_frame_rate(tmp_path: Path) -> None:
    youtube(tmp_path / "y")
    write_pictures(tmp_path / "y" / "valid_all_frames" / "JPEGImages" / "aa", film(0, frames=21))
    write_pictures(tmp_path / "y" / "valid_all_frames" / "JPEGImages" / "bb", film(1, frames=21))
    dataset = open_dataset(tmp_path / "y", DatasetKind.YOUTUBE_VOS, all_frames=True)
    assert len(dataset.clips[0].stems) == 21
    assert dataset.clips[0].wanted == {0, 5, 10, 15, 20}
    assert dataset.clips[0].index_of(5) == 5


def test_mose_with_a_truth_and_without(tmp_path: Path) -> None:
    shots = {"0a1b": film(0)}
    write_split(tmp_path / "m" / "train", shots, range(9))
    write_split(tmp_path / "m" / "valid", shots, range(9), first_only=True)
    write_film(tmp_path / "p" / "0a1b", shots["0a1b"])
    results = judged(open_dataset(tmp_path / "m", DatasetKind.MOSE, "train"), tmp_path / "p")
    assert {row.item: len(row.frames) for row in results.rows} == {"1": 7, "2": 7, "5": 5}
    with pytest.raises(InputError, match="No video has both a truth beyond its first frame and predictions"):
        judged(open_dataset(tmp_path / "m", DatasetKind.MOSE), tmp_path / "p")


def test_lvos(tmp_path: Path) -> None:
    shots = {"aaaaaaaa": film(0), "bbbbbbbb": film(1)}
    numbers = range(1, 46, 5)
    write_split(tmp_path / "l" / "valid", shots, numbers, digits=8)
    spans = {"1": (1, 42), "2": (1, 42), "5": (16, 36)}
    objects = {name: {"frame_range": {"start": str(a), "end": str(b)}} for name, (a, b) in spans.items()}
    meta = {"videos": {name: {"objects": objects} for name in shots}}
    (tmp_path / "l" / "valid" / "valid_meta.json").write_text(json.dumps(meta))
    (tmp_path / "l" / "unseen_videos.txt").write_text("bbbbbbbb\n")
    dataset = open_dataset(tmp_path / "l", DatasetKind.LVOS)
    assert dataset.clips[0].stems[1] == "00000006"
    for seed, (name, film_of) in enumerate(shots.items()):
        write_film(tmp_path / "p" / name, spoiled(film_of, seed), numbers, digits=8)
    results = judged(dataset, tmp_path / "p")
    rows = {row.name: row for row in results.rows}
    # Frames 16, 21, 26 and 31 lie in the range of object 5; the first and the last of them do not count.
    assert rows["aaaaaaaa/5"].frames == (4, 5)
    assert rows["aaaaaaaa/1"].frames == tuple(range(1, 8))
    series = np.array(rows["aaaaaaaa/1"].series["J&F"])
    assert rows["aaaaaaaa/1"].values["V"] == pytest.approx(series.std(), abs=1e-2)
    assert list(results.summary)[:7] == ["G", "J seen", "F seen", "V seen", "J unseen", "F unseen", "V unseen"]
    (tmp_path / "l" / "unseen_videos.txt").unlink()
    assert "unseen_videos.txt" in open_dataset(tmp_path / "l", DatasetKind.LVOS).remarks[0]


def test_sav_val(tmp_path: Path) -> None:
    shots = {"sav_000001": film(0, frames=21)}
    write_sav(tmp_path / "s" / "sav_val", shots)
    for root in (tmp_path / "s", tmp_path / "s" / "sav_val"):
        dataset = open_dataset(root, DatasetKind.SA_V)
        assert dataset.per_object
        write_objects(tmp_path / root.name / "sav_000001", shots["sav_000001"], dict.fromkeys((1, 2, 5), range(21)))
        results = judged(dataset, tmp_path / root.name)
        assert {row.item: row.frames for row in results.rows} == {
            "1": (4, 8, 12, 16),
            "2": (4, 8, 12, 16),
            "5": (8, 12, 16),
        }
        assert results.summary["J&F"] == 1.0


def test_sav_train_annotations(tmp_path: Path) -> None:
    shots = film(0, frames=21)
    rles = [[Mask.from_array(shots[t] == n).to_coco() for n in (1, 2, 5)] for t in range(0, 21, 4)]
    found = {"masklet": rles, "masklet_id": [1, 2, 5], "masklet_first_appeared_frame": [0.0, 0.0, 4.0]}
    folder = tmp_path / "sav_train" / "sav_000"
    folder.mkdir(parents=True)
    (folder / "sav_000001_manual.json").write_text(json.dumps({**found, "video_height": 60.0, "video_width": 90.0}))
    dataset = open_dataset(tmp_path, DatasetKind.SA_V, "train")
    [clip] = dataset.clips
    assert clip.video == folder / "sav_000001.mp4"
    write_film(tmp_path / "p" / "sav_000001", shots)
    results = judged(dataset, tmp_path / "p")
    assert results.summary["J&F"] == 1.0
    assert {row.item: row.frames for row in results.rows}["5"] == (8, 12, 16)
    (folder / "sav_000002_manual.json").write_text("{}")
    with pytest.raises(InputError, match=r"sav_000002_manual.json is no annotation of SA-V"):
        judged(open_dataset(tmp_path, DatasetKind.SA_V, "train"), tmp_path / "p")


def test_a_folder_of_any_kind(tmp_path: Path) -> None:
    shots = film(2)
    write_film(tmp_path / "a" / "masks" / "v", shots)
    (tmp_path / "a" / "videos").mkdir()
    (tmp_path / "a" / "videos" / "v.mp4").touch()
    [clip] = open_dataset(tmp_path / "a", DatasetKind.FOLDER).clips
    assert (clip.name, clip.video) == ("v", tmp_path / "a" / "videos" / "v.mp4")
    # Masks alone; a single video; an object a folder.
    [clip] = open_dataset(tmp_path / "a" / "masks", DatasetKind.FOLDER).clips
    assert (clip.name, clip.video) == ("v", None)
    [clip] = open_dataset(tmp_path / "a" / "masks" / "v", DatasetKind.FOLDER).clips
    assert clip.name == "v"
    write_objects(tmp_path / "b" / "v", shots, {1: range(9), 2: range(9)})
    dataset = open_dataset(tmp_path / "b", DatasetKind.FOLDER)
    assert dataset.per_object
    assert (dataset.protocol.frames, dataset.protocol.objects) == (Frames.OBJECT, Objects.GROWING)


def test_videos_are_chosen_by_name(tmp_path: Path) -> None:
    for name in ("cat", "cow", "dog"):
        write_film(tmp_path / name, film(0))
    dataset = open_dataset(tmp_path, DatasetKind.FOLDER)
    assert [clip.name for clip in dataset.only(("c*",)).clips] == ["cat", "cow"]
    with pytest.raises(InputError, match=r"No video of .* is called 'x'"):
        dataset.only(("cat", "x"))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (DatasetKind.DAVIS17, "JPEGImages is to be in"),
        (DatasetKind.YOUTUBE_VOS, "valid, but there is no such folder; check DATASET_ROOT, --dataset and --split"),
        (DatasetKind.MOSE, "no such folder"),
        (DatasetKind.LVOS, "no such folder"),
        (DatasetKind.SA_V, "JPEGImages_24fps is to be in"),
        (DatasetKind.FOLDER, "holds no videos in the layout of a folder"),
    ],
)
def test_a_broken_layout_is_one_clear_line(tmp_path: Path, kind: DatasetKind, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        open_dataset(tmp_path, kind)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="does not exist"):
        open_dataset(tmp_path / "nowhere", kind)


def save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    Image.fromarray(array, mode).save(path)
    return path


def test_pictures_of_ids_of_every_kind(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [7, 200, 0]], np.uint8)
    write_film(tmp_path, [labels])
    assert (read_label_map(tmp_path / "00000.png").labels == labels).all()
    assert read_label_map(save(tmp_path / "g.png", labels)).ids == {1, 2, 7, 200}
    deep = np.array([[0, 300], [1000, 255]], np.uint16)
    found = read_label_map(save(tmp_path / "d.png", deep))
    assert found.ids == {255, 300, 1000}
    assert found.pixels(1000).tolist() == [[False, False], [True, False]]
    void = np.array([[0, 255], [3, 255]], np.uint8)
    found = read_label_map(save(tmp_path / "v.png", void))
    assert found.ids == {3}
    assert found.void is not None
    assert found.void.tolist() == [[False, True], [False, True]]
    black_white = np.array([[0, 255], [255, 0]], np.uint8)
    found = read_label_map(save(tmp_path / "w.png", black_white))
    assert (found.ids, found.void) == ({1}, None)
    assert read_label_map(save(tmp_path / "1.png", black_white > 0)).ids == {1}
    # In DAVIS' palette 255 is void, alone or not.
    write_film(tmp_path, [black_white], [9])
    found = read_label_map(tmp_path / "00009.png")
    assert found.ids == set()
    assert found.void is not None
    colours = np.asarray(Image.open(tmp_path / "00000.png").convert("RGB"))
    assert (read_label_map(save(tmp_path / "c.png", colours)).labels == labels).all()
    with pytest.raises(InputError, match="not those of DAVIS' palette"):
        read_label_map(save(tmp_path / "x.png", colours + 1))
    assert read_object_map(save(tmp_path / "o.png", black_white)).tolist() == [[False, True], [True, False]]
    with pytest.raises(InputError, match="holds several objects"):
        read_object_map(tmp_path / "v.png")


def broken(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: None, "holds neither pictures"),
        (lambda f: (f / "a.png").touch(), "no frame number in its name"),
        (lambda f: [(f / name).touch() for name in ("1.png", "01.png")], "two files for frame 1"),
        (lambda f: [(f / name).mkdir() for name in ("1", "01")], "two folders for object 1"),
        (lambda f: (f / "1").mkdir(), "holds neither pictures"),
    ],
)
def test_broken_folders_of_masks(tmp_path: Path, spoil: Callable[[Path], object], said: str) -> None:
    folder = broken(tmp_path, "v")
    spoil(folder)
    with pytest.raises(InputError, match=said):
        masks_in(folder)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "00000.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(InputError, match=r"00000.png cannot be read as a picture"):
        masks_in(tmp_path).read(0)
