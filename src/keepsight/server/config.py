"""The settings of the server, as a YAML file says them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from keepsight.pipeline.yaml_settings import make_settings, read_yaml

TEMPLATE = """\
# Settings of `keepsight serve` and `keepsight annotate`. What is left out has the value shown here.

host: 127.0.0.1               # this machine only; 0.0.0.0 lets others in, and then needs an api_key
port: 8000
api_key: null                 # asked for in the header `Token` (or `Authorization: Bearer`); the page asks for it once
origins: []                   # other web pages that may use the API, such as https://tools.example.org
hosts: []                     # names besides localhost by which browsers reach this server

roots: []                     # folders whose videos may be opened; nothing outside them is ever read
projects: out/annotate        # where project files are kept, one a video
allow_upload: true            # videos sent through the page or by X-AnyLabeling, kept in `projects`

models: [builtin]             # offered in the page and to X-AnyLabeling; the first is the default
policy: null                  # default: by the model
detector: null                # what finds words; default: the best one here that understands words
device: auto
low_score: 0.5                # a mask with a score below is marked in the timeline
output: masks                 # masks, boxes or both

anylabeling:                  # the X-AnyLabeling desktop client, with this server as its "Remote-Server"
  new_objects: false          # clicks that do not go on with those of before begin another object (needs a blank group id)
  look_every: 10              # frames between looks for things that a text names and that came later; 0: on the first only

limits:
  body_mb: 64                 # a request, other than an upload
  upload_mb: 4096
  frames: 200000              # frames of a video
  pixels: 36000000            # px of a frame
  points: 1000                # points of one prompt
  open_videos: 8              # with a tracker each; those in use are never dropped, a further one is refused
  idle_minutes: 30            # a video that nobody has looked at for so long lets go of its memory (masks are in the file)
  frame_cache_mb: 512
  feature_cache_mb: 512
  remote_frames: 3000         # frames of a session of X-AnyLabeling
  remote_body_mb: 1024        # its frames come in one request
  remote_disk_mb: 20480       # its frames on disk; those that nobody has open go first, masks always stay
"""


class Limits(BaseModel):
    """See :data:`TEMPLATE`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body_mb: float = Field(default=64, gt=0)
    upload_mb: float = Field(default=4096, gt=0)
    frames: int = Field(default=200_000, gt=0)
    pixels: int = Field(default=36_000_000, gt=0)
    points: int = Field(default=1000, gt=0)
    open_videos: int = Field(default=8, gt=0, le=1000)
    idle_minutes: float = Field(default=30, gt=0)
    frame_cache_mb: float = Field(default=512, gt=0)
    feature_cache_mb: float = Field(default=512, gt=0)
    remote_frames: int = Field(default=3000, gt=0)
    remote_body_mb: float = Field(default=1024, gt=0)
    remote_disk_mb: float = Field(default=20480, gt=0)


class AnyLabeling(BaseModel):
    """See :data:`TEMPLATE`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    new_objects: bool = False
    look_every: int = Field(default=10, ge=0)


class ServerConfig(BaseModel):
    """See :data:`TEMPLATE` for what each setting means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    api_key: SecretStr | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()
    projects: Path = Path("out/annotate")
    allow_upload: bool = True
    models: tuple[str, ...] = Field(default=("builtin",), min_length=1)
    policy: str | None = None
    detector: str | None = None
    device: str = "auto"
    low_score: float = Field(default=0.5, ge=0, le=1)
    output: Literal["masks", "boxes", "both"] = "masks"
    anylabeling: AnyLabeling = AnyLabeling()
    limits: Limits = Limits()

    @property
    def key(self) -> str | None:
        """The API key, ``None`` when none is asked for."""
        return self.api_key.get_secret_value() if self.api_key is not None else None

    @model_validator(mode="after")
    def _others_need_a_key(self) -> ServerConfig:
        if self.key is not None and len(self.key) < 8:
            raise ValueError("api_key needs 8 characters at least")
        if self.host not in LOOPBACK and self.key is None:
            raise ValueError(f"host {self.host} lets other machines in; set an api_key, or leave host at 127.0.0.1")
        return self


LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def load_config(path: Path | None, **changes: Any) -> ServerConfig:
    """Reads a YAML file; paths in it are as seen from the current folder.

    Args:
        path: ``None`` for the defaults.
        changes: win over the file where they are not ``None``.

    Raises:
        InputError: unreadable, or with settings that do not exist or do not fit; they are named.
    """
    values = {} if path is None else read_yaml(path, "keepsight serve --write-config server.yaml")
    given = {name: value for name, value in changes.items() if value is not None}
    return make_settings(ServerConfig, values | given, str(path or "settings"))
