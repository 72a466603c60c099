"""What a person answers who is asked for the video and for what to follow, as arguments of the command line."""

from __future__ import annotations

from pathlib import Path

from keepsight.core import InputError
from keepsight.pipeline.job import SegmentJob
from keepsight.video import open_video


def read_video(answer: str) -> tuple[str, int]:
    """A path as it is typed, pasted or dropped on a terminal; with the number of frames.

    Raises:
        InputError: not a video that can be followed from beginning to end.
    """
    path = answer.strip()
    if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
        path = path[1:-1]
    if not path:
        raise InputError("Give the path of a video file or of a folder of images.")
    if path.startswith("~"):
        path = str(Path(path).expanduser())
    with open_video(path) as video:
        if video.live or not video.frame_count:
            raise InputError(f"{path} is a stream without an end; follow it with `keepsight segment {path} --camera`.")
        return path, video.frame_count


def read_wish(answer: str) -> tuple[str, str]:
    """Which option says it, and its value without the frame: two numbers are a click, four a box, all else is words.

    Raises:
        InputError: nothing, or numbers that are neither.
    """
    text = answer.strip()
    parts = text.replace(",", " ").split()
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return "--text", text
    if len(numbers) == 2:
        return "--point", ",".join(parts)
    if len(numbers) == 4:
        return "--box", ",".join(parts)
    raise InputError("Give a word, a click X,Y or a box X1,Y1,X2,Y2 in pixels.")


def detectors_for_words() -> tuple[list[str], list[str]]:
    """Detectors at hand beside the default model that understand words, and those that need none; best first."""
    from keepsight.concepts import choosing
    from keepsight.pipeline.settings import Settings

    here = choosing.available(Settings.model)
    reads = [entry.name for entry in choosing.ENTRIES if entry.understands_words]
    return [name for name in here if name in reads], [name for name in here if name not in reads]


def ways_on() -> str:
    """One line for a person who gave a word, and nothing at hand understands it."""
    from keepsight.concepts import choosing
    from keepsight.core import ModelError
    from keepsight.pipeline.settings import Settings

    try:
        choosing.choose(None, Settings.model)
    except ModelError as error:
        return str(error)
    return ""


def is_taken(video: str) -> bool:
    """Whether the default output folder holds the results of an earlier run."""
    return SegmentJob(video).project_path.exists()


def free_folder(video: str) -> str:
    """An output folder like the default one that does not exist yet."""
    folder = SegmentJob(video).folder
    return next(
        str(other) for number in range(2, 10**6) if not (other := folder.with_name(f"{folder.name}-{number}")).exists()
    )
