"""What counts as truth, what is kept back, and what clips are drawn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tracker_projects import SIDE, make_project, wandering

from keepsight.core import InputError, Mask, Source
from keepsight.formats.labels import write_labels
from keepsight.pipeline.exchange import export
from keepsight.store import Project
from keepsight.training.tracker.footage import collect
from keepsight.training.tracker.sampler import Sampler
from keepsight.training.tracker.split import Part, split


def test_what_nobody_looked_at_is_no_truth(tmp_path: Path) -> None:
    file = make_project(tmp_path, source=Source.TRACKED)
    with pytest.raises(InputError, match="--tracked"):
        collect([file], tmp_path / "scratch")
    with Project.open(file) as project:
        project.accept(1, 3)
        project.accept(1, 4)
        project.set_mask(1, 1, 7, Mask.empty(SIDE, SIDE))
    (found,) = collect([file], tmp_path / "scratch")
    assert found.objects[0].frames.tolist() == [3, 4, 7]
    assert found.objects[0].present.tolist() == [True, True, False]
    (every,) = collect([file], tmp_path / "scratch", tracked=True)
    assert len(every.objects[0].frames) == 12


def test_a_data_set_in_the_layout_of_davis_is_read_by_the_names_of_its_files(tmp_path: Path) -> None:
    pictures, masks = wandering(5, 1)
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / kind / "walk").mkdir(parents=True)
    for t in range(5):
        Image.fromarray(pictures[t]).save(tmp_path / "JPEGImages/walk" / f"{5 * t:05d}.jpg")
        shown = masks[t, 0] if t not in (0, 2) else np.zeros((SIDE, SIDE), np.bool_)
        write_labels(tmp_path / "Annotations/walk" / f"{5 * t:05d}.png", shown.astype(np.uint8) * 3)
    (found,) = collect([tmp_path], tmp_path / "scratch")
    (item,) = found.objects
    assert (found.name, item.object_id) == ("walk", 3)
    # Before its first mask nobody knows; between two masks it is away.
    assert item.frames.tolist() == [1, 2, 3, 4]
    assert item.present.tolist() == [True, False, True, True]
    assert np.array_equal(found.masks(3, [4])[4].to_array(), masks[4, 0])
    assert found.masks(3, [2])[2].area == 0


def test_an_export_with_its_pictures_is_enough(tmp_path: Path) -> None:
    file = make_project(tmp_path, frames=4, squares=2)
    export(file, "coco", tmp_path / "out", images=True)
    (found,) = collect([tmp_path / "out"], tmp_path / "scratch")
    _, masks = wandering(4, 0, 2)
    assert [item.object_id for item in found.objects] == [1, 2]
    assert np.array_equal(found.masks(2, [3])[3].to_array(), masks[3, 1])
    assert found.rgb(3).shape == (SIDE, SIDE, 3)
    export(file, "coco", tmp_path / "bare")
    with pytest.raises(InputError, match="--video"):
        collect([tmp_path / "bare"], tmp_path / "scratch")
    (told,) = collect([tmp_path / "bare"], tmp_path / "scratch", video=str(tmp_path / "video0"))
    assert len(told.objects) == 2
    with pytest.raises(InputError, match="boxes"):
        collect([tmp_path / "bare"], tmp_path / "scratch", format_name="mot", video="x")
    with pytest.raises(InputError, match="--format"):
        collect([tmp_path / "video0"], tmp_path / "scratch")


def test_the_same_film_is_never_on_both_sides(tmp_path: Path) -> None:
    files = [make_project(tmp_path, seed=seed) for seed in range(4)]
    again = tmp_path / "again.keepsight"
    again.write_bytes(files[1].read_bytes())
    footage = collect([*files, again], tmp_path / "scratch")
    parted = split(footage, 0.3, 5)
    assert len({part.footage.key for part in parted.held_out}) == 1
    assert {part.footage.key for part in parted.held_out}.isdisjoint(part.footage.key for part in parted.training)
    assert len(parted.training) + len(parted.held_out) == 5
    assert [str(part) for part in split(footage, 0.3, 5).held_out] == [str(part) for part in parted.held_out]
    assert len({split(footage, 0.3, seed).held_out[0].footage.key for seed in range(12)}) > 2


def test_one_video_is_split_in_time(tmp_path: Path) -> None:
    footage = collect([make_project(tmp_path)], tmp_path / "scratch")
    starts = set()
    for seed in range(8):
        parted = split(footage, 0.25, seed)
        (back,), (learned,) = parted.held_out, parted.training
        assert back.stop - back.start == 3
        assert back.stop <= learned.start or learned.stop <= back.start
        assert "frames with truth" in parted.rule
        starts.add(back.start)
    assert starts == {0, 9}
    short = make_project(tmp_path / "short", frames=3)
    with pytest.raises(InputError, match="too few"):
        split(collect([short], tmp_path / "scratch"), 0.25, 0)


def test_clips_stay_in_their_part_and_run_both_ways(tmp_path: Path) -> None:
    file = make_project(tmp_path, frames=12, squares=2)
    with Project.open(file) as project:
        project.delete_masks(1, 2, 6, 8)
        project.set_mask(1, 1, 4, Mask.empty(SIDE, SIDE))
    (footage,) = collect([file], tmp_path / "scratch")
    sampler = Sampler([Part(footage, 2, 11)], stride=2, reverse=0.5)
    seen: set[int] = set()
    directions, both, unknown = set(), 0, 0
    for number in range(200):
        clip = sampler.draw(np.random.default_rng(number), 4, 2)
        assert 2 <= len(clip.frames) <= 4
        assert clip.known[0].all()
        assert clip.frames[0] != 4 or clip.objects[0].object_id != 1  # it is away there
        steps = np.diff(clip.frames)
        assert (steps > 0).all() or (steps < 0).all()
        directions.add(int(np.sign(steps[0])))
        seen |= set(clip.frames)
        both += len(clip.objects) == 2
        unknown += not clip.known.all()
    assert seen == set(range(2, 11))
    assert directions == {-1, 1}
    assert both > 50
    assert unknown > 10
    alone = Sampler([Part(footage, 2, 11)], reverse=0.0)
    assert all(np.diff(alone.draw(np.random.default_rng(i), 4, 1).frames).min() > 0 for i in range(20))
