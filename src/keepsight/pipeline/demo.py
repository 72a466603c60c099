"""The job of `keepsight demo`: the shipped clip, a few clicks and a box."""

from __future__ import annotations

from pathlib import Path

from keepsight.core import InputError, Prompt
from keepsight.pipeline.job import Mode, SegmentJob

CLIP = Path("samples") / "bigbuckbunny.mp4"
CREDIT = "The clip is from Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org, licensed CC BY 3.0."

# On this frame the rabbit stretches, whole, and the boulder at the left is in plain view. Both are followed from here to the end
# and back to the beginning. The rabbit is pointed at as a person would: one click takes the trunk, and each further click adds
# what it missed (head, fist, ear, feet). One box around it takes the rocks along, whose grey is the rabbit's.
_FRAME = 100
_RABBIT = ((450.0, 330.0), (440.0, 150.0), (200.0, 210.0), (350.0, 120.0), (480.0, 600.0))
_PROMPTS = (
    *(Prompt(1, _FRAME, points=(click,), labels=(1,), label="rabbit") for click in _RABBIT),
    Prompt(2, _FRAME, box=(92.0, 424.0, 257.0, 573.0), label="rock"),
)


def find_clip() -> Path:
    """The sample clip of this checkout, wherever the command is run.

    Raises:
        InputError: an installation without the checkout around it.
    """
    here = Path(__file__).resolve()
    for folder in (Path.cwd(), *here.parents):
        if (folder / CLIP).is_file():
            return folder / CLIP
    raise InputError(
        f"The sample clip {CLIP} was not found; it comes with the source checkout. Run the demo there, "
        "or follow something in a video of yours with `keepsight segment`."
    )


def demo_job(out: Path, *, overwrite: bool = False, model: str | None = None) -> SegmentJob:
    """The demo as a job."""
    return SegmentJob(
        video=find_clip(),
        out=out,
        prompts=_PROMPTS,
        model=model,
        direction="both",
        mode=Mode.OVERWRITE if overwrite else Mode.FAIL,
        credit=CREDIT,
    )
