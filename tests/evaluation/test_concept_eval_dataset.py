"""Sets, predictions and pictures from files; what is wrong with them is said in one line."""

from __future__ import annotations

import copy
import json

import pytest
from concept_eval_sets import SIZE, annotation, rle, set_of, still, write, write_pictures

from keepsight.core import InputError
from keepsight.evaluation.concepts.dataset import read_set
from keepsight.evaluation.concepts.media import SetMedia
from keepsight.evaluation.concepts.predictions import entries_of, read_predictions, write_predictions

DOG = annotation(1, 1, {0: (0, 0, 20, 10), 2: (5, 0, 25, 10)}, 3)
SACO = set_of([3, 2], ["dog", "red cup"], [DOG], pairs=[(1, 1), (1, 2), (2, 1)])
YTVIS = set_of([3, 2], ["dog", "red cup"], [DOG])


def test_saco_says_what_is_asked_for_and_what_is_not_there(tmp_path):
    read = read_set(write(tmp_path / "set.json", SACO))
    assert [(pair.key, pair.name, len(pair.truth)) for pair in read.pairs] == [
        ((1, 1), "dog", 1),
        ((1, 2), "red cup", 0),
        ((2, 1), "dog", 0),
    ]
    assert read.says_pairs
    assert sorted(read.pairs[0].truth[0].masks) == [0, 2]
    assert read.pairs[0].video.name == "v1"
    assert read.asked(read.videos[2]) == [(1, "dog")]


def test_ytvis_asks_for_everything_everywhere_or_for_what_is_annotated(tmp_path):
    read = read_set(write(tmp_path / "set.json", YTVIS))
    assert not read.says_pairs
    assert [pair.key for pair in read.pairs] == [(1, 1)]
    assert read.asked(read.videos[2]) == [(1, "dog"), (2, "red cup")]
    assert read.asked(read.videos[2], known_only=True) == []
    assert read.asked(read.videos[1], known_only=True) == [(1, "dog")]


def test_run_lengths_may_be_a_list_or_text_and_a_mask_of_nothing_is_none(tmp_path):
    masks = []
    for counts in ("text", "list"):
        data = set_of([3], ["dog"], [annotation(1, 1, still(20, 2), 3, counts=counts)], pairs=[(1, 1)])
        data["annotations"][0]["segmentations"][2] = {"size": list(SIZE), "counts": [SIZE[0] * SIZE[1]]}
        [pair] = read_set(write(tmp_path / "set.json", data)).pairs
        masks.append(dict(pair.truth[0].masks))
    assert masks[0] == masks[1]
    assert sorted(masks[0]) == [0, 1]


def test_names_are_made_unique_and_a_set_without_truth_can_be_predicted(tmp_path):
    data = set_of([1, 1], ["dog", "the dog"], [], pairs=[(1, 1), (1, 2), (2, 1)])
    for video in data["videos"]:
        video["video_name"] = "clip"
    data["video_np_pairs"][1]["noun_phrase"] = "dog"
    del data["annotations"]
    read = read_set(write(tmp_path / "set.json", data))
    assert [(pair.video.name, pair.name) for pair in read.pairs] == [
        ("clip", "dog"),
        ("clip", "dog (2)"),
        ("clip (2)", "dog"),
    ]
    assert not read.has_truth


