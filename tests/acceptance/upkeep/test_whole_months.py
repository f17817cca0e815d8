"""``prune events`` on partitions: a month that holds nothing that must stay goes as a whole."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psycopg
import pytest

from support import archives
from support.databases import Command, Database
from support.event_tables import loose_ends, partitions
from support.forked import Forked, Hook
from support.servers import majors
from support.stories import settled

# Where the server's version cannot matter.
ONE = pytest.mark.parametrize("server", [max(majors())], indirect=True)

ENV = {
    "SECOPS_RETENTION_INFORMATION": "30d",
    "SECOPS_RETENTION_SECURITY": "60d",
    "SECOPS_RETENTION_OPERATOR": "70d",
}
PRUNE = ("prune", "events", "--yes", "--json")
TOLD = """
    SELECT metadata ->> 'partition', (metadata ->> 'deleted')::int FROM security_events
    WHERE event_type = 'events_pruned' ORDER BY created_at, 1
"""
MONTH = """
    SELECT 'security_events_p' || to_char((date_trunc('month', now(), 'UTC') - interval '%s months')
                                          AT TIME ZONE 'UTC', 'YYYY_MM')
"""


def month(database: Database, ago: int) -> str:
    """Return the name of an old month's partition."""
    found: str = database.value(MONTH % ago)
    return found


def rows_of(database: Database, table: str) -> int:
    found: int = database.value(f"SELECT count(*)::int FROM {table}")
    return found


@pytest.fixture
def old(hardened: Database, secops: Command) -> Database:
    archives.partition(hardened, secops.on(hardened))
    archives.fill(hardened, 300)
    return hardened


def no_time_for(text: str) -> Hook:
    """Return a hook that kills the process before a statement that begins so."""

    def hook(_: int, __: psycopg.Connection[Any], said: str) -> None:
        if " ".join(said.split()).startswith(text):
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def test_what_a_dry_run_lists_is_dropped_and_told(secops: Command, old: Database) -> None:
    run = secops.on(old, **ENV)
    there, before = partitions(old), archives.live(old)
    would = run("prune", "events", "--dry-run", "--json").json()
    assert (partitions(old), archives.live(old)) == (there, before)
    listed = {each["partition"]: each["rows"] for each in would["partitions"]}
    # Days go by and months are not equally long: of five old months two or three are past 60 days whole.
    assert {month(old, 5), month(old, 4)} <= set(listed) <= {month(old, n) for n in (5, 4, 3)}
    assert listed == {name: rows_of(old, name) for name in listed}
    did = run(*PRUNE, "--reason", "policy").json()
    assert {each["partition"]: each["rows"] for each in did["partitions"]} == listed
    assert did["changed"] == would["changed"] == len(before) - len(archives.live(old))
    assert set(there) - set(partitions(old)) == set(listed)
    told = old.execute(TOLD)
    assert {name: rows for name, rows in told if name} == listed
    assert sum(rows for _, rows in told) == did["changed"]
    finished = old.execute(
        "SELECT changed, detail -> 'partitions' -> 0 ->> 'partition' FROM secops.operations"
        " WHERE action = 'prune events'"
    )
    assert finished == [(did["changed"], did["partitions"][0]["partition"])]
    assert loose_ends(old) == []
    people = run("prune", "events", "--dry-run")
    assert "Would delete 0 events" in people.out


@ONE
def test_a_month_with_something_that_must_stay_is_no_whole(secops: Command, old: Database) -> None:
    oldest, next_ = month(old, 5), month(old, 4)
    old.execute(
        f"UPDATE {oldest} SET email = 'Carol@example.com', user_id = NULL"
        f" WHERE id = (SELECT id FROM {oldest} LIMIT 1)"
    )
    run = secops.on(old, **ENV)
    (run.home / "secops.yaml").write_text("retention:\n  holds_file: holds.txt\n", "utf-8")
    (run.home / "holds.txt").write_text("carol@example.com\n", "utf-8")
    did = run(*PRUNE).json()
    assert oldest not in [each["partition"] for each in did["partitions"]]
    assert next_ in [each["partition"] for each in did["partitions"]]
    assert rows_of(old, oldest) == 1
    assert did["held"] == 1


@ONE
def test_a_class_that_stays_keeps_its_month(secops: Command, old: Database) -> None:
    run = secops.on(old, **ENV)
    did = run(*PRUNE, "--class", "information").json()
    assert did["partitions"] == []
    assert rows_of(old, month(old, 5)) > 0
    # What is left there is security's alone, and goes with the month.
    did = run(*PRUNE, "--class", "security").json()
    assert month(old, 5) in [each["partition"] for each in did["partitions"]]


