"""The pages in a real browser: nothing breaks or is fetched, tables sort and filter, light and dark, wide and narrow.

With ``KEEPSIGHT_NEED_CHROMIUM`` a missing browser is a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from keepsight.evaluation.diff import compare_runs, write_difference
from keepsight.evaluation.report import Picture, open_run, write_run
from keepsight.evaluation.results import Curve, Results, Row

CHROMIUM = Path(os.environ.get("KEEPSIGHT_CHROMIUM", "/usr/bin/chromium"))
if not CHROMIUM.exists() and not os.environ.get("KEEPSIGHT_NEED_CHROMIUM"):
    pytest.skip(f"there is no Chromium at {CHROMIUM}", allow_module_level=True)

from playwright.sync_api import sync_playwright  # noqa: E402


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of a run of 30 videos, the third of which has no F, and of its difference to another."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        rows = []
        for video in range(30):
            j = rng.random(25).round(3)
            values = {"J": float(j.mean())} | ({} if video == 2 else {"F": float(rng.random())})
            series = {"J": tuple(j.tolist())}
            rows.append(Row(f"video {video} {'<b>' * 3}", "", values, ("x" * 40,), tuple(range(25)), series))
        summary = {"J": float(np.mean([row.values["J"] for row in rows]))}
        curve = Curve("Success", "overlap", "share", (0.0, 1.0), (1.0, 0.0))
        pictures = [Picture(row.name, "a frame", np.full((90, 160, 3), 99, np.uint8)) for row in rows]
        write_run(Results("vos", ("p",), summary, ("J",), tuple(rows), {}, (curve,)), folder / name, pictures=pictures)
    write_difference(compare_runs(open_run(folder / "a"), open_run(folder / "b")), folder)
    return folder / "a" / "report.html", folder / "diff.html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_stand_in_light_and_dark_wide_and_narrow(pages, browser, scheme, width):
    for path in pages:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        complaints, fetched = [], []
        page.on("pageerror", lambda error: complaints.append(str(error)))  # noqa: B023
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)  # noqa: B023
        page.on("request", lambda request: fetched.append(request.url))  # noqa: B023
        page.goto(path.as_uri())
        assert complaints == []
        assert [url for url in fetched if not url.startswith("data:")] == [path.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ink, paper = (
            page.evaluate(
                f"getComputedStyle(document.body).{name}.match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b)"
            )
            for name in ("color", "backgroundColor")
        )
        assert (int(ink) < int(paper)) == (scheme == "light")
        pictures = page.evaluate("[...document.images].map((image) => image.naturalWidth)")
        assert pictures
        assert set(pictures) == {160}
        page.close()


def test_tables_sort_and_filter(pages, browser):
    page = browser.new_page()
    page.goto(pages[0].as_uri())
    table = page.locator("#videos")

    def column(place):
        return [cell.strip() for cell in table.locator(f"tbody tr:visible td:nth-child({place})").all_inner_texts()]

    table.get_by_role("button", name="F", exact=True).click()
    upwards = column(4)
    assert upwards[-1] == "–"  # a video without the measure is last either way
    assert [float(text) for text in upwards[:-1]] == sorted(float(text) for text in upwards[:-1])
    table.get_by_role("button", name="F", exact=True).click()
    assert column(4) == [*reversed(upwards[:-1]), "–"]
    table.get_by_role("button", name="video", exact=True).click()
    assert [name.split()[1] for name in column(1)] == [str(number) for number in range(30)]
    page.get_by_label("Filter by name").fill("VIDEO 2 ")
    assert column(1) == ["video 2 <b><b><b>"]
    page.close()
