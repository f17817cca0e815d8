"""What every test may ask for: servers, databases, the command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from support.databases import Command, Database, create_app
from support.forked import Forked
from support.servers import Server, majors

_SERVERS: dict[str, Server] = {}
_TEMPLATES: dict[tuple[str, str], str] = {}

# A property does not become false on a busy machine.
hypothesis.settings.register_profile("secops", deadline=None)
hypothesis.settings.load_profile("secops")

# The tests are isolated from whoever runs them.
for _name in list(os.environ):
    if _name.startswith(("SECOPS_", "PG")) or _name in {"DATABASE_URL", "MAX_LOGIN_ATTEMPTS"}:
        del os.environ[_name]


def pytest_report_header() -> str:
    """Say which majors the tests run against."""
    return "PostgreSQL: " + ", ".join(f"{name} ({path})" for name, path in majors().items())


def pytest_sessionfinish() -> None:
    """Stop the servers that this process started."""
    for server in _SERVERS.values():
        server.destroy()
    _SERVERS.clear()


@pytest.fixture(scope="session", params=sorted(majors()))
def server(request: pytest.FixtureRequest) -> Server:
    """A private server of each major, started once and kept for the session."""
    name: str = request.param
    if name not in _SERVERS:
        _SERVERS[name] = Server(majors()[name])
    return _SERVERS[name]


@pytest.fixture
def secops(request: pytest.FixtureRequest, tmp_path: Path) -> Command:
    """The command, without a database; ``secops.on(database)`` gives it one.

    It runs in a fork of this process, at a tenth of what a start costs, or in a process of its own where
    the test is marked ``own_process``: what is tested is the process itself, or threads call it.
    """
    home = tmp_path / "home"
    home.mkdir()
    return (Command if request.node.get_closest_marker("own_process") else Forked)(home)


@pytest.fixture
def process(secops: Command) -> Command:
    """The command in a process of its own, for the part of a test that needs one."""
    return Command(secops.home, secops.env)


def _from(server: Server, template: str) -> Iterator[Database]:
    database = Database(server, server.create(template))
    yield database
    server.drop(database.name)


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """A fresh, empty database."""
    yield from _from(server, "template1")


@pytest.fixture
def app_db(server: Server) -> Iterator[Database]:
    """A database with the demo app's users, and nothing of secops."""
    yield from _from(server, _template(server, "app"))


@pytest.fixture
def hardened(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The demo app's database after ``secops migrate``."""
    key = (str(server.folder), "hardened")
    if key not in _TEMPLATES:
        made = Database(server, server.create(_template(server, "app"), name="template_hardened"))
        done = Command(tmp_path_factory.mktemp("home")).on(made)("migrate", "--yes")
        assert done.code == 0, done.err
        _TEMPLATES[key] = made.name
    yield from _from(server, _TEMPLATES[key])


def _template(server: Server, name: str) -> str:
    key = (str(server.folder), name)
    if key not in _TEMPLATES:
        made = Database(server, server.create(name=f"template_{name}"))
        create_app(made)
        _TEMPLATES[key] = made.name
    return _TEMPLATES[key]
