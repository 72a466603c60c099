"""`keepsight annotate` and `keepsight serve`: the page for people, and the server for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on. (default: 127.0.0.1)")]
Port = Annotated[int | None, typer.Option("--port", help="Port; 0 takes any that is free. (default: 8000)")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings; see `keepsight serve --write-config`.")]
Model = Annotated[
    list[str] | None, typer.Option("--model", help="What follows; several are offered, the first is the default.")
]
Policy = Annotated[str | None, typer.Option("--policy", help="Memory policy. (default: by the model)")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps. (default: the best)")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the projects. (default: out/annotate)")]


def annotate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="VIDEO|FOLDER|PROJECT...", help="What to annotate; several are fine.")
    ],
    out: Out = None,
    model: Model = None,
    policy: Policy = None,
    device: Device = None,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Point at objects in a browser page, follow them, correct, and export.

    Example: keepsight annotate samples/bigbuckbunny.mp4
    """
    _serve(paths, out, model, policy, device, host, port, config, browser=browser, or_next_port=port is None)


def serve(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER...]", help="What may be opened, besides `roots`.")
    ] = None,
    out: Out = None,
    model: Model = None,
    policy: Policy = None,
    device: Device = None,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    write_config: Annotated[
        Path | None, typer.Option("--write-config", metavar="FILE", help="Write commented settings, and leave.")
    ] = None,
) -> None:
    """Serve the page, a JSON API (its documentation is at /docs) and X-AnyLabeling's Remote-Server on one port.

    Example: keepsight serve videos --port 8000
    """
    if write_config is not None:
        from keepsight.core import StoreError
        from keepsight.server.config import TEMPLATE
        from keepsight.store.files import replacing_file

        if write_config.exists():
            raise StoreError(f"{write_config} is there already; name another.")
        with replacing_file(write_config) as temporary:
            temporary.write_text(TEMPLATE, encoding="utf-8")
        typer.echo(f"Wrote {write_config}. Use it: keepsight serve --config {write_config}")
        return
    _serve(paths or [], out, model, policy, device, host, port, config, browser=False, or_next_port=False)


def _serve(
    paths: list[Path],
    out: Path | None,
    model: list[str] | None,
    policy: str | None,
    device: str | None,
    host: str | None,
    port: int | None,
    config: Path | None,
    *,
    browser: bool,
    or_next_port: bool,
) -> None:
    from keepsight.server.config import load_config
    from keepsight.server.serving import serve as run

    settings = load_config(
        config,
        projects=out,
        models=tuple(model) if model else None,
        policy=policy,
        device=device,
        host=host,
        port=port,
    )
    run(settings, paths, browser=browser, or_next_port=or_next_port, say=typer.echo)