@pytest.mark.own_process
@pytest.mark.parametrize(
    ("server", "ending"),
    list(zip(sorted(majors()), ["prune", "cron"], strict=False)),
    indirect=["server"],
)
def test_a_detach_that_was_cut_short_is_finished_by_the_next_run(
    secops: Command, old: Database, ending: str
) -> None:
    run = secops.on(old, **ENV)
    pending = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
    with old.connect() as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM security_events")
        first = run.start("prune", "events", "--yes")
        deadline = time.monotonic() + 60
        while not old.value(pending):
            assert time.monotonic() < deadline
        # It waits for the reader, names it, and keeps nobody waiting.
        with old.connect() as app:
            app.execute("SET lock_timeout = '1s'")
            app.execute(
                "INSERT INTO security_events (event_type, event_category, severity, success)"
                " VALUES ('login_success', 'authentication', 'info', true)"
            )
            assert app.execute("SELECT count(*) FROM security_events").fetchone()
        time.sleep(2.5)
        first.send_signal(signal.SIGKILL)
        _, said = first.communicate(timeout=60)
        assert "Waiting. Detach" in said
        assert f"pid {reader.info.backend_pid}" in said
        old.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'secops/%' AND datname = current_database()"
        )
        assert old.value(pending) == 1
        reader.execute("ROLLBACK")
    settled(old)
    assert "half gone" in run("prune", "events", "--dry-run").out
    again = run("prune", "events", "--yes") if ending == "prune" else run("cron", "cleanup")
    assert again.code == 0, again.err
    assert loose_ends(old) == []
    assert month(old, 5) not in partitions(old)
    assert sum(rows for _, rows in old.execute(TOLD)) == 300 + 1 - len(archives.live(old))


def test_what_was_detached_and_must_stay_is_attached_again_as_it_was(
    secops: Command, old: Database
) -> None:
    oldest = month(old, 5)
    facts = """
        SELECT obj_description(oid, 'pg_class'), pg_get_expr(relpartbound, oid),
               ARRAY(SELECT conname::text FROM pg_constraint WHERE conrelid = c.oid ORDER BY 1)
        FROM pg_class c WHERE relname = %s
    """
    before = old.execute(facts, (oldest,))
    old.execute(
        f"UPDATE {oldest} SET email = 'carol@example.com', user_id = NULL"
        f" WHERE id = (SELECT id FROM {oldest} LIMIT 1)"
    )
    run = secops.on(old, **ENV)
    assert isinstance(run, Forked)
    assert run(*PRUNE, hook=no_time_for("DROP TABLE")).code == 137
    settled(old)
    assert oldest not in partitions(old)
    (run.home / "secops.yaml").write_text("retention:\n  holds_file: holds.txt\n", "utf-8")
    (run.home / "holds.txt").write_text("carol@example.com\n", "utf-8")
    done = run(*PRUNE)
    assert done.code == 0, done.err
    assert f"{oldest} is kept as a partition: 1 event in it must stay." in done.err
    assert old.execute(facts, (oldest,)) == before
    assert rows_of(old, oldest) == 1
    assert loose_ends(old) == []


@ONE
def test_where_nothing_says_any_more_how_long_events_stay_it_comes_back(
    secops: Command, old: Database
) -> None:
    there, before = partitions(old), archives.live(old)
    run = secops.on(old, **ENV)
    assert isinstance(run, Forked)
    assert run(*PRUNE, hook=no_time_for("DROP TABLE")).code == 137
    settled(old)
    assert f"{month(old, 5)} was detached to be dropped" in secops.on(old)("doctor").out
    done = secops.on(old)("cron", "cleanup")
    assert done.code == 0, done.err
    assert "attached" in done.out
    assert (partitions(old), archives.live(old)) == (there, before)
    assert secops.on(old)("cron", "cleanup").out == ""


@ONE
def test_where_a_month_cannot_be_dropped_its_rows_are_deleted_and_that_is_said(
    secops: Command, old: Database
) -> None:
    oldest = month(old, 5)
    old.execute(f"CREATE VIEW looks_at_it AS SELECT * FROM {oldest}")
    run = secops.on(old, **ENV)
    done = run(*PRUNE)
    assert done.code == 0, done.err
    assert f"{oldest} is not dropped as a whole: the view public.looks_at_it depends" in done.err
    assert (rows_of(old, oldest), oldest in partitions(old)) == (0, True)
    assert loose_ends(old) == []
    old.execute("CREATE TABLE rest PARTITION OF security_events DEFAULT")
    old.execute("DROP VIEW looks_at_it")
    done = run(*PRUNE)
    assert done.code == 0, done.err
    assert (
        "Partitions are not dropped as a whole: the table has a DEFAULT partition (rest)"
        in done.err
    )
    assert oldest in partitions(old)


@ONE
def test_when_time_is_up_or_it_is_paused_no_month_goes_and_the_next_run_goes_on(
    secops: Command, old: Database
) -> None:
    run = secops.on(old, **ENV)
    there = partitions(old)
    (run.home / "pause").touch()
    paused = run(*PRUNE, "--pause-file", "pause", "--max-duration", "1s")
    assert (paused.code, paused.json()["complete"]) == (0, False)
    assert "pause is there" in paused.err
    assert partitions(old) == there
    with old.connect() as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM security_events")
        begun = time.monotonic()
        late = run(*PRUNE, "--max-duration", "2s")
        assert time.monotonic() - begun < 30
        assert (late.code, late.json()["complete"]) == (0, False)
        assert f"{month(old, 5)} is not detached yet; the next run finishes that." in late.err
        reader.execute("ROLLBACK")
    assert old.value("SELECT count(*)::int FROM pg_inherits WHERE inhdetachpending") == 1
    assert run(*PRUNE).json()["complete"] is True
    assert month(old, 5) not in partitions(old)
    assert loose_ends(old) == []
    assert sum(rows for _, rows in old.execute(TOLD)) == 300 - len(archives.live(old))
