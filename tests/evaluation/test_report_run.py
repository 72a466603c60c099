"""The folder of a run: what is written comes back, and nothing that came from outside does harm."""

from __future__ import annotations

import csv
import json
import math
import subprocess
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepsight.cli.main import run as keepsight
from keepsight.core import InputError
from keepsight.evaluation import paired
from keepsight.evaluation.diff import compare_runs
from keepsight.evaluation.report import Picture, open_run, read_run, write_run
from keepsight.evaluation.report.diff_page import change_views
from keepsight.evaluation.results import Curve, Figure, Results, Row

names = st.text(st.characters(), min_size=1, max_size=12)
numbers = st.floats(-1e6, 1e6) | st.just(math.inf)
series = st.integers(0, 5).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 10**6), min_size=count, max_size=count).map(tuple),
        st.dictionaries(names, st.lists(st.none() | numbers, min_size=count, max_size=count).map(tuple), max_size=2),
    )
)
rows = st.builds(
    lambda video, item, values, attributes, by_frame: Row(video, item, values, attributes, *by_frame),
    names,
    st.text(max_size=5),
    st.dictionaries(names, numbers, max_size=3),
    st.lists(names, max_size=3).map(tuple),
    series,
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
lines = st.lists(names, max_size=3).map(tuple)
curves = st.builds(Curve, names, names, names, st.just((0.0, 1.0)), st.tuples(numbers, numbers))
results = st.builds(
    Results,
    st.sampled_from(["vos", "box", "concepts"]),
    lines,
    st.dictionaries(names, numbers, max_size=4),
    lines,
    st.lists(rows, max_size=4).map(tuple),
    st.dictionaries(names, plain, max_size=4),
    st.lists(curves, max_size=2).map(tuple),
    lines,
    lines,
    st.dictionaries(names, st.builds(Figure, st.sampled_from(["mean", "product"]), lines), max_size=2),
)


@settings(deadline=None, max_examples=20)
@given(measured=results)
def test_what_is_written_comes_back(tmp_path_factory, measured):
    folder = tmp_path_factory.mktemp("run")
    write_run(measured, folder)
    assert read_run(folder) == measured


def test_what_is_no_number_is_kept_without_leaving_json(tmp_path):
    measured = Results("vos", (), {"G": math.nan}, ("G",), (Row("a", "", {"J": math.nan, "D": math.inf}),), {})
    write_run(measured, tmp_path)

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    json.loads((tmp_path / "run.json").read_text(), parse_constant=refuse)
    back = read_run(tmp_path)
    assert math.isnan(back.summary["G"])
    assert math.isnan(back.rows[0].values["J"])
    assert back.rows[0].values["D"] == math.inf


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no run.json"),
        ("{", "cannot be read"),
        ("[]", "not the file of an evaluation"),
        ('{"format": "keepsight-evaluation", "version": 99}', "another version"),
        ('{"format": "keepsight-evaluation", "version": 1, "task": "vos"}', "has no 'protocol'.*again"),
        ('{"format": "keepsight-evaluation", "version": 1, "task": "vos", "protocol": 3}', "damaged.*again"),
    ],
)
def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path, text, said):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


HOSTILE = "<script>alert(1)</script>\"'&{{ 1234*4321 }}\udce9"


def _run(videos=3, frames=40):
    rng = np.random.default_rng(0)
    rows = []
    for video in range(videos):
        for item in range(1, 3):
            j = rng.random(frames).round(4)
            values = {"J&F": float(j.mean()), "J": float(j.mean()), "F": float(j.mean())}
            series = {"J": tuple(j.tolist())}
            kinds = ("seen", "small") if item == 1 else ("seen",)
            rows.append(Row(f"video{video:04d}", str(item), values, kinds, tuple(range(frames)), series))
    summary = {"J&F": float(np.mean([row.values["J&F"] for row in rows])), "HOTA": 0.5}
    curve = Curve("Success", "overlap", "share of frames", (0.0, 0.5, 1.0), (1.0, 0.6, 0.0))
    told = {"dataset": "davis17", "model": "builtin", "policy": "sam2"}
    return Results("vos", ("frame 0 does not count",), summary, ("J&F",), tuple(rows), told, (curve,), ("2 lack",))


def test_the_page_tells_figures_intervals_groups_and_the_worst(tmp_path):
    measured = _run()
    worst = min(measured.rows, key=lambda row: row.values["J&F"])
    shot = Picture(worst.name, "frame 12, truth in green", np.full((60, 80, 3), 127, np.uint8))
    write_run(measured, tmp_path, pictures=[shot])
    page = (tmp_path / "report.html").read_text()
    interval = paired.estimates(measured)["J&F"]
    assert f"{measured.summary['J&F']:.3f}" in page
    assert f"{interval.low:.3f} to {interval.high:.3f}" in page
    assert page.count(paired.NOT_OF_ROWS) == 1  # HOTA
    for text in ("frame 0 does not count", "2 lack", "small", "Success", "frame 12, truth in green", "data:image/jpeg"):
        assert text in page
    assert page.index(f"<h3>{worst.name}</h3>") == page.index("<h3>")
    assert "http" not in page.replace("http://www.w3.org", "")  # nothing is fetched
    [stored] = open_run(tmp_path).pictures
    assert stored.path.read_bytes()[:2] == b"\xff\xd8"
    table = list(csv.DictReader((tmp_path / "rows.csv").open()))
    assert [(row["video"], row["item"], float(row["J"]), row["attributes"]) for row in table] == [
        (row.video, row.item, row.values["J"], " ".join(row.attributes)) for row in measured.rows
    ]
    # A second report in the folder leaves nothing of the first behind.
    write_run(measured, tmp_path)
    assert not list((tmp_path / "pictures").iterdir())


