"""What the detector learns from: COCO files of any origin, projects, what a step shows, and how finds are scored."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from shape_pictures import write_shapes

from keepsight.core import FrameResult, InputError, Mask, Source, TrackedObject
from keepsight.store import Project
from keepsight.training.detector.album import Album, Instance, Picture, join, split
from keepsight.training.detector.batches import draw, targets_of
from keepsight.training.detector.coco import read_coco
from keepsight.training.detector.projects import read_footage
from keepsight.training.detector.samples import draw_samples
from keepsight.training.detector.scoring import asked_of, difference, score, truth_of
from keepsight.training.detector.settings import DetectorSettings


def coco(folder: Path, annotations: list[dict], **changes) -> Path:
    """A file with one picture of 40 x 30 px, two categories and these annotations."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    data = {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 30}],
        "categories": [{"id": 3, "name": "cow"}, {"id": 5, "name": "garden_chair"}],
        "annotations": [{"id": n, "image_id": 7, "category_id": 3, **entry} for n, entry in enumerate(annotations)],
    } | changes
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder


TWO = {"images": [{"id": number, "file_name": "a.png", "width": 40, "height": 30} for number in (7, 8)]}
CHAIR = {"image_id": 8, "category_id": 5, "bbox": [0, 0, 4, 4]}


# -- COCO ------------------------------------------------------------------------------------------------------------
def test_polygons_runs_boxes_and_crowds_are_read_as_pycocotools_reads_them(tmp_path):
    square = np.zeros((30, 40), np.uint8)
    square[3:9, 5:20] = 1
    runs = Mask.from_array(square).to_coco()
    folder = coco(
        tmp_path,
        [
            {"segmentation": [[2.5, 2, 20.2, 3.7, 11, 25.5]], "bbox": [2, 2, 18, 23]},
            {"segmentation": runs, "bbox": [5, 3, 15, 6]},
            {"bbox": [30, 20, 20, 5]},
            {"segmentation": {"size": [30, 40], "counts": [0, 600, 600]}, "bbox": [0, 0, 20, 30], "iscrowd": 1},
            {"bbox": [50, 0, 5, 5]},
            CHAIR,
        ],
        **TWO,
    )
    album = read_coco(folder)
    [picture, _] = album.pictures
    with redirect_stdout(io.StringIO()):
        theirs = COCO(str(folder / "annotations.json"))
    first, second, third, crowd = picture.objects
    for item, number in ((first, 0), (second, 1), (crowd, 3)):
        assert np.array_equal(item.mask.to_array(), theirs.annToMask(theirs.anns[number]).astype(bool))
    assert second.box == (5.0, 3.0, 20.0, 9.0)
    assert (third.mask, third.box) == (None, (30.0, 20.0, 40.0, 25.0))
    assert (crowd.crowd, len(picture.of("cow"))) == (True, 3)
    assert (picture.present, picture.absent) == (("cow",), ("garden chair",))
    assert album.line() == (
        "2 pictures; 4 objects (2 with a box only); 2 phrases: cow, garden chair. "
        "Left out: 1 crowds, 1 objects without a pixel on the picture."
    )


def test_a_crowd_is_neither_there_nor_absent(tmp_path):
    [picture, other] = read_coco(coco(tmp_path, [{"bbox": [1, 1, 9, 9], "iscrowd": 1}, CHAIR], **TWO)).pictures
    assert (picture.present, picture.absent) == ((), ("garden chair",))
    assert (other.present, other.absent) == (("garden chair",), ("cow",))


def test_what_is_on_no_picture_was_never_looked_for(tmp_path):
    [picture] = read_coco(coco(tmp_path, [{"bbox": [1, 1, 9, 9]}])).pictures
    assert (picture.present, picture.absent) == (("cow",), ())


def test_lvis_says_who_was_looked_for(tmp_path):
    image = {"id": 7, "file_name": "a.png", "width": 40, "height": 30, "neg_category_ids": [5]}
    [picture] = read_coco(coco(tmp_path, [], images=[image])).pictures
    assert picture.absent == ("garden chair",)
    image |= {"neg_category_ids": [3, 5], "not_exhaustive_category_ids": [3]}
    [picture] = read_coco(coco(tmp_path, [], images=[image])).pictures
    assert picture.absent == ("garden chair",)


def test_a_picture_that_lies_on_its_side_has_the_size_that_its_file_says(tmp_path):
    folder = coco(tmp_path, [], images=[{"id": 7, "file_name": "a.jpg", "width": 30, "height": 40}])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(folder / "a.jpg", exif=exif)
    [picture] = read_coco(folder).pictures
    assert picture.pixels.read().shape == (40, 30, 3)


