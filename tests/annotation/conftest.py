"""The model is written once; a workshop a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_desks import clip, workshop, write_model

from keepsight.annotation import Desk, Workshop


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("desk-model"))


@pytest.fixture
def shop(model: Path) -> Iterator[Workshop]:
    opened = workshop(model)
    yield opened
    opened.shut()


@pytest.fixture
def desk(shop: Workshop, tmp_path: Path) -> Desk:
    return shop.open("one", clip(), tmp_path / "one.keepsight").result()


@pytest.fixture
def reopened(model: Path, tmp_path: Path) -> Iterator[Callable[[], Desk]]:
    """Opens the desk's project in a new workshop, as after a restart; the first one must be shut."""
    shops: list[Workshop] = []

    def open_again() -> Desk:
        shops.append(workshop(model))
        return shops[-1].open("one", clip(), tmp_path / "one.keepsight").result()

    yield open_again
    for opened in shops:
        opened.shut()


@pytest.fixture(scope="session")
def sure_shop() -> Iterator[Workshop]:
    shop = workshop("builtin")
    yield shop
    shop.shut()


@pytest.fixture
def sure(sure_shop: Workshop, tmp_path: Path) -> Iterator[Desk]:
    """A desk with the built-in model, which follows what it is told."""
    yield sure_shop.open(str(tmp_path), clip(), tmp_path / "sure.keepsight").result()
    sure_shop.close(str(tmp_path))
