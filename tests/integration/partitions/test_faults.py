"""Interrupted, overtaken by the calendar, kept waiting by others: the same command, run again, finishes."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from support.busy_app import at_work
from support.databases import Database
from support.event_tables import clock, fill, kind, loose_ends, partitions

if TYPE_CHECKING:
    from support.databases import Command
    from support.servers import Server

CONVERT = ("partition", "convert", "--yes")


@pytest.fixture
def plain(hardened: Database) -> Database:
    fill(hardened, 300)
    return hardened


def test_an_index_that_goes_on_being_built_after_the_kill_is_waited_for(
    process: Command, plain: Database
) -> None:
    """The server finishes what a killed client has begun."""
    on = process.on(plain)
    with plain.connect() as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM users")
        first = on.start(*CONVERT)
        until(plain, "SELECT count(*) FROM pg_stat_progress_create_index")
        first.send_signal(signal.SIGKILL)
        first.communicate()
        second = on.start(*CONVERT)
        until(
            plain,
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name ~ 'partition convert'",
        )
        time.sleep(2)
        assert second.poll() is None
        old.execute("ROLLBACK")
        out, err = second.communicate(timeout=60)
    assert second.returncode == 0, (out, err)
    assert kind(plain) == "p"
    assert loose_ends(plain) == []


def until(database: Database, query: str) -> None:
    deadline = time.monotonic() + 120
    while not database.value(query):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_interrupted_by_a_person_it_leaves_no_cutoff_behind(
    process: Command, plain: Database
) -> None:
    on = process.on(plain)
    with plain.connect() as old:
        # Proving and building go on beside this one; only the swap cannot.
        old.execute("BEGIN")
        old.execute("SELECT count(*) FROM security_events")
        running = on.start(*CONVERT)
        until(plain, "SELECT count(*) FROM pg_constraint WHERE conname = 'secops_new_pkey'"
                     " OR conname ~ 'secops_new'")  # fmt: skip
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
        assert running.returncode == 130, err
        old.execute("COMMIT")
    assert plain.value("SELECT count(*) FROM pg_constraint WHERE conname = 'secops_cutoff'") == 0
    assert on(*CONVERT).code == 0
    assert loose_ends(plain) == []


def forgotten(database: Database, left: timedelta) -> None:
    """Leave what a conversion leaves that was killed before its swap, and that nobody came back to."""
    at = clock(database) + left
    database.execute(
        f"""ALTER TABLE security_events ADD CONSTRAINT secops_cutoff
            CHECK (created_at IS NOT NULL AND created_at < '{at:%Y-%m-%d %H:%M:%S}+00') NOT VALID"""
    )


@pytest.mark.parametrize("hours", [-1, 3])
def test_a_cutoff_that_comes_near_is_told_of_and_the_next_run_moves_on(
    secops: Command, plain: Database, hours: int
) -> None:
    forgotten(plain, timedelta(hours=hours))
    on = secops.on(plain)
    status = on("partition", "status")
    assert status.code == 3
    assert "are refused" in status.err
    doctor = {each["id"]: each for each in on("doctor", "--json").json()["checks"]}["partitions"]
    assert doctor["status"] == "fail"
    assert "secops partition convert" in doctor["mend"]
    done = on(*CONVERT, "--json")
    assert done.code == 0, done.err
    bound = partitions(plain)["security_events_legacy"]
    until_ = re.search(r"TO \('(\S+)", bound)
    assert until_ is not None
    assert plain.value("SELECT %s::timestamptz - now() > interval '20 hours'", (until_[1],))
    assert loose_ends(plain) == []


def test_a_cutoff_that_is_far_is_kept(secops: Command, plain: Database) -> None:
    at = clock(plain).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    at = (at + timedelta(days=70)).replace(day=1)
    plain.execute(
        f"""ALTER TABLE security_events ADD CONSTRAINT secops_cutoff
            CHECK (created_at IS NOT NULL AND created_at < '{at:%Y-%m-%d}+00') NOT VALID"""
    )
    done = secops.on(plain)(*CONVERT)
    assert done.code == 0, done.err
    assert f"TO ('{at:%Y-%m-%d} 00:00:00+00')" in partitions(plain)["security_events_legacy"]
    assert secops.on(plain)("partition", "status").code == 0


def test_a_cutoff_that_comes_near_meanwhile_ends_what_takes_long(
    process: Command, plain: Database
) -> None:
    """Somebody's maintenance keeps us from building; then it is no longer safe to go on."""
    forgotten(plain, timedelta(hours=12, seconds=6))
    with plain.connect() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE security_events IN SHARE UPDATE EXCLUSIVE MODE")
        running = process.on(plain).start(*CONVERT)
        time.sleep(9)
        assert running.poll() is None
        other.execute("COMMIT")
    _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    bound = partitions(plain)["security_events_legacy"]
    # Another was drawn, which is the beginning of a month.
    assert bound.endswith("-01 00:00:00+00')")
    released = "SELECT count(*) FROM security_events WHERE metadata ->> 'direction' = 'release'"
    assert plain.value(released) == 1
    assert loose_ends(plain) == []


