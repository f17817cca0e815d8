"""Fixtures for tests about accounts; a conftest imports them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.accounts import KEY_TYPES, People, build, migrate
from support.databases import Command, Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import Server

_TEMPLATES: dict[tuple[str, str], str] = {}


def _people(
    server: Server, key_type: str, secops: Command, homes: pytest.TempPathFactory
) -> Iterator[People]:
    key = (str(server.folder), key_type)
    if key not in _TEMPLATES:
        template = build(server, key_type, f"template_accounts_{key_type}")
        migrate(template, homes.mktemp("home"))
        _TEMPLATES[key] = template.name
    database = Database(server, server.create(_TEMPLATES[key]))
    yield People(database, secops.on(database))
    server.drop(database.name)


@pytest.fixture
def people(
    server: Server, secops: Command, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[People]:
    """A hardened app without people yet; its keys are UUIDs."""
    yield from _people(server, "uuid", secops, tmp_path_factory)


@pytest.fixture(params=KEY_TYPES)
def people_of_any_key(
    request: pytest.FixtureRequest,
    server: Server,
    secops: Command,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[People]:
    """The same, with keys of each type."""
    yield from _people(server, request.param, secops, tmp_path_factory)
