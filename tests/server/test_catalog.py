"""What may be opened, and that nothing else may, whatever a path says."""

from __future__ import annotations

import os
import shutil

import cv2
import numpy as np
import pytest

from keepsight.core import InputError
from keepsight.server.catalog import Catalog
from keepsight.server.errors import ApiError
from keepsight.store import Project


@pytest.fixture
def disk(tmp_path):
    """roots/a.mp4, roots/deep/b.mp4, roots/pictures/*.png, secret.mp4 outside, and links that lead out."""
    roots = tmp_path / "roots"
    for path in (roots / "a.mp4", roots / "deep" / "b c.mp4", tmp_path / "secret.mp4", tmp_path / "out" / "d.mp4"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not opened here")
    (roots / "notes.txt").write_text("no video")
    (roots / "pictures").mkdir()
    for number in range(2):
        cv2.imwrite(str(roots / "pictures" / f"{number}.png"), np.zeros((4, 4, 3), np.uint8))
    os.symlink(tmp_path / "secret.mp4", roots / "link.mp4")
    os.symlink(tmp_path / "out", roots / "linked")
    return tmp_path


def test_videos_and_folders_of_images_below_the_roots_and_no_link_that_leads_out(disk):
    catalog = Catalog([disk / "roots"], disk / "projects")
    entries = catalog.entries()
    assert [entry.name for entry in entries] == ["a.mp4", "b c.mp4", "pictures"]
    assert all(set(entry.id) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") for entry in entries)
    assert [entry.id for entry in Catalog([disk / "roots"], disk / "projects").entries()] == [e.id for e in entries]
    for entry in entries:
        assert catalog.entry(entry.id) == entry
        assert entry.project.is_relative_to(disk / "projects")


@pytest.mark.parametrize(
    "path",
    ["secret.mp4", "roots/../secret.mp4", "roots/link.mp4", "roots/linked/d.mp4", "roots/notes", "roots", "", "a\0b"]
    + ["/etc/passwd", "roots/deep", "~", "roots/a.mp4/x", "x" * 5000],
)
def test_a_path_from_outside_opens_nothing_that_is_not_below_a_root(disk, path):
    catalog = Catalog([disk / "roots"], disk / "projects")
    with pytest.raises(InputError) as refused:
        catalog.add(path if path.startswith(("/", "~")) or not path else f"{disk}/{path}")
    assert str(disk) not in str(refused.value)


def test_a_video_below_a_root_is_added_and_found_again(disk):
    catalog = Catalog([disk / "roots"], disk / "projects")
    added = catalog.add(f"{disk}/roots/deep/../a.mp4")
    assert catalog.entry(added.id).source == disk / "roots" / "a.mp4"
    for id in ("none", "../secret", added.id + "x"):
        with pytest.raises(ApiError) as missing:
            catalog.entry(id)
        assert missing.value.status == 404
    (disk / "roots" / "a.mp4").unlink()
    with pytest.raises(ApiError):
        catalog.entry(added.id)


def test_a_single_video_and_a_project_file_are_roots_too(disk):
    path = disk / "made.keepsight"
    with Project.create(path) as project:
        project.add_video(
            path=str(disk / "out" / "d.mp4"), name="d", height=4, width=4, fps=25, frame_count=2, fingerprint="f"
        )
    catalog = Catalog([disk / "secret.mp4", path], disk / "projects")
    assert [(entry.name, entry.project == path) for entry in catalog.entries()] == [
        ("d.mp4", True),
        ("secret.mp4", False),
    ]
    shutil.rmtree(disk / "out")
    assert [entry.name for entry in catalog.entries()] == ["secret.mp4"]
    with pytest.raises(InputError, match="is gone"):
        Catalog([path], disk / "projects")
    with pytest.raises(InputError, match="There is no"):
        Catalog([disk / "nothing"], disk / "projects")
