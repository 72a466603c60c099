"""What routes ask for: the reception, the desk of the video in the path, and who is asking."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Depends, Header, Path, Request

from keepsight.annotation import Desk
from keepsight.server.reception import Reception


def _reception(request: Request) -> Reception:
    reception: Reception = request.app.state.reception
    return reception


Here: TypeAlias = Annotated[Reception, Depends(_reception)]


async def _desk(here: Here, video: Annotated[str, Path(max_length=200)]) -> Desk:
    return await here.desk(video)


Reach: TypeAlias = Annotated[Desk, Depends(_desk)]
By: TypeAlias = Annotated[str | None, Header(alias="X-Keepsight-Client", max_length=64)]
"""A word by which a client tells its own changes from those of others; it comes back in the events."""