def test_a_cutoff_that_nobody_comes_back_to_is_given_up_by_cron(
    secops: Command, plain: Database
) -> None:
    forgotten(plain, timedelta(hours=2))
    done = secops.on(plain)("partition", "ahead", "--json")
    assert done.code == 0, done.err
    assert [each["step"] for each in done.json()["items"]] == ["Give up the cutoff"]
    assert loose_ends(plain) == []
    assert plain.value(
        "SELECT count(*) FROM security_events WHERE metadata ->> 'direction' = 'release'"
    )
    # One that is not near is somebody's who may be at it.
    forgotten(plain, timedelta(days=9))
    assert secops.on(plain)("partition", "ahead", "--json").json()["items"] == []


def test_a_reader_that_stays_is_named_and_the_app_hardly_waits(
    process: Command, plain: Database
) -> None:
    on = process.on(plain)
    with at_work(plain) as app, plain.connect() as old:
        old.execute("SET application_name = 'slow report'")
        old.execute("BEGIN")
        old.execute("SELECT count(*) FROM security_events")
        done = on(*CONVERT, "--json", "--lock-budget", "5s")
        assert done.code == 6, done.err
        error = done.error()
        assert "slow report" in error["message"]
        old.execute("COMMIT")
        again = on(*CONVERT)
        assert again.code == 0, again.err
    assert app.failed == []
    # The longest lock timeout that fits the budget is 300 ms; the rest is the machine's.
    assert app.longest < 1.5
    assert loose_ends(plain) == []


def test_an_autovacuum_gives_way(process: Command, plain: Database, server: Server) -> None:
    """A vacuum that the server has begun would outlast any lock timeout; it is asked to go."""
    with plain.connect() as conn:
        conn.execute("ALTER TABLE security_events SET (autovacuum_vacuum_threshold = 1,"
                     " autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100,"
                     " autovacuum_vacuum_cost_limit = 1)")  # fmt: skip
        conn.execute("INSERT INTO security_events (event_type, event_category, severity, success, message)"
                     " SELECT 'logout', 'session', 'info', true, repeat('x', 500)"
                     " FROM generate_series(1, 60000)")  # fmt: skip
        conn.execute("DELETE FROM security_events WHERE event_type = 'logout' AND random() < 0.5")
    vacuum = """SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'
                AND query ~ 'VACUUM.*security_events' AND datname = current_database()"""
    forgotten(plain, timedelta(hours=1))
    until(plain, vacuum)
    done = process.on(plain)("partition", "ahead", "--lock-budget", "8s")
    assert done.code == 0, done.err
    assert loose_ends(plain) == []
    assert server.log.read_text().count("canceling autovacuum task") >= 1


def test_of_several_runners_one_converts_and_all_succeed(process: Command, plain: Database) -> None:
    on = process.on(plain)
    running: list[subprocess.Popen[str]] = [on.start(*CONVERT) for _ in range(4)]
    ends = [each.communicate(timeout=120) for each in running]
    assert [each.returncode for each in running] == [0] * 4, ends
    assert (
        plain.value(
            "SELECT count(*) FROM security_events WHERE metadata ->> 'direction' = 'partition'"
        )
        == 1
    )
    assert loose_ends(plain) == []
