"""Data sets of phrases in video: SA-Co/VEval's JSON, and YTVIS', of which it is an extension."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepsight.core import InputError, Mask
from keepsight.evaluation.concepts.tubes import Tube
from keepsight.formats.ytvis import masks_by_frame, read_json

MOST_PX = 2**31
"""Area of a video's frame at most; above it a size is damage."""


@dataclass(frozen=True)
class SetVideo:
    """A video of a set.

    Attributes:
        number: the set's own id.
        name: unique in the set.
        height, width: px.
        file_names: the pictures that are scored, in order, relative to the set's folder of pictures.
    """

    number: int
    name: str
    height: int
    width: int
    file_names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """A phrase that is asked for in a video.

    Attributes:
        category: the set's own id of the phrase.
        name: the phrase; where a video has it twice, with its category.
        truth: everything it names; nothing for a negative phrase.
    """

    video: SetVideo
    category: int
    phrase: str
    name: str
    truth: tuple[Tube, ...] = ()

    @property
    def key(self) -> tuple[int, int]:
        """Video and category."""
        return self.video.number, self.category


@dataclass(frozen=True, eq=False)
class ConceptSet:
    """What is asked, and what is true.

    Attributes:
        path: the file.
        videos: by number, in the order of the file.
        phrases: by category.
        pairs: in the order of the file; of a YTVIS file those with something true.
        says_pairs: whether the file says which phrases are asked for where (``video_np_pairs``), negative ones among them. Where
            not, every phrase is asked for in every video, and nothing is known of those that are not annotated.
        has_truth: whether there are annotations at all.
        remarks: lines that a reader must see.
    """

    path: Path
    videos: Mapping[int, SetVideo]
    phrases: Mapping[int, str]
    pairs: tuple[Pair, ...]
    says_pairs: bool
    has_truth: bool
    remarks: tuple[str, ...] = ()

    def asked(self, video: SetVideo, *, known_only: bool = False) -> list[tuple[int, str]]:
        """(category, phrase) of everything that is to be looked for in a video.

        Args:
            known_only: of a file that does not say, only what is annotated there.
        """
        if not self.says_pairs and not known_only:
            return list(self.phrases.items())
        return [(pair.category, pair.phrase) for pair in self.pairs if pair.video.number == video.number]


