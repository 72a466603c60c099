"""Entry point: puts the commands together and turns errors into one line and an exit code.

Exit codes: 0 done; 1 a defect of ours; 2 something that the person can mend (input, model, disk, usage); 3 a training
that worked and did not help; 130 stopped by Ctrl-C.

Every command imports what it needs when it runs, never when it is registered: `keepsight --help` must not wait for torch.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from keepsight.cli import (
    ask,
    clip,
    compare,
    crop,
    demo,
    doctor,
    eval,
    export,
    import_,
    models,
    pipeline,
    policies,
    segment,
    serve,
    train,
)

app = typer.Typer(
    name="keepsight",
    help="Segments and tracks objects through video and does not lose sight of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("segment")(segment.segment)
app.command("clip")(clip.clip)
app.command("crop")(crop.crop)
app.add_typer(pipeline.app, name="pipeline")
app.command("annotate")(serve.annotate)
app.command("serve")(serve.serve)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("import")(import_.import_)
app.add_typer(models.app, name="models")
app.command("doctor")(doctor.doctor)
app.command("policies")(policies.policies)
app.command("demo")(demo.demo)
app.add_typer(eval.app, name="eval")
app.add_typer(train.app, name="train")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"keepsight {version('keepsight')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="On an error, print the traceback too (goes before or after the command).")
    ] = False,
) -> None:
    """Options of every command; `--debug` has been taken out of the arguments by :func:`run`."""


def run(arguments: Sequence[str]) -> int:
    """Runs one command line without leaving the process; for :func:`main` and for tests.

    Args:
        arguments: what follows `keepsight`.

    Returns:
        The exit code.
    """
    arguments = list(arguments)
    debug = bool(os.environ.get("KEEPSIGHT_DEBUG"))
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if "--debug" in arguments[:end]:
        arguments.remove("--debug")
        debug = True
    try:
        if not arguments and ask.in_terminal():
            arguments = ask.ask()
        app(args=arguments, prog_name="keepsight")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        print("keepsight: stopped.", file=sys.stderr)
        return 130
    except Exception as error:
        return _report(error, debug)
    return 0


def main() -> None:
    """What the `keepsight` script calls."""
    # Threads that spin while they wait bring a busy machine to a halt (measured on two busy cores: 0.2 instead of 3 frames a
    # second). Read by the OpenMP library when torch is loaded, which no command has done yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:]))


def _report(error: Exception, debug: bool) -> int:
    from keepsight.core.errors import Cancelled, KeepsightError

    if debug:
        traceback.print_exception(error)
    line = " ".join(str(error).split())
    if isinstance(error, KeepsightError):
        print(f"keepsight: {line}", file=sys.stderr)
        return 130 if isinstance(error, Cancelled) else 2
    print(f"keepsight: {type(error).__name__}: {line}", file=sys.stderr)
    hint = "" if debug else "; run with --debug for the traceback"
    print(f"keepsight: this is a defect, please report it{hint}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
