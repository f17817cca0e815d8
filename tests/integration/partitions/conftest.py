"""The command in a fork, for here it is called often; beside threads, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.databases import Command
from support.forked import Forked


@pytest.fixture
def secops(tmp_path: Path) -> Command:
    """The command in a fork of the test's process."""
    home = tmp_path / "home"
    home.mkdir()
    return Forked(home)


@pytest.fixture
def process(secops: Command) -> Command:
    """The command in a process of its own, as beside threads it must be."""
    return Command(secops.home)
