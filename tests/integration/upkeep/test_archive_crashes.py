"""Killed at any statement or any write to the disk: run again, each event is in one place, once."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import archives
from support.databases import Database
from support.event_tables import loose_ends
from support.forked import Forked
from support.stories import settled

ENV = {
    "SECOPS_RETENTION_INFORMATION": "30d",
    "SECOPS_RETENTION_SECURITY": "60d",
    "SECOPS_RETENTION_OPERATOR": "90d",
}
WORDS = ("prune", "events", "--yes", "--batch", "40", "--pause", "0", "--archive", "archive")
SAMPLE = 5


class Boundaries:
    """Counts statements and what is done to files alike; may end the process at one of them."""

    def __init__(self, at: int = 0, listed: Path | None = None) -> None:
        self.at, self.listed, self.now = at, listed, 0

    def __call__(self, number: int, _: Any, text: str) -> None:
        if number == 1:
            self._watch_files()
        self.reached(" ".join(text.split()))

    def reached(self, what: str) -> None:
        self.now += 1
        if self.listed is not None:
            with self.listed.open("a", encoding="utf-8") as file:
                file.write(what[:200] + "\n")
        if self.now == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _watch_files(self) -> None:
        from secops.archive import files

        def counted(name: str) -> Callable[..., Any]:
            done = getattr(files, name)

            def call(*args: Any) -> Any:
                self.reached(f"file {name} {args[0]}")
                if name == "write" and self.now + 1 == self.at:
                    # Half of it is on the disk when the process dies.
                    done(args[0], bytes(args[1])[: len(args[1]) // 2])
                    self.reached(f"file {name} {args[0]}, half of it")
                return done(*args)

            return call

        for name in ("write", "replace", "remove", "sync_folder"):
            setattr(files, name, counted(name))


def begin(database: Database, home: Path, *, partitioned: bool) -> None:
    if partitioned:
        archives.partition(database, Forked(home, ENV).on(database))
    archives.fill(database, 240)


def set_aside(database: Database) -> list[str]:
    """Return the events of partitions that are detached and not dropped yet."""
    found: list[str] = []
    for (table,) in database.execute(
        """SELECT c.oid::regclass::text FROM pg_class c
           JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = 0
           WHERE d.description LIKE 'secops: past its retention%%' AND
                 (NOT c.relispartition
                  OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid AND inhdetachpending))"""
    ):
        found += [row[0] for row in database.execute(f"SELECT to_jsonb(t)::text FROM {table} t")]
    return found


def nothing_lost(database: Database, before: list[str], folder: Path) -> None:
    """Assert, of any moment, that what is gone is archived and recorded."""
    there = set(archives.live(database)) | set(set_aside(database))
    gone = set(before) - there
    assert gone <= set(archives.archived(database, folder))
    assert told(database) == len(gone)


def told(database: Database) -> int:
    found: int = database.value(
        "SELECT coalesce(sum((metadata ->> 'deleted')::int), 0)::int FROM security_events"
        " WHERE event_type = 'events_pruned'"
    )
    return found


def ended(database: Database, before: list[str], run: Forked, folder: Path) -> None:
    """Assert that each event is in one place, once, and that nothing is left of what was begun."""
    kept = archives.archived(database, folder)
    assert sorted(kept + archives.live(database)) == sorted(before)
    assert told(database) == len(kept)
    assert loose_ends(database) == []
    assert set_aside(database) == []
    assert database.value(
        "SELECT count(*) FROM secops.operations WHERE finished_at IS NULL"
    ) == 0  # fmt: skip
    assert [path for path in folder.rglob(".*") if path.name != ".lock"] == []
    verified = run("archive", "verify", "archive")
    assert verified.code == 0, verified


def test_killed_at_some_boundaries(hardened: Database, tmp_path: Path) -> None:
    # With partitions on one major and without on the other; `make chaos` has both on both.
    partitioned = hardened.value("SELECT current_setting('server_version_num')::int >= 160000")
    campaign(hardened, tmp_path, partitioned=partitioned, sample=SAMPLE)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("partitioned", [False, True])
def test_killed_at_every_boundary(hardened: Database, tmp_path: Path, partitioned: bool) -> None:
    campaign(hardened, tmp_path, partitioned=partitioned, sample=None)


def campaign(template: Database, folder: Path, *, partitioned: bool, sample: int | None) -> None:
    home = folder / "whole"
    home.mkdir()
    begin(template, home, partitioned=partitioned)
    before = archives.live(template)
    database = Database(template.server, template.server.create(template.name))
    run = Forked(home, ENV).on(database)
    done = run(*WORDS, hook=Boundaries(listed=folder / "listed"))
    assert done.code == 0, done.err
    ended(database, before, run, home / "archive")
    template.server.drop(database.name)
    said = (folder / "listed").read_text(encoding="utf-8").splitlines()
    on_disk = [n for n, text in enumerate(said, 1) if text.startswith("file ")]
    assert len(on_disk) > 50
    points = list(range(1, len(said) + 1))
    if sample is not None:
        chance = random.Random(len(said))
        points = sorted({*chance.sample(on_disk, sample - 2), *chance.sample(points, 2)})
    for number in points:
        home = folder / str(number)
        home.mkdir()
        database = Database(template.server, template.server.create(template.name))
        run = Forked(home, ENV).on(database)
        hurt = run(*WORDS, hook=Boundaries(number))
        where = (number, said[number - 1], hurt)
        assert hurt.code == 137, where
        settled(database)
        try:
            nothing_lost(database, before, home / "archive")
            again = run(*WORDS)
            assert again.code == 0, again
            ended(database, before, run, home / "archive")
        except AssertionError as error:
            error.add_note(str(where))
            raise
        template.server.drop(database.name)
