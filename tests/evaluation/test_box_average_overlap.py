"""AO and success rates beside GOT-10k's own toolkit, which reads the files that we write."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from box_tracks import HEIGHT, WIDTH, got10k_set, track
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.evaluation.box.average_overlap import visible_overlaps
from keepsight.evaluation.box.layouts import open_layout
from keepsight.evaluation.box.scoring import score
from keepsight.evaluation.box.sequences import Prediction
from keepsight.evaluation.paired import estimates


@pytest.fixture(scope="module")
def toolkit():
    """The package, without what it imports for downloads, polygons and Python 2."""
    patch = pytest.MonkeyPatch()
    for name, words in {"shapely": (), "shapely.geometry": ("box", "Polygon"), "wget": (), "six": ()}.items():
        module = ModuleType(name)
        for word in words:
            setattr(module, word, None)
        module.string_types = (str,)
        patch.setitem(sys.modules, name, module)
    pytest.importorskip("got10k")
    import got10k.experiments
    import got10k.utils.metrics

    yield got10k
    patch.undo()


def test_as_the_toolkit_says(toolkit, tmp_path, monkeypatch):
    tracks = {f"GOT-10k_Val_{seed:06d}": track(seed, 30 + 7 * seed) for seed in range(1, 6)}
    got10k_set(tmp_path, tracks)
    layout = open_layout("got10k", tmp_path)
    folder = tmp_path / "results" / "GOT-10k" / "keepsight"
    for name, item in tracks.items():
        seconds = np.random.default_rng(1).uniform(0.01, 0.1, len(item.truth))
        layout.write(folder, layout.read(name), [Prediction(item.found, None, seconds)])
    results = score(layout, folder, {})

    experiment = toolkit.experiments.ExperimentGOT10k(
        str(tmp_path), result_dir=str(tmp_path / "results"), report_dir=str(tmp_path / "reports")
    )
    monkeypatch.setattr(experiment, "plot_curves", lambda *arguments: None)
    theirs = experiment.report(["keepsight"])["keepsight"]
    overall = theirs["overall"]
    assert results.summary["AO"] == pytest.approx(overall["ao"], abs=1e-6)
    assert results.summary["SR 0.50"] == pytest.approx(overall["sr"], abs=1e-6)
    assert results.summary["frames/s"] == pytest.approx(overall["speed_fps"], rel=1e-6)
    assert results.curves[0].y == pytest.approx(overall["succ_curve"], abs=1e-6)
    assert results.summary["SR 0.75"] == pytest.approx(overall["succ_curve"][75], abs=1e-6)
    for row in results.rows:
        assert row.values["AO"] == pytest.approx(theirs["seq_wise"][row.video]["ao"], abs=1e-6)
    assert 0.2 < results.summary["AO"] < 0.9
    # The report's intervals are of the same figures.
    made = estimates(results, ["AO", "SR 0.50", "SR 0.75", "robustness"])
    assert {name: item.value for name, item in made.items()} == pytest.approx(
        {name: results.summary[name] for name in made}
    )


_box = st.tuples(*[st.floats(-60, 160)] * 2, *[st.one_of(st.just(0.0), st.floats(0.5, 200))] * 2)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(_box, _box), min_size=2, max_size=8))
def test_boxes_that_leave_the_frame(toolkit, pairs):
    found, truth = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    ours = visible_overlaps(found, truth, np.ones(len(pairs), bool), (HEIGHT, WIDTH))
    theirs = toolkit.utils.metrics.rect_iou(found[1:].copy(), truth[1:].copy(), bound=(WIDTH, HEIGHT))
    assert ours == pytest.approx(theirs, abs=1e-6)
