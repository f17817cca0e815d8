"""A connection that is lost: before a change is final nothing of it stands, and while it is, nobody knows."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psycopg
import pytest

from secops.database.connection import connect, transaction
from secops.errors import OutcomeUnknown
from support.databases import Database
from support.faults import end, list_into, lose_at
from support.forked import Forked
from support.servers import Connection

LOCK = ("lock", "user", "alice@example.com", "--reason", "test")
LOCKED = "SELECT count(*) FROM secops.accounts WHERE locked_at IS NOT NULL"
SESSION = "pid = %s"


def test_at_the_commit_the_outcome_is_unknown_and_elsewhere_nothing_stands(
    hardened: Database, tmp_path: Path
) -> None:
    listed = tmp_path / "statements"
    whole = Database(hardened.server, hardened.server.create(hardened.name))
    assert Forked(tmp_path).on(whole)(*LOCK, hook=list_into(listed)).code == 0
    said = listed.read_text().splitlines()
    on = Forked(tmp_path).on(hardened)
    commits = [number for number, text in enumerate(said, 1) if text == "COMMIT"]
    change = next(number for number, text in enumerate(said, 1) if "UPDATE" in text)
    before = on(*LOCK, "--json", hook=lose_at(change, hardened))
    assert before.code == 10, before.err
    assert before.error()["code"] == "unreachable"
    meant = on(*LOCK, "--json", hook=lose_at(commits[-1], hardened))
    assert meant.code == 7, meant.err
    error = meant.error()
    assert error["code"] == "outcome-unknown"
    assert "whether it stands is not known" in error["message"]
    assert "Run the same command again" in error["hint"]
    # The server ended the session before it read the COMMIT; the client could not know.
    assert hardened.value(LOCKED) == 0
    assert on(*LOCK).code == 0
    assert hardened.value(LOCKED) == 1


@pytest.mark.parametrize("pipeline", [False, True])
def test_only_what_changes_something_has_an_unknown_outcome(
    hardened: Database, pipeline: bool
) -> None:
    for read_only in (True, False):
        with connect(hardened.settings(), "test") as conn:
            expected = psycopg.OperationalError if read_only else OutcomeUnknown
            with pytest.raises(expected):
                lose_while_committing(hardened, conn, pipeline=pipeline, read_only=read_only)


def lose_while_committing(
    database: Database, conn: Connection, *, pipeline: bool, read_only: bool
) -> None:
    with (
        conn.pipeline() if pipeline else contextlib.nullcontext(),
        transaction(conn, read_only=read_only),
    ):
        conn.execute("SELECT 1").fetchone()
        end(database, SESSION, conn.info.backend_pid)


def test_an_error_of_the_change_itself_is_no_unknown_outcome(hardened: Database) -> None:
    hardened.execute(
        """CREATE TABLE once (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
           INSERT INTO once VALUES (1)"""
    )
    with (
        connect(hardened.settings(), "test") as conn,
        pytest.raises(psycopg.errors.UniqueViolation),
        transaction(conn),
    ):
        conn.execute("INSERT INTO once VALUES (1)")  # refused by the COMMIT


def test_a_migration_that_loses_its_server_in_a_step_does_not_know(
    app_db: Database, tmp_path: Path
) -> None:
    listed = tmp_path / "statements"
    whole = Database(app_db.server, app_db.server.create(app_db.name))
    assert Forked(tmp_path).on(whole)("migrate", "--yes", hook=list_into(listed)).code == 0
    said = listed.read_text().splitlines()
    step = next(n for n, text in enumerate(said, 1) if "ADD COLUMN" in text)
    record = next(n for n, text in enumerate(said, 1) if n > step and text == "COMMIT")
    on = Forked(tmp_path).on(app_db)
    lost = on("migrate", "--yes", "--json", hook=lose_at(step, app_db))
    assert lost.code == 7, lost.err
    assert "failed_login_attempts" in lost.error()["message"]
    app_db.server.drop(app_db.name)
    app_db.server.create("template_app", name=app_db.name)
    lost = on("migrate", "--yes", "--json", hook=lose_at(record, app_db))
    assert lost.code == 7, lost.err
    assert "a version was recorded" in lost.error()["message"]
    assert on("migrate", "--yes").code == 0
