"""Killed on the way down: the same command finishes, or the way up undoes what it did."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from support.databases import Database
from support.faults import changing, die_at, list_into
from support.forked import Forked
from support.schemas import shape

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers import Server

MIGRATE = ("migrate", "--yes")
SAMPLE = 5


def copy(template: Database) -> Database:
    return Database(template.server, template.server.create(template.name))


def statements(template: Database, folder: Path, *arguments: str) -> tuple[list[str], Database]:
    """Return the statements of a whole run, and the database that it leaves."""
    listed = folder / "statements"
    whole = copy(template)
    done = Forked(folder).on(whole)(*arguments, hook=list_into(listed))
    assert done.code == 0, done.err
    return listed.read_text(encoding="utf-8").splitlines(), whole


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
    points = random.Random(len(said)).sample(changing(said), SAMPLE)
    for turn, number in enumerate(points):
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
