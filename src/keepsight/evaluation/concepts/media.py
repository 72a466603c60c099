"""The pictures of a set's videos, wherever below a folder they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from keepsight.core import InputError
from keepsight.evaluation.concepts.dataset import SetVideo
from keepsight.video import VideoSource, open_video
from keepsight.video.images import ImageVideo, images_in

FrameChoice = Literal["listed", "all"]
"""Frames that are followed: those that the set lists, or every picture in their folder (SA-V is annotated at 6 frames a second
and has 24). Scored are those that the set lists."""

_FILMS = (".mp4", ".mov", ".mkv", ".avi", ".webm")


@dataclass(frozen=True, eq=False)
class Footage:
    """A video that can be followed.

    Attributes:
        source: its frames.
        places: frame of ``source`` -> place among the frames that are scored.
    """

    source: VideoSource
    places: dict[int, int]


class SetMedia:
    """Finds the pictures of videos.

    ``file_names`` are looked for below the folder itself, below ``JPEGImages*`` in it, and below ``JPEGImages*`` one folder
    deeper, as SA-Co's ``saco_sav/JPEGImages_24fps``. A video that has none of them may be a film of its name.

    Args:
        folder: the pictures.
        frames: which of them are followed. A film is followed frame by frame, up to the last one that is listed.

    Raises:
        InputError: no such folder.
    """

    def __init__(self, folder: Path, frames: FrameChoice = "listed") -> None:
        if not folder.is_dir():
            raise InputError(f"--media {folder} is no folder of pictures.")
        self.folder, self.frames = folder, frames
        self._roots = [folder, *_inside(folder, "JPEGImages*"), *_inside(folder, "*/JPEGImages*")]

    def has(self, video: SetVideo) -> bool:
        """Whether the first picture of a video, or its film, is there."""
        return self._root(video) is not None or self._film(video) is not None

    def open(self, video: SetVideo) -> Footage:
        """A video's frames; the caller closes the source.

        Raises:
            InputError: pictures that are missing, unreadable, or of another size than the set says.
        """
        root = self._root(video)
        film = self._film(video) if root is None else None
        if root is not None:
            footage = self._pictures(video, root)
        elif film is not None:
            footage = _of_film(video, film)
        else:
            raise InputError(f"{video.name}: {video.file_names[0]} is nowhere below {self.folder}.")
        source = footage.source
        if (source.height, source.width) != (video.height, video.width):
            source.close()
            raise InputError(
                f"{video.name}: the pictures are {source.width}x{source.height} px, but the set says "
                f"{video.width}x{video.height} px."
            )
        return footage

    def _root(self, video: SetVideo) -> Path | None:
        first = _relative(video.file_names[0])
        for place, root in enumerate(self._roots):
            if (root / first).is_file():
                # Most likely the next video is there too.
                self._roots.insert(0, self._roots.pop(place))
                return root
        return None

    def _film(self, video: SetVideo) -> Path | None:
        stems = dict.fromkeys([video.name, _relative(video.file_names[0]).parts[0]])
        for stem in stems:
            for suffix in _FILMS:
                film = self.folder / _relative(stem + suffix)
                if film.is_file():
                    return film
        return None

    def _pictures(self, video: SetVideo, root: Path) -> Footage:
        listed = [root / _relative(name) for name in video.file_names]
        followed = listed
        if self.frames == "all":
            if len({file.parent for file in listed}) > 1:
                raise InputError(f"{video.name}: its pictures lie in several folders; follow those that are listed.")
            followed = images_in(listed[0].parent)
        at = {file: frame for frame, file in enumerate(followed)}
        missing = next((file for file in listed if file not in at or not file.is_file()), None)
        if missing is not None:
            raise InputError(f"{video.name}: {missing} is missing.")
        if sorted(at[file] for file in listed) != [at[file] for file in listed] or len(at) != len(followed):
            raise InputError(f"{video.name}: its pictures are not listed in order, each once.")
        source = ImageVideo(listed[0].parent, name=video.name, files=followed)
        return Footage(source, {at[file]: place for place, file in enumerate(listed)})


def _inside(folder: Path, pattern: str) -> Sequence[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_dir())


def _relative(name: str) -> PurePosixPath:
    """A file's name inside the folder.

    Raises:
        InputError: it leads out of it.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise InputError(f"'{name}' is no name of a picture inside a folder.")
    return path


def _of_film(video: SetVideo, film: Path) -> Footage:
    numbers = [PurePosixPath(name.replace("\\", "/")).stem for name in video.file_names]
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        raise InputError(f"{video.name}: {film.name} is a film, but the set's pictures have no numbers for names.")
    source = open_video(film, name=video.name)
    frames = [int(number) for number in numbers]
    if frames != sorted(set(frames)) or frames[-1] >= (source.frame_count or 0):
        source.close()
        raise InputError(
            f"{video.name}: the set lists frame {frames[-1]}, but {film.name} has {source.frame_count} frames."
        )
    return Footage(source, {frame: place for place, frame in enumerate(frames)})
