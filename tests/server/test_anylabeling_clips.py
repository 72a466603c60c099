"""Clips on disk: bounded, named by what is in them, and never taken from under somebody's hands."""

from __future__ import annotations

import os

import pytest
from remote_client import Desktop, data_uris, frames_tracked, pictures, understand_colours

from keepsight.server.anylabeling.clips import Clips
from keepsight.server.catalog import Catalog
from keepsight.server.errors import ApiError


@pytest.fixture
def keep(tmp_path):
    catalog = Catalog([], tmp_path / "projects")
    in_use: set[str] = set()
    clips = Clips(catalog, 250, in_use.__contains__)
    picture = pictures(1)[0]

    def put(digest, size=100, age=0):
        with clips.draft() as draft:
            (draft / "00000.png").write_bytes(picture[:33] + bytes(size - 33))
            entry = clips.keep(draft, digest, "builtin", size)
        stamp = entry.source.stat().st_mtime - age
        os.utime(entry.source, (stamp, stamp))
        return entry

    put.in_use = in_use
    put.left = lambda: sorted(folder.name for folder in catalog.uploads.iterdir())
    return put


def test_the_oldest_clips_that_nobody_has_open_make_room(keep):
    old, older = keep("a", age=10), keep("b", age=20)
    keep.in_use.add(older.id)
    new = keep("c")
    assert keep.left() == sorted(entry.source.name for entry in (older, new))
    assert not old.source.exists()
    assert keep("c").id == new.id  # sent again
    with pytest.raises(ApiError, match="remote_disk_mb"):
        keep("d", size=240)
    assert older.source.exists()
    assert not [name for name in keep.left() if name.startswith(".")]


def test_what_was_tracked_in_frames_that_had_to_go_is_there_when_they_come_again(start, monkeypatch):
    understand_colours(monkeypatch)
    size = sum(len(file) for file in pictures()) / 2**20
    settings = {"limits": {"remote_disk_mb": size * 1.5}, "anylabeling": {"look_every": 0}}
    desktop = Desktop(start(**settings))
    desktop.init()
    desktop.text("red")
    shapes = desktop.run(0)
    desktop.http = start(**settings)  # nobody has it open any more
    desktop.init(data_uris(pictures()[::-1]))
    assert [line["name"] for line in desktop.http.get("/api/videos").json()].count("clip.mp4") == 1
    assert len(desktop.http.get("/api/videos").json()) == 2
    desktop.http = start(**settings)
    desktop.init()
    desktop.text("red")
    before = frames_tracked(desktop.http)
    assert desktop.run(0) == shapes
    assert frames_tracked(desktop.http) == before == 11
