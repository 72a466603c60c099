"""Which detector is taken, and what a person is told when it cannot be."""

from __future__ import annotations

import json
import shutil

import pytest
import tiny_detectors

from keepsight.concepts.choosing import ENTRIES, LIKE, available, choose, entry_of, names, pick
from keepsight.concepts.everything import EverythingDetector
from keepsight.concepts.grounding import GroundingDino
from keepsight.concepts.likeness import LikenessDetector
from keepsight.concepts.moving import MotionDetector
from keepsight.core import InputError, ModelError
from keepsight.models.builtin.backbone import load_builtin
from keepsight.models.registry import resolve
from keepsight.tracking import Tracker


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty hub cache, and a way to fill it."""
    folder = tmp_path / "hub"
    for module in ("constants", "file_download"):
        monkeypatch.setattr(f"huggingface_hub.{module}.HF_HUB_CACHE", str(folder), raising=False)

    def fill(name, model_type, source=None):
        repository = folder / f"models--{resolve(name).hub_id.replace('/', '--')}"
        snapshot = repository / "snapshots" / ("a" * 40)
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("a" * 40)
        if source is not None:
            shutil.copytree(source, snapshot)
            return
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(json.dumps({"model_type": model_type}))
        (snapshot / "model.safetensors").write_bytes(b"\0" * 8)

    return fill


@pytest.fixture(scope="module")
def tracker():
    return Tracker(load_builtin())


def test_with_nothing_downloaded_a_word_is_answered_with_three_ways_on():
    assert available("builtin") == ["motion", "everything"]
    with pytest.raises(ModelError) as caught:
        choose(None, "builtin")
    text = str(caught.value)
    assert "\n" not in text
    for way in (
        "`keepsight models download grounding-dino` (about 689 MB",
        "--model sam3 (accept its licence at https://huggingface.co/facebook/sam3, then run `hf auth login`",
        "--detector motion",
        "--detector everything",
    ):
        assert way in text


def test_the_best_one_at_hand_is_taken(cache):
    cache("owlv2", "owlv2")
    assert choose(None, "builtin") == "owlv2"
    cache("grounding-dino", "grounding-dino")
    assert choose(None, "builtin") == "grounding-dino"
    cache("sam3", "sam3_video")
    assert available("builtin") == ["grounding-dino", "owlv2", "sam3", "motion", "everything"]
    assert choose(None, "builtin") == "grounding-dino"
    assert choose(None, "sam3") == "sam3"
    assert choose("SAM3", "builtin") == "sam3"


def test_what_takes_an_example_is_taken_only_by_name(tmp_path):
    assert choose("like", "builtin") == LIKE.name
    assert LIKE.name not in available("builtin")
    assert entry_of(str(tmp_path)) is None


def test_a_tracker_alone_is_no_detector(cache):
    cache("sam3", "sam3_tracker_video")
    assert "sam3" not in available("sam3")


def test_a_folder_with_all_of_sam3_brings_its_detector(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam3_video"}))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 8)
    assert choose(None, tmp_path) == "sam3"


def test_unknown_and_missing_ones_are_one_line(tmp_path):
    with pytest.raises(
        InputError, match=r"no detector 'everythin'. Did you mean everything\? Detectors: sam3, .*motion"
    ) as e:
        choose("everythin", "builtin")
    assert "\n" not in str(e.value)
    with pytest.raises(InputError, match=r"no detector 'xyzzy'\. Detectors: " + ", ".join(names())):
        choose("xyzzy", "builtin")
    with pytest.raises(InputError, match=r"no detector 'sam2\.1-tiny'"):
        choose("sam2.1-tiny", "builtin")
    with pytest.raises(ModelError, match="keepsight models download owlv2-large"):
        choose("owlv2-large", "builtin")
    with pytest.raises(ModelError, match="gated: first accept its licence"):
        choose("sam3", "builtin")


def test_detectors_are_loaded_for_a_tracker(cache, tracker, tmp_path):
    assert isinstance(pick("everything", tracker), EverythingDetector)
    assert isinstance(pick("motion", tracker), MotionDetector)
    assert isinstance(pick("like", tracker), LikenessDetector)
    folder = tiny_detectors.save(tiny_detectors.grounding_dino(), tiny_detectors.bert_tokenizer(), tmp_path / "dino")
    assert isinstance(pick(str(folder), tracker), GroundingDino)
    cache("grounding-dino", "grounding-dino", folder)
    assert pick(None, tracker).name == "grounding-dino"


def test_the_table_agrees_with_the_detectors():
    assert len(set(names())) == len(ENTRIES)
    for cls in (EverythingDetector, MotionDetector, LikenessDetector):
        entry = entry_of(cls.name)
        assert (entry.understands_words, entry.model) == (cls.understands_words, None)
    for entry in ENTRIES:
        if entry.model is not None:
            assert entry.understands_words
            assert resolve(entry.model).detects or entry.name == "sam3"
