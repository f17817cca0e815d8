"""Services of the login layer on a hardened database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.databases import Database
from support.logins import Backend


@pytest.fixture
def backend(hardened: Database) -> Iterator[Backend]:
    """The services, with a pool of connections, on the demo app's hardened database."""
    made = Backend.on(hardened)
    yield made
    made.close()
