"""And back: the same plain table, no event lost, doubled or out of sight on the way."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.busy_app import at_work
from support.event_tables import events, fill, kind, later, loose_ends, partitions
from support.schemas import dump

if TYPE_CHECKING:
    from support.databases import Command, Database


def convert(secops: Command, database: Database) -> None:
    done = secops.on(database)("partition", "convert", "--yes")
    assert done.code == 0, done.err


def undone(secops: Command, database: Database) -> dict[str, Any]:
    done = secops.on(database)("partition", "undo", "--yes", "--json")
    assert done.code == 0, done.err
    assert loose_ends(database) == []
    assert kind(database) == "r"
    found: dict[str, Any] = done.json()
    return found


@pytest.mark.parametrize("nullable", [True, False])
def test_the_round_trip_leaves_the_schema_and_each_event_as_they_were(
    secops: Command, hardened: Database, nullable: bool
) -> None:
    fill(hardened)
    if not nullable:
        hardened.execute("ALTER TABLE security_events ALTER COLUMN created_at SET NOT NULL")
    before, rows = dump(hardened), events(hardened)
    file = hardened.value("SELECT pg_relation_filenode('security_events')")
    convert(secops, hardened)
    outcome = undone(secops, hardened)
    # What is told of the way there and back is of the table's own time.
    assert outcome["rows_moved"] == 0
    assert dump(hardened) == before
    assert events(hardened) == rows
    assert hardened.value("SELECT pg_relation_filenode('security_events')") == file
    assert secops.on(hardened)("migrate", "check").code == 0


def test_rows_of_newer_partitions_come_back(secops: Command, hardened: Database) -> None:
    fill(hardened)
    before = dump(hardened)
    convert(secops, hardened)
    later(hardened, 700, months=2)
    rows = events(hardened)
    dry = secops.on(hardened)("partition", "undo", "--dry-run", "--json").json()
    assert dry["rows_moved"] == 700
    assert kind(hardened) == "p"
    outcome = undone(secops, hardened)
    assert outcome["rows_moved"] == 700
    assert outcome["sql"] == dry["sql"]
    assert events(hardened) == rows
    assert dump(hardened) == before


def test_it_says_how_many_rows_move_before_it_is_told_yes(
    secops: Command, hardened: Database
) -> None:
    convert(secops, hardened)
    later(hardened, 70)
    before = partitions(hardened)
    done = secops.on(hardened)("partition", "undo")
    assert done.code == 8
    assert "moving 70 rows out of 3 partitions" in done.err
    assert partitions(hardened) == before


def test_what_the_whole_was_given_meanwhile_stays(secops: Command, hardened: Database) -> None:
    role = f"reader_{hardened.name}"
    try:
        hardened.execute(f"CREATE ROLE {role}; GRANT SELECT ON security_events TO {role}")
        convert(secops, hardened)
        hardened.execute(
            f"""REVOKE SELECT ON security_events FROM {role};
                GRANT SELECT (email), INSERT ON security_events TO {role};
                COMMENT ON TABLE security_events IS 'Partitions';
                ALTER TABLE security_events ADD COLUMN tenant text;
                CREATE INDEX by_tenant ON security_events (tenant)"""
        )
        undone(secops, hardened)
        assert hardened.execute(
            f"""SELECT has_table_privilege('{role}', oid, 'SELECT'),
                       has_table_privilege('{role}', oid, 'INSERT'),
                       has_column_privilege('{role}', oid, 'email', 'SELECT'),
                       obj_description(oid), to_regclass('by_tenant') IS NOT NULL
                FROM pg_class WHERE oid = 'security_events'::regclass"""
        ) == [(False, True, True, "Partitions", True)]
    finally:
        hardened.server.drop(hardened.name)
        with hardened.server.connect() as conn:
            conn.execute(f"DROP ROLE IF EXISTS {role}".encode())


def test_without_the_first_partition_the_largest_becomes_the_table(
    secops: Command, hardened: Database
) -> None:
    convert(secops, hardened)
    later(hardened, 900, months=1)
    hardened.execute("DROP TABLE security_events_legacy")
    later(hardened, 30, months=2)
    # Without a partition for now, not even the record of it had a place.
    assert secops.on(hardened)("partition", "ahead").code == 0
    rows = events(hardened)
    undone(secops, hardened)
    assert events(hardened) == rows
    assert secops.on(hardened)("migrate", "check").code == 0


def test_while_rows_move_each_is_seen_once_and_the_app_goes_on(
    process: Command, hardened: Database
) -> None:
    fill(hardened, 5000)
    convert(process, hardened)
    later(hardened, 30_000, months=2)
    total = len(events(hardened))
    counts: list[int] = []
    over = threading.Event()

    def count() -> None:
        while not over.is_set():
            counts.append(
                hardened.value("SELECT count(*) FROM security_events WHERE email IS DISTINCT FROM 'x'"
                               " AND ip_address IS DISTINCT FROM '203.0.113.7'"
                               " AND event_type <> 'schema_migrated'")
            )  # fmt: skip

    reader = threading.Thread(target=count)
    with at_work(hardened) as app:
        reader.start()
        try:
            undone(process, hardened)
        finally:
            over.set()
            reader.join()
    assert app.failed == []
    assert app.longest < 1.5
    assert set(counts) == {total}
    there = [row[0] for row in hardened.execute("SELECT id FROM security_events")]
    assert len(there) == len(set(there))
    assert set(app.written) <= set(there)


def test_ids_that_belong_to_two_events_are_counted_and_nothing_moves(
    secops: Command, hardened: Database
) -> None:
    fill(hardened, 100)
    convert(secops, hardened)
    later(hardened, 50, months=1)
    twice = "UPDATE security_events SET id = (SELECT id FROM security_events_legacy LIMIT 1) WHERE id = "
    hardened.execute(twice + "(SELECT id FROM security_events ORDER BY created_at DESC LIMIT 1)")
    rows, before = events(hardened), partitions(hardened)
    done = secops.on(hardened)("partition", "undo", "--yes")
    assert done.code == 5
    assert "1 ids belong to several events" in done.err
    assert (events(hardened), partitions(hardened)) == (rows, before)
    # The same within the first partition, which only building the key tells.
    hardened.execute(
        """DELETE FROM security_events WHERE created_at > now();
           INSERT INTO security_events (id, event_type, event_category, severity, success, created_at)
           SELECT id, 'logout', 'session', 'info', true, created_at - interval '1 day'
           FROM security_events_legacy WHERE event_type = 'login_failed' LIMIT 1"""
    )
    rows = events(hardened)
    done = secops.on(hardened)("partition", "undo", "--yes")
    assert done.code == 5, done.err
    assert "belong to several events" in done.err
    assert (events(hardened), partitions(hardened)) == (rows, before)
    assert loose_ends(hardened) == []


def test_a_detach_that_was_cut_short_is_finished_first(secops: Command, hardened: Database) -> None:
    convert(secops, hardened)
    half_detached(hardened)
    assert secops.on(hardened)("partition", "status").code == 3
    undone(secops, hardened)
    assert kind(hardened, "security_events_p2050_01") == "r"


def half_detached(database: Database) -> None:
    """Leave a partition half detached, as DETACH CONCURRENTLY does when it is cut short."""
    database.execute(
        """CREATE TABLE security_events_p2050_01 (LIKE security_events INCLUDING ALL);
           ALTER TABLE security_events ATTACH PARTITION security_events_p2050_01
               FOR VALUES FROM ('2050-01-01+00') TO ('2050-02-01+00')"""
    )
    with database.connect() as old, old.transaction():
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM security_events")
        with database.connect() as conn:
            conn.execute("SET lock_timeout = '300ms'")
            with pytest.raises(Exception, match="lock timeout"):
                conn.execute(
                    "ALTER TABLE security_events DETACH PARTITION security_events_p2050_01 CONCURRENTLY"
                )
    assert database.value("SELECT bool_or(inhdetachpending) FROM pg_inherits") is True


def test_nothing_to_undo_is_no_failure(secops: Command, hardened: Database) -> None:
    outcome = undone(secops, hardened)
    assert (outcome["changed"], outcome["undo"]) == (0, "")


def test_what_a_conversion_left_that_did_not_end_is_taken_away(
    secops: Command, hardened: Database
) -> None:
    fill(hardened, 100)
    before = dump(hardened)
    dry = secops.on(hardened)("partition", "convert", "--dry-run", "--json").json()["sql"]
    with hardened.connect() as conn:
        for statement in dry[:-2]:  # all but the swap and the statistics
            conn.execute(statement.encode())
    status = secops.on(hardened)("partition", "status")
    assert status.code == 3
    assert "a conversion has not ended" in status.err
    outcome = undone(secops, hardened)
    assert outcome["changed"] == 3
    assert dump(hardened) == before
    assert hardened.value(
        "SELECT count(*) FROM security_events WHERE metadata ->> 'direction' = 'release'"
    )
