"""Killed, or cut off from its server, at any moment: the same command, run again, finishes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from support.databases import Database
from support.forked import Forked
from support.killing import die_at, list_into, lose_at
from support.schemas import APPS, App, dump, leftovers, shape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.servers import Server

MIGRATE = ("migrate", "--yes")
SAMPLE = 5


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


def statements(template: Database, folder: Path, *arguments: str) -> tuple[list[str], Database]:
    """Return the statements of a whole run, and the database that it leaves."""
    listed = folder / "statements"
    whole = copy(template)
    done = Forked(folder).on(whole)(*arguments, hook=list_into(listed))
    assert done.code == 0, done.err
    return listed.read_text(encoding="utf-8").splitlines(), whole


def some(said: list[str], *, everything: bool) -> list[int]:
    """Return numbers of statements: all, or some with those that record what was done."""
    points = range(1, len(said) + 1)
    if everything:
        return list(points)
    chosen = set(random.Random(len(said)).sample(points, SAMPLE))
    for number, text in enumerate(said, 1):
        if text.startswith("INSERT INTO") and "security_events" in text:
            chosen |= {number, number + 1}
    return sorted(chosen)


def converges(
    template: Database, folder: Path, fault: Callable[[int, Database], Any], *, everything: bool
) -> None:
    said, whole = statements(template, folder, *MIGRATE)
    assert len(said) > 100
    wanted, wanted_dump = shape(whole), dump(whole)
    for number in some(said, everything=everything):
        database = copy(template)
        on = Forked(folder).on(database)
        hurt = on(*MIGRATE, hook=fault(number, database))
        # A fault at the very end, or on a connection that is done with, harms nothing.
        assert hurt.code in {0, 7, 10, 137}, (number, hurt)
        again = on(*MIGRATE)
        assert again.code == 0, (number, hurt, again)
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
    said, base = statements(hardened, tmp_path, *down)
    empty = shape(base)
    for turn, number in enumerate(some(said, everything=False)):
        database = copy(hardened)
        on = Forked(tmp_path).on(database)
        hurt = on(*down, hook=die_at(number))
        assert hurt.code in {0, 137}, (number, hurt)
        if turn % 2:
            again = on(*MIGRATE)
            assert again.code == 0, (number, hurt, again)
            assert shape(database) == wanted, number
        else:
            # What is left to lose has changed: the run that died took a part of it.
            dry = on("migrate", "down", "base", "--dry-run", "--json").json()
            left = sum(item["count"] for item in dry["items"])
            again = on("migrate", "down", "base", "--yes", "--accept-loss", str(left))
            assert again.code == 0, (number, hurt, again)
            assert shape(database) == empty, number
        server.drop(database.name)
    server.drop(base.name)
