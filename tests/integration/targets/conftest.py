"""A fake of each platform, started once, and a target that points at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.fakes.heroku import FakeHeroku
from support.fakes.kubernetes import FakeKubernetes
from support.fakes.railway import FakeRailway
from support.fakes.render import FakeRender
from support.fakes.server import Fake
from support.targets import opened

FAKES: dict[str, type[Fake]] = {
    each.kind: each for each in (FakeRailway, FakeHeroku, FakeKubernetes, FakeRender)
}


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Fake]]:
    running = {kind: make() for kind, make in FAKES.items()}
    yield running
    for each in running.values():
        each.close()


def fresh(servers: dict[str, Fake], kind: str) -> Fake:
    fake = servers[kind]
    fake.reset({"JWT_EXPIRATION": "1h", "KEPT": "as it was"})
    return fake


@pytest.fixture(params=sorted(FAKES))
def fake(servers: dict[str, Fake], request: pytest.FixtureRequest) -> Fake:
    """Each platform."""
    return fresh(servers, request.param)


@pytest.fixture
def railway(servers: dict[str, Fake]) -> Any:
    return fresh(servers, "railway")


@pytest.fixture
def heroku(servers: dict[str, Fake]) -> Any:
    return fresh(servers, "heroku")


@pytest.fixture
def kubernetes(servers: dict[str, Fake]) -> Any:
    return fresh(servers, "kubernetes")


@pytest.fixture
def render(servers: dict[str, Fake]) -> Any:
    return fresh(servers, "render")


@pytest.fixture
def target(fake: Fake) -> Any:
    """A target that points at the fake; it waits for nothing."""
    return opened(fake)
