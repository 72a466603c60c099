"""Small projects with everything that formats stumble over, and what is compared of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keepsight.core import FrameResult, Mask, Source, TrackedObject
from keepsight.formats.registry import export_tracks, import_tracks
from keepsight.store import Project

HEIGHT, WIDTH, FRAMES = 9, 11, 12


def project_of(path, tracks, labels=None, frame_count=FRAMES):
    """A project from ``{frame: {object id: (H, W) array}}``; every frame of ``tracks`` has a result, every score is another."""
    project = Project.create(path)
    project.add_video(
        path="c.mp4", name="c", height=HEIGHT, width=WIDTH, fps=25, frame_count=frame_count, fingerprint=""
    )
    for object_id, label in (labels or {}).items():
        project.add_object(1, object_id, label)
    run = project.start_run(1, {})
    for frame, masks in tracks.items():
        items = tuple(
            TrackedObject(i, Mask.from_array(array), (i + frame) % 11 / 10, float(array.any()), Source.TRACKED)
            for i, array in masks.items()
        )
        project.write_result(1, run, FrameResult(frame, frame / 25, HEIGHT, WIDTH, items))
    return project


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def masks_of(project):
    return {
        (result.frame, item.object_id): item.mask
        for result in project.results(1)
        for item in result.objects
        if item.present
    }


def again(tmp, name):
    """A second project, made of the files of ``tmp/a`` alone, and its export to ``tmp/b``."""
    second = project_of(tmp / "b.keepsight", {})
    imported = import_tracks(second, 1, name, tmp / "a")
    return second, imported, export_tracks(second, 1, name, tmp / "b")


def block(x1, y1, x2, y2):
    array = np.zeros((HEIGHT, WIDTH), bool)
    array[y1:y2, x1:x2] = True
    return array


ids = st.lists(
    st.sampled_from([0, 1, 2, 7, 254, 255, 999, 1000, 70000, 2**31, 2**63 - 1]), min_size=1, max_size=4, unique=True
)
names = st.sampled_from(["cow", "person", 'a "b" <&>', "été, ü", None])
arrays = hnp.arrays(bool, (HEIGHT, WIDTH), elements=st.booleans(), fill=st.just(False))


@st.composite
def scenes(draw):
    """Labels and tracks: overlaps, holes, specks, empty masks, frames without anything."""
    labels = {object_id: draw(names) for object_id in draw(ids)}
    frames = draw(st.lists(st.integers(0, FRAMES - 1), min_size=1, max_size=4, unique=True))
    tracks = {frame: {i: draw(arrays) for i in labels if draw(st.integers(0, 3))} for frame in sorted(frames)}
    return labels, tracks
