"""``secops migrate`` as a person meets it: on a terminal, and in a pipe."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from support.schemas import REVISIONS
from support.watched import plain

if TYPE_CHECKING:
    from support.databases import Command, Database


def on_a_terminal(command: Command, *arguments: str, answer: str) -> tuple[int, str, str]:
    """Run the command on a terminal; returns its exit code, its stdout and what the screen showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command.argv(*arguments),
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        cwd=command.home,
        env=command.environment({"TERM": "xterm", "NO_COLOR": "1"}),
    )
    os.close(theirs)
    screen, answered, deadline = b"", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.1)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            screen += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if b"[y/N]" in screen and not answered:
            os.write(ours, answer.encode() + b"\n")
            answered = True
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert answered
    return process.returncode, out.decode(), screen.decode(errors="replace")


def test_it_shows_what_it_would_do_and_asks(secops: Command, app_db: Database) -> None:
    on = secops.on(app_db)
    code, _, screen = on_a_terminal(on, "migrate", answer="n")
    assert code == 8
    assert "0001 The plan's tables" in screen
    assert "statements on this database?" in screen
    assert app_db.execute("SELECT FROM pg_namespace WHERE nspname = 'secops'") == []

    code, out, screen = on_a_terminal(on, "migrate", answer="y")
    assert code == 0, screen
    assert f"The database is at revision {REVISIONS[-1]} now" in out
    assert "Undo: secops migrate down base" in out


@pytest.mark.parametrize("words", [[], ["plan"], ["status"], ["check"]])
def test_a_migrated_database_needs_no_answer(
    secops: Command, hardened: Database, words: list[str]
) -> None:
    done = secops.on(hardened)("migrate", *words)
    assert done.code == 0, done.err
    assert done.err == ""


def test_nothing_but_the_result_is_printed(secops: Command, app_db: Database) -> None:
    done = secops.on(app_db)("migrate", "--yes", "--json")
    assert done.code == 0
    assert done.err == ""  # no word of alembic's or SQLAlchemy's
    found = done.json()
    assert {"action", "dry_run", "matched", "changed", "items"} <= set(found)
    assert found["action"] == "migrate"
    assert found["changed"] == len(found["items"]) == len(found["sql"])


def test_the_help_of_a_subcommand_works_with_a_broken_configuration(secops: Command) -> None:
    (secops.home / "secops.yaml").write_text("nonsense: [", encoding="utf-8")
    for words in (["migrate", "--help"], ["migrate", "plan", "--help"], ["migrate", "down", "-h"]):
        done = secops(*words)
        assert done.code == 0, done.err
        assert "Usage: secops migrate" in done.out


def test_a_plan_in_every_format(secops: Command, app_db: Database) -> None:
    on = secops.on(app_db)
    table = on("migrate", "plan")
    assert table.code == 0
    assert "CREATE INDEX CONCURRENTLY" in table.out
    script = on("migrate", "plan", "-f", "sql")
    assert "\nBEGIN;\n" in script.out
    assert "-- 0001 The plan's tables" in script.out
    for words in (["--format", "json"], ["--json"]):
        found = on("migrate", "plan", *words).json()
        assert found["pending"] == REVISIONS
        planned = plain(found["steps"])
        assert found["statements"] == len(planned)
        assert all(f"\n{sql};\n" in script.out for sql in planned)
    wrong = on("migrate", "plan", "--format", "xml")
    assert wrong.code == 2


def test_without_a_users_table_it_says_so(secops: Command, database: Database) -> None:
    for words in (["migrate", "--yes"], ["migrate", "plan"], ["migrate", "status"]):
        done = secops.on(database)(*words)
        assert done.code == 1
        assert "no users table" in done.err
        assert "users.table" in done.err
    database.execute(
        "CREATE TABLE people (id bigint PRIMARY KEY, email text);"
        "CREATE VIEW users AS SELECT * FROM people"
    )
    done = secops.on(database)("migrate", "--yes")
    assert done.code == 1
    assert "public.people" in done.err
    assert secops.on(database, SECOPS_USERS_TABLE="people")("migrate", "--yes").code == 0
