"""Fixtures of the tests in the virtual dock. CUSTODOCK_SLOW_VM=1 runs those marked slow_vm too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import cameras
from tests.vm.bay_station import BayStation, bay_station
from tests.vm.cameras import Card, FileSystem, Table
from tests.vm.dock import booted_dock, installed_dock
from tests.vm.image import why_not
from tests.vm.lab import Lab

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and the slow ones where nobody asked for them."""
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    missing = [program for program in cameras.PROGRAMS if shutil.which(program) is None]
    reason = why_not() or (f"needs the programs {', '.join(missing)}" if missing else None)
    for item in ours:
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
        elif item.get_closest_marker("slow_vm") and not os.environ.get("CUSTODOCK_SLOW_VM"):
            item.add_marker(pytest.mark.skip(reason="set CUSTODOCK_SLOW_VM=1 to run it"))


@pytest.fixture(scope="session")
def shared_dock() -> Iterator[Lab]:
    """One installed dock for all tests that leave it as it was; ask for `dock`."""
    with Lab(installed_dock()) as lab:
        yield lab


@pytest.fixture
def dock(shared_dock: Lab) -> Iterator[Lab]:
    """The installed dock, its service active and its slots empty; what the test plugged is pulled out at its end."""
    yield shared_dock
    shared_dock.unplug_all()


@pytest.fixture
def own_dock() -> Iterator[Lab]:
    """An installed dock for one test, to be cut off, filled up or ruined."""
    with Lab(installed_dock()) as lab:
        yield lab


@pytest.fixture(scope="module")
def shared_station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BayStation]:
    """One dock with its bays set up for the tests of a module; ask for `station`."""
    with bay_station(tmp_path_factory.mktemp("station")) as made:
        yield made


@pytest.fixture
def station(shared_station: BayStation) -> Iterator[BayStation]:
    """A dock at work, its slots empty; what the test plugged is pulled out at its end."""
    yield shared_station
    shared_station.lab.unplug_all()


@pytest.fixture
def bare_dock() -> Iterator[Lab]:
    """Debian alone, nothing of ours on it."""
    with Lab(booted_dock()) as lab:
        yield lab


class CardBox:
    """Cards with the same footage on different file systems, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        """Images go to `folder`."""
        self._folder = folder
        self._cards: dict[tuple[FileSystem, Table], Card] = {}

    def card(self, file_system: FileSystem, table: Table) -> Card:
        """The card of this kind. exFAT takes a dock without our rules to fill it."""
        kind = (file_system, table)
        if kind not in self._cards:
            image, files = self._folder / f"{file_system}-{table}.img", cameras.footage()
            if file_system == "exfat":
                with Lab(booted_dock()) as lab:
                    self._cards[kind] = cameras.make_card(image, files, file_system=file_system, table=table, lab=lab)
            else:
                self._cards[kind] = cameras.make_card(image, files, file_system=file_system, table=table)
        return self._cards[kind]


@pytest.fixture(scope="session")
def cards(tmp_path_factory: pytest.TempPathFactory) -> CardBox:
    """Card images for all tests of the session."""
    return CardBox(tmp_path_factory.mktemp("cards"))