def changed(data, *path, to):
    made = copy.deepcopy(data)
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return made


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "not SA-Co/VEval or YTVIS JSON"),
        ({"videos": []}, "not SA-Co/VEval or YTVIS JSON"),
        (set_of([], [], [], pairs=[]), "asks for nothing"),
        (changed(SACO, "videos", 1, "id", to=1), "video 1: id 1 is there twice"),
        (changed(SACO, "videos", 1, "height", to=0), "video 1: 60x0 px is no size of a video"),
        (changed(SACO, "videos", 1, "height", to=10**9), "no size of a video"),
        (changed(SACO, "videos", 1, "width", to="60"), "video 1: width is not a whole number"),
        (changed(SACO, "videos", 0, "file_names", to=[]), "video 0: file_names is no list of pictures"),
        (changed(SACO, "videos", 0, to=None), "video 0: id is missing"),
        (changed(SACO, "categories", 1, "id", to=1), "category 1: id 1 is there twice"),
        (changed(SACO, "categories", 1, "name", to=" "), "category 1: name is missing"),
        (changed(SACO, "annotations", 0, "video_id", to=9), "annotation 0: there is no video 9"),
        (changed(SACO, "annotations", 0, "category_id", to=9), "annotation 0: there is no category 9"),
        (changed(SACO, "annotations", 0, "segmentations", to=[None]), "it has 1 segmentations, but the video has 3"),
        (changed(SACO, "annotations", 0, "segmentations", to=None), "it has no segmentations, but the video has 3"),
        (
            changed(SACO, "annotations", 0, "segmentations", 1, to={"size": [4, 4], "counts": [16]}),
            "a mask is 4x4 px, but the video is 60x40 px",
        ),
        (
            changed(SACO, "annotations", 0, "segmentations", 1, to={"size": list(SIZE), "counts": "abc"}),
            "annotation 0: Not a COCO run-length mask",
        ),
        (
            changed(SACO, "annotations", 0, "segmentations", 1, to=[[1.0, 2.0, 3.0]]),
            "annotation 0: Not a COCO run-length mask",
        ),
        (changed(SACO, "video_np_pairs", 1, "num_masklets", to=2), "num_masklets is 2, but 0 are annotated"),
        (changed(SACO, "video_np_pairs", 1, "category_id", to=1), "'dog' is asked for twice in video 1"),
        (
            changed(SACO, "video_np_pairs", to=SACO["video_np_pairs"][1:]),
            "'dog' is annotated in video 1, but video_np_pairs does not ask for it",
        ),
    ],
)
def test_what_is_wrong_with_a_set_is_said(tmp_path, data, said):
    with pytest.raises(InputError) as refused:
        read_set(write(tmp_path / "set.json", data))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"video_id": 9}, "result 0: the set has no video 9"),
        ({"video_id": "1"}, "result 0: video_id is not a whole number"),
        ({"category_id": 9}, "the set has no category 9"),
        ({"score": None}, "score is missing"),
        ({"score": "high"}, "score is no number"),
        ({"score": float("nan")}, "score is no number"),
        ({"score": 1.5}, "a score is from 0 to 1, not 1.5"),
        ({"segmentations": [None, None]}, "it has 2 segmentations, but the video has 3 frames"),
    ],
)
def test_what_is_wrong_with_predictions_is_said(tmp_path, change, said):
    read = read_set(write(tmp_path / "set.json", SACO))
    entry = {"video_id": 1, "category_id": 1, "score": 0.5, "segmentations": [None] * 3, **change}
    with pytest.raises(InputError) as refused:
        read_predictions(write(tmp_path / "results.json", [entry]), read)
    assert said in str(refused.value)
    with pytest.raises(InputError, match="no list of results"):
        read_predictions(write(tmp_path / "results.json", {"results": [entry]}), read)


def test_predictions_come_back_as_they_were_written(tmp_path):
    read = read_set(write(tmp_path / "set.json", SACO))
    [pair] = [pair for pair in read.pairs if pair.truth]
    entries = entries_of(pair.video, 1, pair.truth)
    path = tmp_path / "results.json"
    assert write_predictions(path, entries) == 1
    assert [sorted(entry) for entry in json.loads(path.read_text())] == [
        ["category_id", "score", "segmentations", "video_id"]
    ]
    again = read_predictions(path, read)
    assert dict(again.tubes[1, 1][0].masks) == dict(pair.truth[0].masks)
    # Nobody asked for a cup in the second video.
    other = {"video_id": 2, "category_id": 2, "score": 0.5, "segmentations": [rle(0, 0, 5, 5), None]}
    assert read_predictions(write(path, [other]), read).left_out == 1
    ytvis = read_set(write(tmp_path / "ytvis.json", YTVIS))
    assert list(read_predictions(path, ytvis).tubes) == [(2, 2)]
    write_predictions(path, [])
    assert read_predictions(path, read).tubes == {}


def test_pictures_are_found_and_listed_ones_are_followed_or_all(tmp_path):
    read = read_set(write(tmp_path / "set.json", SACO))
    media = tmp_path / "media"
    write_pictures(media / "saco_sav" / "JPEGImages_24fps", "v1", 12)
    assert SetMedia(media).has(read.videos[1])
    assert not SetMedia(media).has(read.videos[2])
    with SetMedia(media).open(read.videos[1]).source as source:
        assert [int(frame.rgb.mean().round()) for frame in source.frames()] == [0, 4, 8]
    footage = SetMedia(media, "all").open(read.videos[1])
    assert footage.source.frame_count == 12
    assert footage.places == {0: 0, 4: 1, 8: 2}
    with pytest.raises(InputError, match=r"v2: v2/00000.jpg is nowhere below"):
        SetMedia(media).open(read.videos[2])
    (media / "saco_sav" / "JPEGImages_24fps" / "v1" / "00004.jpg").unlink()
    with pytest.raises(InputError, match=r"v1: .*00004.jpg is missing"):
        SetMedia(media).open(read.videos[1])


def test_pictures_of_another_size_and_names_that_lead_elsewhere_are_refused(tmp_path):
    read = read_set(write(tmp_path / "set.json", SACO))
    write_pictures(tmp_path / "media", "v1", 12, (20, 30))
    with pytest.raises(InputError, match="the pictures are 30x20 px, but the set says 60x40 px"):
        SetMedia(tmp_path / "media").open(read.videos[1])
    outside = read_set(write(tmp_path / "out.json", changed(SACO, "videos", 0, "file_names", to=["../a.jpg"] * 3)))
    with pytest.raises(InputError, match="no name of a picture inside a folder"):
        SetMedia(tmp_path / "media").open(outside.videos[1])
    with pytest.raises(InputError, match="no folder of pictures"):
        SetMedia(tmp_path / "nowhere")
