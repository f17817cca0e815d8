"""Months ahead are made in time, beside whoever reads and writes; and what is amiss is said."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from secops.accounts.operations import Operation
from secops.schema import workplace
from secops.schema.detect import detect
from secops.schema.partitions.ahead import make_ahead
from secops.schema.partitions.months import later
from secops.schema.partitions.picture import months_ahead
from secops.schema.partitions.place import Partitioned
from support.event_tables import clock, kind, loose_ends, partitions
from support.schemas import shape

if TYPE_CHECKING:
    from support.databases import Command, Database


class Quiet:
    """An observer that nobody hears."""

    def ran(self, *_: object) -> None: ...
    def waiting(self, *_: object) -> None: ...


def made(database: Database, months: int = 3) -> list[str]:
    operation = Operation.begin(
        actor="cron", host="here", reason="", ticket="", command="cron cleanup"
    )
    budget = timedelta(seconds=20)
    return make_ahead(database.settings(), operation, Quiet(), budget=budget, months=months)


def reach(database: Database) -> int | None:
    with database.connect() as conn:
        return months_ahead(conn, detect(conn, database.settings()))


@pytest.fixture
def partitioned(secops: Command, hardened: Database) -> Database:
    done = secops.on(hardened)("partition", "convert", "--yes")
    assert done.code == 0, done.err
    return hardened


def test_as_many_months_are_made_as_are_asked_for(partitioned: Database) -> None:
    first = reach(partitioned)
    assert first is not None
    assert first >= 3
    assert len(made(partitioned, first + 4)) == 4
    assert reach(partitioned) == first + 4
    before = shape(partitioned)
    assert made(partitioned, first + 4) == []
    assert made(partitioned, 2) == []
    assert shape(partitioned) == before
    assert loose_ends(partitioned) == []
    rows = partitioned.execute(
        "SELECT metadata ->> 'partition' FROM security_events WHERE metadata ->> 'direction' = 'ahead'"
    )
    assert {row[0] for row in rows} <= set(partitions(partitioned))
    assert len(rows) == 4


def test_beside_an_open_reader_and_writer_nobody_waits(
    secops: Command, partitioned: Database
) -> None:
    with partitioned.connect() as old, old.transaction():
        old.execute("SELECT count(*) FROM security_events")
        old.execute(
            "INSERT INTO security_events (event_type, event_category, severity, success)"
            " VALUES ('logout', 'session', 'info', true)"
        )
        begun = time.monotonic()
        done = secops.on(partitioned)("partition", "ahead", "--months", "6", "--json")
        assert done.code == 0, done.err
        assert time.monotonic() - begun < 20
    # PARTITION OF would lock the whole against every reader, and have waited for this one.
    assert not any("PARTITION OF" in each for each in done.json()["sql"])
    assert (reach(partitioned) or 0) >= 6


def test_a_dry_run_shows_what_runs_and_changes_nothing(
    secops: Command, partitioned: Database
) -> None:
    before = shape(partitioned)
    done = secops.on(partitioned)("partition", "ahead", "--months", "9", "--dry-run", "--json")
    assert done.code == 0
    assert shape(partitioned) == before
    dry = done.json()
    assert len(dry["sql"]) == len(dry["items"]) > 3
    real = secops.on(partitioned)("partition", "ahead", "--months", "9", "--json").json()
    assert real["sql"] == dry["sql"]
    assert real["items"] == dry["items"]


def test_gaps_are_filled_whatever_made_them(partitioned: Database) -> None:
    now = clock(partitioned)
    there = list(partitions(partitioned))
    partitioned.execute(f"DROP TABLE {there[-2]}")
    # Half a month of somebody's own.
    half = later(now, 8)
    partitioned.execute(
        f"""CREATE TABLE weekly PARTITION OF security_events
            FOR VALUES FROM ('{half:%Y-%m}-08+00') TO ('{half:%Y-%m}-15+00')"""
    )
    made(partitioned, 10)
    assert reach(partitioned) == 10
    partitioned.execute(
        f"""INSERT INTO security_events (event_type, event_category, severity, success, created_at)
            SELECT 'logout', 'session', 'info', true, day
            FROM generate_series(now(), '{later(now, 11):%Y-%m-%d}'::timestamptz - interval '1 hour',
                                 '1 day') AS day"""
    )


def test_when_no_partition_takes_the_events_of_now_they_come_first(
    secops: Command, partitioned: Database
) -> None:
    for name in partitions(partitioned):
        partitioned.execute(f"DROP TABLE {name}")
    on = secops.on(partitioned)
    status = on("partition", "status")
    assert status.code == 3
    assert "no partition takes the events of now" in status.err
    doctor = {each["id"]: each for each in on("doctor", "--json").json()["checks"]}
    assert doctor["partitions"]["status"] == "fail"
    assert doctor["partitions"]["mend"] == "secops partition ahead"
    done = on("partition", "ahead")
    assert done.code == 0, done.err
    assert reach(partitioned) == 3
    assert on("partition", "status").code == 0


def test_few_months_ahead_are_a_finding(secops: Command, partitioned: Database) -> None:
    names = list(partitions(partitioned))
    partitioned.execute(f"DROP TABLE {names[-1]}")
    if reach(partitioned) == 3:  # at the end of a month one more was made
        partitioned.execute(f"DROP TABLE {names[-2]}")
    done = secops.on(partitioned)("partition", "status", "--json")
    assert done.code == 3
    assert done.json()["months_ahead"] == 2
    assert "only 2 of 3 months ahead" in done.error()["message"]
    doctor = secops.on(partitioned)("doctor", "--json").json()["checks"]
    assert {each["id"]: each["status"] for each in doctor}["partitions"] == "warn"


def test_a_default_partition_is_refused_and_never_made(
    secops: Command, partitioned: Database
) -> None:
    assert not any("DEFAULT" in bound for bound in partitions(partitioned).values())
    partitioned.execute("CREATE TABLE rest PARTITION OF security_events DEFAULT")
    assert secops.on(partitioned)("partition", "status").code == 3
    done = secops.on(partitioned)("partition", "ahead", "--months", "9")
    assert done.code == 5
    assert "DEFAULT" in done.err
    statement = done.err.split("Detach it (")[1].split(")")[0]
    partitioned.execute(statement)
    assert secops.on(partitioned)("partition", "ahead", "--months", "9").code == 0
    assert not any("DEFAULT" in bound for bound in partitions(partitioned).values())


def test_a_plain_table_needs_no_months_ahead(secops: Command, hardened: Database) -> None:
    before = shape(hardened)
    done = secops.on(hardened)("partition", "ahead")
    assert done.code == 0
    assert "plain table" in done.out
    assert reach(hardened) is None
    assert made(hardened) == []
    assert shape(hardened) == before


@pytest.mark.parametrize("timezone", ["America/Los_Angeles", "Asia/Kathmandu"])
def test_boundaries_are_utc_whatever_the_time_zone(
    secops: Command, hardened: Database, timezone: str
) -> None:
    hardened.execute(f"ALTER DATABASE {hardened.name} SET timezone = '{timezone}'")
    hardened.execute(f"ALTER DATABASE {hardened.name} SET datestyle = 'SQL, DMY'")
    on = secops.on(hardened)
    assert on("partition", "convert", "--yes").code == 0
    assert on("partition", "ahead", "--months", "5").code == 0
    starts = hardened.execute(
        """SELECT DISTINCT to_char((regexp_match(pg_get_expr(c.relpartbound, c.oid),
                                                 'FROM .''([^'']*)'''))[1]::timestamptz AT TIME ZONE 'UTC',
                                   'DD HH24:MI:SS')
           FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'security_events'::regclass AND c.relname <> 'security_events_legacy'"""
    )
    assert starts == [("01 00:00:00",)]
    with workplace.opened(Partitioned, hardened.settings(), "test") as place:
        assert place.picture().months_ahead == 5
    assert on("partition", "convert", "--yes", "--json").json()["changed"] == 0
    assert on("partition", "undo", "--yes").code == 0
    assert kind(hardened) == "r"
