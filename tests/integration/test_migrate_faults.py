"""Killed, or cut off from its server, at any moment: the same command, run again, finishes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from support.databases import Database
from support.killing import count_into, die_at, lose_at, run
from support.schemas import APPS, App, dump, leftovers, shape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.servers import Server

MIGRATE = ("migrate", "--yes")
SAMPLE = 8


@pytest.fixture(params=["new", "by hand"])
def template(request: pytest.FixtureRequest, server: Server) -> Any:
    """A database before it is migrated, to copy from."""
    app: App = APPS["uuid"]
    made = Database(server, server.create())
    app.create(made)
    if request.param == "by hand":
        app.run_plan(made)
        app.use_plan(made)
    yield made
    server.drop(made.name)


def copy(template: Database) -> Database:
    return Database(template.server, template.server.create(template.name))


def statements(template: Database, folder: Path, *arguments: str) -> tuple[int, Database]:
    """Return how many statements a whole run takes, and the database that it leaves."""
    counted = folder / "counted"
    whole = copy(template)
    log = folder / "whole.log"
    assert run(whole, *arguments, log=log, hook=count_into(counted)) == 0, log.read_text()
    return int(counted.read_text()), whole


def some(total: int, *, everything: bool) -> list[int]:
    points = list(range(1, total + 1))
    return points if everything else sorted(random.Random(total).sample(points, SAMPLE))


def converges(
    template: Database, folder: Path, fault: Callable[[int, Database], Any], *, everything: bool
) -> None:
    total, whole = statements(template, folder, *MIGRATE)
    assert total > 100
    wanted, wanted_dump = shape(whole), dump(whole)
    for number in some(total, everything=everything):
        database = copy(template)
        log = folder / f"{number}.log"
        code = run(database, *MIGRATE, log=log, hook=fault(number, database))
        # A fault at the very end, or on a connection that is done with, harms nothing.
        assert code in {0, 7, 10, 137}, (number, code, log.read_text())
        assert run(database, *MIGRATE, log=log) == 0, (number, log.read_text())
        assert shape(database) == wanted, number
        assert leftovers(database) == [], number
        applied = database.execute(
            "SELECT metadata ->> 'revision', count(*) FROM security_events "
            "WHERE event_type = 'schema_migrated' GROUP BY 1 ORDER BY 1"
        )
        assert applied == [("0001", 1), ("0002", 1), ("0003", 1)], number
        if number % 10 == 0:
            assert dump(database) == wanted_dump, number
        database.server.drop(database.name)
    whole.server.drop(whole.name)


def test_killed_at_some_statement_the_same_command_finishes(
    template: Database, tmp_path: Path
) -> None:
    converges(template, tmp_path, lambda number, _: die_at(number), everything=False)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_killed_at_every_statement_the_same_command_finishes(
    template: Database, tmp_path: Path
) -> None:
    converges(template, tmp_path, lambda number, _: die_at(number), everything=True)


def test_cut_off_at_some_statement_the_same_command_finishes(
    template: Database, tmp_path: Path
) -> None:
    converges(template, tmp_path, lose_at, everything=False)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_cut_off_at_every_statement_the_same_command_finishes(
    template: Database, tmp_path: Path
) -> None:
    converges(template, tmp_path, lose_at, everything=True)


def test_killed_on_the_way_down_it_can_be_taken_back_or_redone(
    server: Server, hardened: Database, tmp_path: Path
) -> None:
    wanted = shape(hardened)
    losses = hardened.value("SELECT count(*) FROM security_events") + hardened.value(
        "SELECT count(*) FROM secops.operations"
    )
    down = ("migrate", "down", "base", "--yes", "--accept-loss", str(losses))
    total, base = statements(hardened, tmp_path, *down)
    empty = shape(base)
    for turn, number in enumerate(some(total, everything=False)):
        database = copy(hardened)
        log = tmp_path / f"{number}.log"
        code = run(database, *down, log=log, hook=die_at(number))
        assert code in {0, 137}, (number, log.read_text())
        if turn % 2:
            assert run(database, *MIGRATE, log=log) == 0, (number, log.read_text())
            assert shape(database) == wanted, number
        else:
            # What is left to lose has changed: the run that died took a part of it.
            left = count_losses(database, tmp_path)
            again = ("migrate", "down", "base", "--yes", "--accept-loss", str(left))
            assert run(database, *again, log=log) == 0, (number, log.read_text())
            assert shape(database) == empty, number
        server.drop(database.name)
    server.drop(base.name)


def count_losses(database: Database, folder: Path) -> int:
    import json

    log = folder / f"{database.name}.json"
    assert run(database, "migrate", "down", "base", "--dry-run", "--json", log=log) == 0
    return sum(item["count"] for item in json.loads(log.read_text())["items"])