def read_set(path: Path) -> ConceptSet:
    """Reads and checks a set's annotations; every mask is checked.

    Raises:
        InputError: not JSON, not of this layout, or something in it contradicts itself; the entry is named.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not isinstance(data.get("videos"), list) or "categories" not in data:
        raise InputError(f"{path} is not SA-Co/VEval or YTVIS JSON: it has no videos and categories.")
    videos = _videos(path, data["videos"])
    phrases = _phrases(path, data["categories"])
    has_truth = data.get("annotations") is not None
    truth, crowds = _truth(path, data.get("annotations") or (), videos, phrases)
    says_pairs = data.get("video_np_pairs") is not None
    if says_pairs:
        asked = _asked(path, data["video_np_pairs"], videos, phrases, truth if has_truth else None)
    else:
        order = {number: place for place, number in enumerate(videos)}
        asked = {key: phrases[key[1]] for key in sorted(truth, key=lambda key: (order[key[0]], key[1]))}
    if not (asked if says_pairs else videos and phrases):
        raise InputError(f"{path} asks for nothing: it has no pair of a video and a phrase.")
    remarks = []
    if crowds:
        remarks.append(
            f"{crowds} annotated regions are crowds: AP ignores what lies in them, the other measures count them."
        )
    pairs = _pairs(videos, asked, truth)
    return ConceptSet(path, videos, phrases, pairs, says_pairs, has_truth, tuple(remarks))


def tube_of(entry: Mapping[str, Any], video: SetVideo, score: float = 1.0) -> Tube:
    """The tube of an annotation or a result.

    Raises:
        InputError: masks of another number or size than the video's frames, or none that could be read.
    """
    segmentations = entry.get("segmentations")
    if not isinstance(segmentations, list) or len(segmentations) != len(video.file_names):
        count = len(segmentations) if isinstance(segmentations, list) else "no"
        raise InputError(f"it has {count} segmentations, but the video has {len(video.file_names)} frames")
    masks = masks_by_frame([mask or None for mask in segmentations])
    _check_sizes(masks.values(), video)
    tube = Tube(masks, score, bool(entry.get("iscrowd")))
    there = tube.areas > 0
    if there.all():
        return tube
    seen = {frame: mask for (frame, mask), some in zip(masks.items(), there, strict=True) if some}
    return Tube(seen, score, tube.crowd)


def whole_number(entry: Any, key: str) -> int:
    """A field that is a whole number.

    Raises:
        InputError: it is not there, or something else.
    """
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{key} is not a whole number" if value is not None else f"{key} is missing")
    return value


def _check_sizes(masks: Iterable[Mask], video: SetVideo) -> None:
    for mask in masks:
        if (mask.height, mask.width) != (video.height, video.width):
            raise InputError(
                f"a mask is {mask.width}x{mask.height} px, but the video is {video.width}x{video.height} px"
            )


def _videos(path: Path, entries: list[Any]) -> dict[int, SetVideo]:
    videos: dict[int, SetVideo] = {}
    names: set[str] = set()
    for place, entry in enumerate(entries):
        try:
            number, height, width = (whole_number(entry, key) for key in ("id", "height", "width"))
            files = entry.get("file_names")
            if not isinstance(files, list) or not files or not all(isinstance(name, str) and name for name in files):
                raise InputError("file_names is no list of pictures")
            if min(height, width) <= 0 or height * width >= MOST_PX:
                raise InputError(f"{width}x{height} px is no size of a video")
            if number in videos:
                raise InputError(f"id {number} is there twice")
        except InputError as error:
            raise InputError(f"{path}: video {place}: {error}.") from error
        said = entry.get("video_name", entry.get("name"))
        name = said if isinstance(said, str) and said else files[0].replace("\\", "/").split("/")[0]
        if name in names:
            name = f"{name} ({number})"
        names.add(name)
        videos[number] = SetVideo(number, name, height, width, tuple(files))
    return videos


def _phrases(path: Path, entries: Any) -> dict[int, str]:
    phrases: dict[int, str] = {}
    for place, entry in enumerate(entries if isinstance(entries, list) else [None]):
        try:
            number = whole_number(entry, "id")
            name = entry.get("name")
            if not isinstance(name, str) or not name.strip():
                raise InputError("name is missing")
            if number in phrases:
                raise InputError(f"id {number} is there twice")
        except InputError as error:
            raise InputError(f"{path}: category {place}: {error}.") from error
        phrases[number] = name
    return phrases


def _truth(
    path: Path, entries: Any, videos: Mapping[int, SetVideo], phrases: Mapping[int, str]
) -> tuple[dict[tuple[int, int], list[Tube]], int]:
    """Tubes by video and category, and how many of them are crowds."""
    truth: dict[tuple[int, int], list[Tube]] = {}
    crowds = 0
    for place, entry in enumerate(entries):
        try:
            video, category = _known(entry, videos, phrases)
            tube = tube_of(entry, videos[video])
        except InputError as error:
            raise InputError(f"{path}: annotation {place}: {str(error).rstrip('.')}.") from error
        truth.setdefault((video, category), []).append(tube)
        crowds += tube.crowd
    return truth, crowds


def _asked(
    path: Path,
    entries: Any,
    videos: Mapping[int, SetVideo],
    phrases: Mapping[int, str],
    truth: Mapping[tuple[int, int], list[Tube]] | None,
) -> dict[tuple[int, int], str]:
    """Phrase by video and category.

    Args:
        truth: ``None`` where the file has no annotations.
    """
    asked: dict[tuple[int, int], str] = {}
    for place, entry in enumerate(entries if isinstance(entries, list) else [None]):
        try:
            key = _known(entry, videos, phrases)
            if key in asked:
                raise InputError(f"'{phrases[key[1]]}' is asked for twice in video {key[0]}")
            said = entry.get("num_masklets")
            if truth is not None and said is not None and bool(said) != (key in truth):
                there = len(truth.get(key, ()))
                raise InputError(f"num_masklets is {said}, but {there} are annotated")
        except InputError as error:
            raise InputError(f"{path}: video_np_pairs {place}: {error}.") from error
        phrase = entry.get("noun_phrase")
        asked[key] = phrase if isinstance(phrase, str) and phrase.strip() else phrases[key[1]]
    for key in truth or ():
        if key not in asked:
            raise InputError(
                f"{path}: '{phrases[key[1]]}' is annotated in video {key[0]}, but video_np_pairs does not ask for it there."
            )
    return asked


def _known(entry: Any, videos: Mapping[int, SetVideo], phrases: Mapping[int, str]) -> tuple[int, int]:
    video, category = whole_number(entry, "video_id"), whole_number(entry, "category_id")
    if video not in videos:
        raise InputError(f"there is no video {video}")
    if category not in phrases:
        raise InputError(f"there is no category {category}")
    return video, category


def _pairs(
    videos: Mapping[int, SetVideo],
    asked: Mapping[tuple[int, int], str],
    truth: Mapping[tuple[int, int], list[Tube]],
) -> tuple[Pair, ...]:
    made = []
    names: set[tuple[int, str]] = set()
    for (video, category), phrase in asked.items():
        name = phrase if (video, phrase) not in names else f"{phrase} ({category})"
        names.add((video, name))
        made.append(Pair(videos[video], category, phrase, name, tuple(truth.get((video, category), ()))))
    return tuple(made)
