"""Migrations on partitions: an index is built part by part beside the app, and all can be taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from secops.database.connection import connect
from secops.database.locks import one_runner
from secops.schema.detect import detect
from secops.schema.indexes import create_index
from secops.schema.runner import Runner
from secops.schema.site import survey
from secops.schema.steps import Lock, State
from support.event_tables import events, fill, later, loose_ends, partitions
from support.schemas import leftovers, shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.databases import Command, Database

INDEX = create_index("public", "security_events", "idx_by_address", "(ip_address, created_at DESC)")


@pytest.fixture
def partitioned(secops: Command, hardened: Database) -> Database:
    fill(hardened, 300)
    done = secops.on(hardened)("partition", "convert", "--yes")
    assert done.code == 0, done.err
    later(hardened, 50)
    return hardened


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def ran(self, _: object, statement: str, __: object) -> None:
        self.said.append(statement)

    def waiting(self, *_: object) -> None: ...


@pytest.fixture
def runner(partitioned: Database) -> Iterator[Runner]:
    settings = partitioned.settings()
    with (
        connect(settings, "test") as work,
        one_runner(lambda: connect(settings, "test"), "migrate") as held,
    ):
        yield Runner(
            site=survey(work, detect(work, settings)),
            work=work,
            watch=lambda: connect(settings, "test"),
            held=held,
            observer=Heard(),
            lock_timeout=timedelta(milliseconds=100),
            budget=timedelta(seconds=20),
        )


def test_an_index_is_built_beside_the_app_and_is_one_for_all_partitions(
    partitioned: Database, runner: Runner
) -> None:
    planned = INDEX.probe(runner.work)
    assert planned.state is State.ABSENT
    with partitioned.connect() as old, old.transaction():
        # An open reader and writer of the newest partition: nobody waits for either.
        old.execute("SELECT count(*) FROM security_events WHERE created_at < now()")
        runner.do(INDEX)
    assert isinstance(runner.observer, Heard)
    said = runner.observer.said
    assert said[0].startswith("CREATE INDEX")
    assert "ON ONLY" in said[0]
    parts = partitions(partitioned)
    assert sum("CREATE INDEX CONCURRENTLY" in each for each in said) == len(parts)
    assert sum("ATTACH PARTITION" in each for each in said) == len(parts)
    # What was planned is what ran, each under its kind of lock.
    assert [each.as_string() for each in INDEX.statements(planned)] == said
    assert [lock is Lock.LONG for lock in INDEX.locks(planned)] == [
        "CONCURRENTLY" in each for each in said
    ]
    assert partitioned.execute(
        """SELECT indisvalid, (SELECT count(*) FROM pg_inherits WHERE inhparent = indexrelid)
           FROM pg_index WHERE indexrelid = 'idx_by_address'::regclass"""
    ) == [(True, len(parts))]
    runner.undo(INDEX)
    assert INDEX.probe(runner.work).state is State.ABSENT
    assert loose_ends(partitioned) == [("lock", str(partitioned.value(HOLDER)))]


HOLDER = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' LIMIT 1"


@pytest.mark.parametrize("begun", [1, 2, 3, 4, 6])
def test_an_index_that_was_begun_is_finished(
    partitioned: Database, runner: Runner, begun: int
) -> None:
    for statement in INDEX.statements(INDEX.probe(runner.work))[:begun]:
        runner.work.execute(statement)
    # The next part's build was cut short.
    part = max(partitions(partitioned))
    partitioned.execute(
        f"""CREATE INDEX "{part}_idx_by_address" ON {part} (ip_address, created_at DESC);
            UPDATE pg_index SET indisvalid = false
            WHERE indexrelid = '{part}_idx_by_address'::regclass"""
    )
    assert INDEX.probe(runner.work).state is State.PARTIAL
    runner.do(INDEX)
    assert INDEX.probe(runner.work).state is State.DONE
    assert [row for row in leftovers(partitioned) if row[0] == "index"] == []


def test_whoever_holds_the_lock_holds_no_snapshot(partitioned: Database, runner: Runner) -> None:
    """Or an index that is built concurrently would wait for our own lock, and vacuum be held back."""
    assert runner.held is not None
    holder = "SELECT backend_xid, backend_xmin FROM pg_stat_activity WHERE pid = "
    assert partitioned.execute(f"{holder} ({HOLDER})") == [(None, None)]


def test_another_index_of_that_name_is_told_apart(partitioned: Database, runner: Runner) -> None:
    partitioned.execute("CREATE INDEX idx_by_address ON security_events (email)")
    finding = INDEX.probe(runner.work)
    assert finding.state is State.DIFFERENT
    assert "(email)" in finding.difference


def test_drift_on_partitions_is_seen_and_mended(secops: Command, partitioned: Database) -> None:
    wanted = shape(partitioned)
    newest = max(partitions(partitioned))
    partitioned.execute(
        f"""DROP INDEX idx_security_events_user;
            ALTER TABLE {newest} RESET (autovacuum_vacuum_insert_scale_factor)"""
    )
    on = secops.on(partitioned)
    check = on("migrate", "check", "--json")
    assert check.code == 3
    assert {row["step"] for row in check.json()} == {
        "Tune vacuum of security_events",
        "Build index idx_security_events_user",
    }
    done = on("migrate", "--yes")
    assert done.code == 0, done.err
    assert on("migrate", "check").code == 0
    # The parts of the index have other names than those that were made with the partitions.
    kept = [row for row in shape(partitioned) if row[0] not in {"index", "table"}]
    assert kept == [row for row in wanted if row[0] not in {"index", "table"}]
    assert leftovers(partitioned) == []


def test_migrations_go_down_and_up_again(secops: Command, partitioned: Database) -> None:
    on = secops.on(partitioned)
    rows = events(partitioned)
    done = on("migrate", "down", "0002", "--yes", "--accept-loss", "0")
    assert done.code == 0, done.err
    assert (
        partitioned.value("SELECT count(*) FROM pg_class WHERE relname ~ '^idx_security_events'")
        == 0
    )
    assert on("migrate", "--yes").code == 0
    assert on("migrate", "check").code == 0
    assert events(partitioned) == rows
    everything = partitioned.value("SELECT count(*) FROM security_events") + partitioned.value(
        "SELECT count(*) FROM secops.operations"
    )
    done = on("migrate", "down", "base", "--yes", "--accept-loss", str(everything))
    assert done.code == 0, done.err
    assert partitioned.value("SELECT count(*) FROM pg_class WHERE relname ~ 'security_events'") == 0


def test_a_column_added_later_is_in_every_partition(secops: Command, partitioned: Database) -> None:
    partitioned.execute("ALTER TABLE security_events ADD COLUMN tenant text NOT NULL DEFAULT 'one'")
    on = secops.on(partitioned)
    assert on("partition", "ahead", "--months", "8").code == 0
    assert on("migrate", "check").code == 0
    done = on("partition", "undo", "--yes")
    assert done.code == 0, done.err
    assert partitioned.value("SELECT count(*) FROM security_events WHERE tenant = 'one'") >= 350
