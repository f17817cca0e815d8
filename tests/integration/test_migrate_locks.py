"""Migrating beside others: whoever holds locks, other runners."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.schemas import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.databases import Command, Database


@contextmanager
def holding(database: Database, *statements: str) -> Iterator[int]:
    """Hold what the statements take, in an open transaction; yields the session's pid."""
    with database.connect() as conn, conn.transaction():
        conn.execute("SET LOCAL application_name = 'slow report'")
        for statement in statements:
            conn.execute(statement.encode())
        yield conn.info.backend_pid


@contextmanager
def app_reading(database: Database) -> Iterator[list[float]]:
    """Read users without a pause, as the app does; yields how long each read took."""
    took: list[float] = []
    over = threading.Event()

    def read() -> None:
        with database.connect() as conn:
            while not over.is_set():
                started = time.monotonic()
                conn.execute("SELECT count(*) FROM users")
                took.append(time.monotonic() - started)
                time.sleep(0.001)

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            yield took
        finally:
            over.set()
        for reader in readers:
            reader.result()


def test_an_open_reader_ends_in_busy_with_its_name_and_the_app_hardly_waits(
    secops: Command, app_db: Database
) -> None:
    with (
        holding(app_db, "SELECT count(*) FROM users") as pid,
        app_reading(app_db) as took,
    ):
        done = secops.on(app_db)("migrate", "--yes", "--json", "--lock-budget", "4s")
    assert done.code == 6, done.err
    error = done.error()
    assert f"pid {pid} (slow report" in error["message"]
    assert error["details"]["blockers"][0]["pid"] == pid
    assert "pg_terminate_backend" in error["hint"]
    notes = [json.loads(line)["note"] for line in done.err.splitlines() if '"note"' in line]
    assert any("Waiting" in note for note in notes)
    # The last lock timeout that fits this budget is 300 ms; the rest is what the machine adds.
    assert len(took) > 100
    assert max(took) < 0.6
    # What was done stands, and the rest follows.
    assert secops.on(app_db)("migrate", "--yes").code == 0
    assert leftovers(app_db) == []


def test_a_reader_that_ends_is_waited_for(secops: Command, app_db: Database) -> None:
    waits = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name LIKE 'secops/%' AND wait_event_type = 'Lock'"
    )

    def hold() -> None:
        with holding(app_db, "SELECT count(*) FROM users"), app_db.connect() as look:
            deadline = time.monotonic() + 60
            while look.execute(waits).fetchone() == (0,):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(2)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        time.sleep(0.2)
        done = secops.on(app_db)("migrate", "--yes")
        held.result()
    assert done.code == 0, done.err
    assert "slow report" in done.err


def test_an_old_snapshot_that_an_index_waits_for_is_named(
    secops: Command, app_db: Database
) -> None:
    app_db.execute("CREATE TABLE other (id int)")

    def hold() -> int:
        with holding(
            app_db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM other"
        ) as pid:
            time.sleep(6)
            return pid

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        time.sleep(0.2)
        done = secops.on(app_db)("migrate", "--yes")
        pid = held.result()
    assert done.code == 0, done.err
    assert f"pid {pid} (slow report" in done.err
    assert leftovers(app_db) == []


def test_whoever_holds_a_table_against_readers_is_named_too(
    secops: Command, hardened: Database
) -> None:
    hardened.execute("DROP INDEX idx_security_events_user")
    with holding(hardened, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE") as pid:
        # Even the catalogue's own functions wait for such a lock: for a plan not long, for a run till
        # its budget ends.
        assert secops.on(hardened)("migrate", "plan").code == 6
        done = secops.on(hardened)("migrate", "--yes", "--json", "--lock-budget", "1s")
    assert done.code == 6, done
    assert [each["pid"] for each in done.error()["details"]["blockers"]] == [pid]
    assert secops.on(hardened)("migrate", "--yes").code == 0


def test_a_runner_that_never_ends_is_named(secops: Command, app_db: Database) -> None:
    with holding(app_db, "SELECT pg_advisory_xact_lock(24256, 1)") as pid:
        done = secops.on(app_db)("migrate", "--yes", "--lock-budget", "1s")
    assert done.code == 6
    assert f"pid {pid}" in done.err
    assert app_db.execute("SELECT FROM pg_namespace WHERE nspname = 'secops'") == []


def test_another_sessions_build_of_our_index_is_waited_for(
    secops: Command, hardened: Database
) -> None:
    hardened.execute("DROP INDEX idx_security_events_user")
    with ThreadPoolExecutor(2) as pool:
        with holding(
            hardened,
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "SELECT count(*) FROM users",
        ):
            build = pool.submit(
                hardened.execute,
                "CREATE INDEX CONCURRENTLY idx_security_events_user "
                "ON security_events (user_id, created_at DESC)",
            )
            time.sleep(0.5)
            migrate = pool.submit(secops.on(hardened), "migrate", "--yes", "--json")
            time.sleep(4)
            assert not migrate.done()
            assert not build.done()
        build.result()
        done = migrate.result()
    assert done.code == 0, done.err
    assert "another session is building it" in done.err
    # What the other one built is taken as it is.
    assert done.json()["changed"] == 0
    assert leftovers(hardened) == []


def test_ctrl_c_in_a_build_leaves_what_the_next_run_repairs(
    secops: Command, app_db: Database
) -> None:
    import signal

    with holding(
        app_db, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM users"
    ):
        app_db.execute(
            "CREATE TABLE refresh_tokens (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "
            "user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE, "
            "token_hash varchar(255) NOT NULL UNIQUE, device_info text, ip_address varchar(45), "
            "expires_at timestamptz NOT NULL, revoked boolean DEFAULT false, "
            "created_at timestamptz DEFAULT now())"
        )
        process = secops.on(app_db).start("migrate", "--yes")
        for _ in range(100):
            if app_db.execute("SELECT FROM pg_stat_progress_create_index"):
                break
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Interrupted" in err
    assert [kind for kind, _ in leftovers(app_db)] == ["index"]
    done = secops.on(app_db)("migrate", "--yes", "--json")
    assert done.code == 0, done.err
    assert any(sql.startswith("DROP INDEX CONCURRENTLY") for sql in done.json()["sql"])
    assert leftovers(app_db) == []


@pytest.mark.parametrize("budget", ["-1s", "soon", "5"])
def test_a_budget_that_is_no_duration_is_refused(
    secops: Command, app_db: Database, budget: str
) -> None:
    done = secops.on(app_db)("migrate", "--yes", f"--lock-budget={budget}")
    assert done.code == 2
    assert "duration" in done.err