@pytest.mark.parametrize(
    ("annotations", "changes", "said"),
    [
        ([], {"categories": 5}, "needs lists of images"),
        ([], {"images": [{"file_name": "a.png"}]}, "'id' is missing"),
        (
            [],
            {"images": [{"id": 7, "file_name": "b.png", "width": 4, "height": 3}]},
            "1 of 1 pictures .* b.png; say .* --images",
        ),
        (
            [],
            {"images": [{"id": 7, "file_name": "a.png", "width": 4, "height": 3}]},
            "40x30 px, but its COCO file says 4x3",
        ),
        ([], {"images": [{"id": 7, "file_name": "../a.png", "width": 40, "height": 30}]}, "leads out"),
        ([], {"images": [{"id": 7, "file_name": "a.png", "width": 0, "height": 30}]}, "no size"),
        ([{"category_id": 9, "bbox": [0, 0, 1, 1]}], {}, "no category 9"),
        ([{"category_id": [3], "bbox": [0, 0, 1, 1]}], {}, "no category"),
        ([{"image_id": 8, "bbox": [0, 0, 1, 1]}], {}, "1 annotations are of pictures"),
        ([{"segmentation": [[1, 2, 3, 4, 5]]}], {}, "list of x, y"),
        ([{"segmentation": [["a"]]}], {}, "neither polygons nor run lengths"),
        ([{"segmentation": {"size": [30, 41], "counts": [1230]}}], {}, "41x30 px, the picture 40x30"),
        ([{"segmentation": {"size": [30, 40], "counts": [1]}}], {}, "do not add up"),
        ([{"bbox": [0, 0, float("nan"), 1]}], {}, "not finite"),
        ([{}], {}, "neither a mask nor a box"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, annotations, changes, said):
    with pytest.raises(InputError, match=said) as caught:
        read_coco(coco(tmp_path, annotations, **changes))
    assert "\n" not in str(caught.value)


def test_damaged_files_and_folders_are_one_line(tmp_path):
    (tmp_path / "annotations.json").write_text("{")
    for source, said in ((tmp_path, "JSON"), (tmp_path / "gone", "does not exist")):
        with pytest.raises(InputError, match=said):
            read_coco(source)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="keepsight import"):
        read_coco(tmp_path / "empty")


# -- projects --------------------------------------------------------------------------------------------------------
def test_a_project_teaches_its_labels_where_a_person_stands_for_the_masks(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(4):
        Image.new("RGB", (16, 12), (40 * number, 0, 0)).save(frames / f"{number}.png")
    there = np.zeros((12, 16), bool)
    there[2:6, 3:9] = True
    full, empty = Mask.from_array(there), Mask.empty(12, 16)
    with Project.create(tmp_path / "p.keepsight") as project:
        video = project.add_video(path=frames, name="v", height=12, width=16, fps=25, frame_count=4, fingerprint="f")
        project.add_object(video, 1, "cow")
        project.add_object(video, 2, "dog")
        project.add_object(video, 3)
        run = project.start_run(video, {})
        rows = [
            (0, full, Source.EDITED, empty, Source.EDITED),
            (1, full, Source.EDITED, full, Source.TRACKED),
            (2, full, Source.TRACKED, full, Source.TRACKED),
            (3, empty, Source.EDITED, full, Source.EDITED),
        ]
        for frame, cow, cow_source, dog, dog_source in rows:
            items = (
                TrackedObject(1, cow, 1.0, 1.0, cow_source),
                TrackedObject(2, dog, 1.0, 1.0, dog_source),
                TrackedObject(3, full, 1.0, 1.0, Source.EDITED),
            )
            project.write_result(video, run, FrameResult(frame, frame / 25, 12, 16, items))
    album = read_footage([tmp_path / "p.keepsight"], tmp_path / "scratch", frame_step=1, tracked=False)
    by_frame = {picture.name: picture for picture in album.pictures}
    assert (by_frame["v/000000"].present, by_frame["v/000000"].absent) == (("cow",), ("dog",))
    # What merely was tracked is neither there nor absent.
    assert (by_frame["v/000001"].present, by_frame["v/000001"].absent) == (("cow",), ())
    assert [(item.phrase, item.crowd) for item in by_frame["v/000001"].objects] == [("cow", False), ("dog", True)]
    assert (by_frame["v/000003"].present, by_frame["v/000003"].absent) == (("dog",), ("cow",))
    assert by_frame["v/000001"].pixels.read()[0, 0, 0] == 40
    every = read_footage([tmp_path / "p.keepsight"], tmp_path / "scratch", frame_step=2, tracked=True)
    assert [picture.present for picture in every.pictures] == [("cow",), ("cow", "dog")]


# -- what a step shows -----------------------------------------------------------------------------------------------
class Flat:
    identity = "flat"

    def read(self):
        return np.full((20, 30, 3), 128, np.uint8)


def picture(name: str, present: str, absent: str, series: str | None = None) -> Picture:
    mask = np.zeros((20, 30), bool)
    mask[4:12, 6:12] = True
    objects = tuple(Instance(phrase, (6.0, 4.0, 12.0, 12.0), Mask.from_array(mask)) for phrase in present)
    return Picture(name, Flat(), 20, 30, objects, tuple(absent), series)


def test_every_picture_comes_once_a_round_with_phrases_of_both_kinds():
    album = Album([picture(str(n), "ab"[: n % 3], "cdefgh") for n in range(9)])
    settings = DetectorSettings(batch=3, phrases=4, flip=True, seed=5)
    rounds = [[draw(album, settings, number) for number in range(3 * r, 3 * r + 3)] for r in range(4)]
    orders = [[question.picture for batch in batches for question in batch] for batches in rounds]
    assert all(sorted(order) == list(range(9)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    seen = [question for batches in rounds for batch in batches for question in batch]
    assert {question.flipped for question in seen} == {True, False}
    for question in seen:
        present = set(album.pictures[question.picture].present)
        kinds = [phrase in present for phrase in question.phrases]
        assert sum(kinds) == len(present)
        assert kinds.count(False) == (4 if not present else len(present))
        assert kinds == sorted(kinds, reverse=True)
    # Half the pictures a batch and twice the batches are the same pictures.
    halves = DetectorSettings(batch=1, phrases=4, flip=True, seed=5)
    assert [q for n in range(9) for q in draw(album, halves, n)] == [q for batch in rounds[0] for q in batch]
    only = DetectorSettings(batch=9, phrases=4, negatives=0.0)
    assert all(set(q.phrases) <= set("ab") for q in draw(album, only, 0) if album.pictures[q.picture].present)


def test_targets_lie_where_the_object_is_also_when_mirrored():
    plain = targets_of([(picture("x", "a", "b"), False, ("a", "b"))], 10)
    assert plain.boxes[0, 0].tolist() == pytest.approx([9 / 30, 8 / 20, 6 / 30, 8 / 20])
    assert (plain.there.tolist(), plain.present.tolist()) == ([[True], [False]], [True, False])
    assert plain.masks[0, 0, 2:6, 2:4].min() == 1
    assert float(plain.masks[0, 0].sum()) == pytest.approx(8)
    mirrored = targets_of([(picture("x", "a", "b"), True, ("a", "b"))], 10)
    assert mirrored.boxes[0, 0].tolist() == pytest.approx([21 / 30, 8 / 20, 6 / 30, 8 / 20])
    assert (mirrored.masks[0, 0] == plain.masks[0, 0].flip(1)).all()


def test_of_a_video_the_end_is_held_out_and_no_phrase_is_lost():
    album = join(
        [
            Album([picture(f"v{n}", "a", "b", "video") for n in range(10)]),
            Album([picture("one", "a", "b"), picture("two", "c", "b"), picture("nothing", "", "")]),
        ]
    )
    assert album.left_out == {"pictures of which nothing is known": 1}
    learned, held = split(album, 0.3, 0)
    assert [p.name for p in held.pictures if p.series] == ["v7", "v8", "v9"]
    assert "c" in learned.phrases
    assert len(learned.pictures) + len(held.pictures) == 12
    variants = Album([picture(f"{n // 3}.rf.{n}.jpg", "a", "b") for n in range(30)])
    for part in split(variants, 0.3, 1):
        assert len(part.pictures) == 3 * len({p.name.partition(".")[0] for p in part.pictures})
    with pytest.raises(InputError, match="too few"):
        split(Album([picture("one", "a", "b")]), 0.5, 0)


def test_the_sheet_of_samples_shows_boxes_masks_and_what_is_not_there():
    album = Album([picture(str(n), "ab"[: n % 2 + 1], "c") for n in range(4)])
    sheet = draw_samples(album, [q for n in range(4) for q in draw(album, DetectorSettings(flip=True), n)])
    assert sheet.shape[1] == 3 * 368 + 8
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3)}
    assert (0x38, 0xC6, 0xFF) in colours  # the first phrase's colour, of its box
    assert any(max(abs(int(value) - 103) for value in colour) < 3 for colour in colours)  # the plate of "no c"


# -- scores ----------------------------------------------------------------------------------------------------------
def some_finds(album: Album, truth: dict, seed: int, wobble: float) -> list[dict]:
    """The truth moved about, with misses and finds of nothing."""
    rng = np.random.default_rng(seed)
    numbers = {entry["name"]: entry["id"] for entry in truth["categories"]}
    found = []
    for image, shown in enumerate(album.pictures, 1):
        for item in shown.objects:
            if rng.random() < 0.2:
                continue
            shift = rng.normal(0, wobble, 2).round().astype(int)
            mask = Mask.from_array(np.roll(item.mask.to_array(), shift, (0, 1)))
            x1, y1, x2, y2 = mask.box
            found.append((image, numbers[item.phrase], mask, [x1, y1, x2 - x1, y2 - y1]))
        for phrase in shown.absent[:1]:
            mask = Mask.from_box(shown.height, shown.width, 2, 2, 9, 9)
            found.append((image, numbers[phrase], mask, [2, 2, 7, 7]))
    return [
        {"image_id": i, "category_id": c, "segmentation": m.to_coco(), "bbox": b, "score": float(rng.random())}
        for i, c, m, b in found
    ]


def pycocotools_says(truth: dict, found: list[dict], kind: str) -> np.ndarray:
    with redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(found), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3]


def test_average_precision_is_pycocotools_and_so_is_that_of_a_drawn_set(tmp_path):
    album = read_coco(write_shapes(tmp_path / "data", 14, seed=3))
    truth = truth_of(album)
    truth["annotations"][3]["iscrowd"] = 1
    asked = [
        (image, number)
        for image, shown in enumerate(album.pictures, 1)
        for number in (next(e["id"] for e in truth["categories"] if e["name"] == p) for p in asked_of(shown))
    ]
    found = some_finds(album, truth, 1, 1.5)
    scores = score(truth, found, asked)
    for name, kind in (("mask", "segm"), ("box", "bbox")):
        values = [scores.summary[f"{name} {label}"] for label in ("AP", "AP50", "AP75")]
        assert values == pytest.approx(pycocotools_says(truth, found, kind), abs=1e-12)
    assert 0.1 < scores.summary["mask AP"] < 0.9
    assert scores.average_precision()[0] == pytest.approx(scores.summary["mask AP"], abs=1e-12)
    # A set in which pictures are several times is a data set with copies of them.
    draws = np.random.default_rng(0).integers(0, 3, (2, 14)).astype(float)
    for row in range(2):
        copied: dict = {"images": [], "categories": truth["categories"], "annotations": []}
        finds: list[dict] = []
        for image, times in enumerate(draws[row], 1):
            for _ in range(int(times)):
                number = len(copied["images"]) + 1
                copied["images"].append({**truth["images"][image - 1], "id": number})
                for entry in truth["annotations"]:
                    if entry["image_id"] == image:
                        copied["annotations"].append(
                            {**entry, "image_id": number, "id": len(copied["annotations"]) + 1}
                        )
                finds += [{**entry, "image_id": number} for entry in found if entry["image_id"] == image]
        assert scores.average_precision(draws)[row] == pytest.approx(
            pycocotools_says(copied, finds, "segm")[0], abs=1e-9
        )


def test_a_difference_has_an_interval_and_its_sign(tmp_path):
    album = read_coco(write_shapes(tmp_path / "data", 16, seed=4))
    truth = truth_of(album)
    asked = [(image, number) for image in range(1, 17) for number in (1, 2, 3)]
    bad, good = (score(truth, some_finds(album, truth, 2, wobble), asked) for wobble in (4.0, 0.4))
    gain = difference(bad, good, 200, 0)
    assert gain.certain
    assert gain.low < gain.value < gain.high
    assert gain.value == pytest.approx(good.summary["mask AP"] - bad.summary["mask AP"])
    assert difference(bad, bad, 200, 0).value == 0
    assert good.summary["cgF1@50"] > bad.summary["cgF1@50"]
    # With boxes alone there is no mask to measure.
    for entry in truth["annotations"]:
        entry.pop("segmentation")
    boxes = score(truth, some_finds(album, truth_of(album), 2, 0.4), asked)
    assert boxes.headline == "box AP"
    assert "mask AP" not in boxes.summary