def test_the_page_is_made_anew_of_what_was_kept(tmp_path, capsys):
    write_run(_run(), tmp_path, pictures=[Picture("video0000/1", "here", np.zeros((8, 8, 3), np.uint8))])
    page = (tmp_path / "report.html").read_text()
    (tmp_path / "report.html").unlink()
    (tmp_path / "rows.csv").unlink()
    assert keepsight(["eval", "report", str(tmp_path)]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text() == page
    assert (tmp_path / "rows.csv").exists()


def test_results_that_do_not_say_what_made_them_are_read(tmp_path):
    write_run(_run(), tmp_path)
    path = tmp_path / "run.json"
    found = json.loads(path.read_text())
    del found["made"], found["pictures"]
    path.write_text(json.dumps(found))
    run = open_run(tmp_path)
    assert run.results == _run()
    assert (run.made, run.pictures) == ({}, ())


def test_counts_are_whole(tmp_path):
    counted = {"found": 4.0, "J&F": 4.0}
    rows = (Row("a", "1", counted), Row("a", "2", {"found": 1.0, "J&F": 1.0}), Row("b", "1", counted))
    measured = Results("vos", (), {"found": 3.0, "J&F": 3.0}, ("found",), rows, {}, counts=("found",))
    write_run(measured, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert '<div class="figure">3</div>' in page
    for video, value in (("a", "2.5"), ("b", "4")):
        row = page[page.index(f'<td class="name">{video}</td>') :].split("</tr>")[0]
        assert f">{value}</td>" in row  # found
        assert f">{float(value):.3f}</td>" in row  # J&F
    assert "a,1,4,4.0," in (tmp_path / "rows.csv").read_text()
    assert '"found": 4.0' in (tmp_path / "run.json").read_text()
    found = compare_runs(open_run(tmp_path), open_run(tmp_path))
    [view] = [view for view in change_views(found.changes) if view.name == "found"]
    assert (view.before, view.difference) == ("3", "+0")


@pytest.mark.parametrize(
    ("root", "name"), [("/data/yard", "yard"), ("/data/yard/", "yard"), (".", "here"), ("../else", "else")]
)
def test_a_report_on_a_plain_folder_has_its_name(tmp_path, monkeypatch, root, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    measured = Results("vos", (), {"J": 0.5}, ("J",), (Row("a", "", {"J": 0.5}),), {"dataset": "folder", "root": root})
    write_run(measured, tmp_path / "run")
    assert f"<h1>{name}</h1>" in (tmp_path / "run" / "report.html").read_text()


def test_made_says_which_code_and_weights(tmp_path):
    write_run(_run(), tmp_path)
    made = open_run(tmp_path).made
    assert made["keepsight"] == metadata.version("keepsight")
    assert made["packages"]["torch"] == metadata.version("torch")
    assert made["weights"]["model"]["name"] == "builtin"
    assert len(made["weights"]["model"]["digest"]) == 16
    checkout = Path(__file__).parents[2]
    if (checkout / ".git").exists():
        head = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        assert made["code"].startswith(head.stdout.strip())


def test_text_from_outside_is_shown_and_never_run(tmp_path):
    row = Row(HOSTILE, HOSTILE, {HOSTILE: 0.5}, (HOSTILE,), (0, 1), {HOSTILE: (0.5, None)})
    curve = Curve(HOSTILE, HOSTILE, HOSTILE, (0.0, 1.0), (0.0, 1.0))
    told = {HOSTILE: HOSTILE, "dataset": HOSTILE, "model": HOSTILE, "deep": {HOSTILE: [HOSTILE]}}
    measured = Results("vos", (HOSTILE,), {HOSTILE: 0.5}, (HOSTILE,), (row,), told, (curve,), (HOSTILE,))
    write_run(measured, tmp_path, pictures=[Picture(row.name, HOSTILE, np.zeros((8, 8, 3), np.uint8))])
    assert read_run(tmp_path) == measured
    page = (tmp_path / "report.html").read_text()
    parser = _Tags()
    parser.feed(page)
    assert parser.scripts == 1  # ours
    assert str(1234 * 4321) not in "".join(parser.texts_with("alert(1)"))
    assert all(not name.startswith("on") for name in parser.attributes)


def test_a_picture_cannot_be_taken_from_elsewhere(tmp_path):
    write_run(_run(), tmp_path / "run", pictures=[Picture("video0000/1", "", np.zeros((8, 8, 3), np.uint8))])
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = tmp_path / "run" / "run.json"
    found = json.loads(path.read_text())
    found["pictures"][0]["file"] = "../../secret.jpg"
    path.write_text(json.dumps(found))
    assert open_run(tmp_path / "run").pictures == ()


def test_a_page_about_thousands_of_rows_stays_small(tmp_path):
    write_run(_run(videos=642, frames=100), tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 500_000
    assert (tmp_path / "run.json").stat().st_size > 1_000_000  # where the series are


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.scripts, self.attributes, self._texts = 0, set(), []

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self._texts.append(data)

    def texts_with(self, part):
        return [text for text in self._texts if part in text]
