"""`keepsight` without arguments in a terminal: asks, shows the command line that says the same, and runs it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_terminal() -> bool:
    """Whether there is a person who can answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def ask() -> list[str]:
    """Arguments for what a person wants.

    Raises:
        KeyboardInterrupt: the person has left.
    """
    try:
        return _ask()
    except EOFError:  # Ctrl-D
        raise KeyboardInterrupt from None


def _ask() -> list[str]:
    from rich.console import Console
    from rich.prompt import Confirm, IntPrompt, Prompt

    from keepsight.pipeline import asking

    console = Console(highlight=False, soft_wrap=True)
    console.print("Follows things through a video. `keepsight --help` shows all there is; Ctrl-C leaves.", markup=False)
    video, frames = _until_right(console.print, lambda: asking.read_video(Prompt.ask("Video file or folder of images")))
    option, value = _until_right(
        console.print, lambda: asking.read_wish(Prompt.ask("What to follow: a word, a click X,Y or a box X1,Y1,X2,Y2"))
    )
    arguments = ["segment", video]
    if option == "--text":
        arguments += [option, value]
        words, wordless = asking.detectors_for_words()
        if not words:
            console.print(asking.ways_on(), markup=False)
            arguments += ["--detector", Prompt.ask("Find without words", choices=wordless, default=wordless[-1])]
    else:
        choices = [str(number) for number in range(frames)]
        frame = IntPrompt.ask(f"On which frame (0 to {frames - 1})", choices=choices, show_choices=False, default=0)
        arguments += [option, f"{frame}:{value}"]
    if asking.is_taken(video):
        if Confirm.ask("There are results of an earlier run; replace them", default=False):
            arguments.append("--overwrite")
        else:
            arguments += ["--out", asking.free_folder(video)]
    console.print(f"The same without questions:\n  keepsight {shlex.join(arguments)}", markup=False)
    return arguments


def _until_right(say: Callable[[str], None], answer: Callable[[], T]) -> T:
    from keepsight.core import KeepsightError

    while True:
        try:
            return answer()
        except KeepsightError as error:
            say(str(error))
