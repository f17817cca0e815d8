"""Faults at a chosen statement of a command: its death, or the end of its connections.

A statement that waits is hurt in its middle: an index that is being built concurrently, a constraint that is
being validated, a partition that is being detached are in several transactions, and what they leave
is not what they leave between two statements. So somebody stands in the way of it first.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from support.databases import Database
from support.forked import Hook, unheard

ALL = "application_name LIKE 'secops/%%' AND datname = current_database()"
END = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE "

Fault = Callable[[int, Database], Hook]


def list_into(path: Path) -> Hook:
    """Return a hook that writes every statement down, one line each."""

    def hook(_: int, __: psycopg.Connection[Any], said: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(" ".join(said.split()) + "\n")

    return hook


def die_at(number: int, _: Database | None = None) -> Hook:
    """Return a hook that kills the process before a statement, as ``kill -9`` does."""

    def hook(now: int, _: psycopg.Connection[Any], __: str) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def lose_at(number: int, database: Database) -> Hook:
    """Return a hook that has the server end the connection that is about to speak, and only that."""

    def hook(now: int, conn: psycopg.Connection[Any], _: str) -> None:
        if now == number:
            end(database, "pid = %s", conn.info.backend_pid)

    return hook


def lose_others_at(number: int, database: Database) -> Hook:
    """Return a hook that has the server end every other connection of the command: its lock's, too."""

    def hook(now: int, conn: psycopg.Connection[Any], _: str) -> None:
        if now == number:
            end(database, f"{ALL} AND pid <> %s", conn.info.backend_pid)

    return hook


def lose_all_at(number: int, database: Database) -> Hook:
    """Return a hook that has the server end all connections of the command."""

    def hook(now: int, _: psycopg.Connection[Any], __: str) -> None:
        if now == number:
            end(database, ALL)

    return hook


def end(database: Database, which: str, *values: object) -> None:
    """Have the server end sessions, and wait until they are gone."""
    with database.connect() as conn:
        ended = conn.execute((END + which).encode(), values).fetchall()
        deadline = time.monotonic() + 10
        # Those, and no others: who looks for blockers may connect meanwhile, and stays.
        still = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s)"
        while conn.execute(still.encode(), ([row[0] for row in ended],)).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.005)


WRITER = "writer"
"""Stands in the way as an app does that has written and not committed."""
SNAPSHOT = "snapshot"
"""Stands in the way as a backup does: with nothing but an old view of the database."""


def midway(
    number: int, database: Database, *, holder: str, fault: Callable[[Database], None]
) -> Hook:
    """Return a hook that hurts a statement while it waits for somebody; one that does not wait goes on.

    Args:
        number: Which statement.
        database: Where.
        holder: :data:`WRITER` or :data:`SNAPSHOT`.
        fault: What happens as soon as the statement waits.
    """
    standing: list[psycopg.Connection[Any]] = []
    over = threading.Event()

    def step_aside() -> None:
        with suppress(IndexError):  # the other thread was quicker
            standing.pop().close()

    def hook(now: int, conn: psycopg.Connection[Any], _: str) -> None:
        if now == number:
            standing.append(_stand_in_the_way(database, holder))
            pid = conn.info.backend_pid
            threading.Thread(target=watch, args=(pid,), daemon=True).start()
        elif now > number and standing:
            over.set()
            step_aside()

    def watch(pid: int) -> None:
        with unheard(), database.connect() as look:
            waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
            while not over.wait(0.003):
                if look.execute(waits.encode(), (pid,)).fetchone() == (True,):
                    over.set()
                    fault(database)
                    step_aside()

    return hook


def killed_midway(holder: str) -> Fault:
    """Return the fault of a process that dies while its statement waits."""

    def fault(number: int, database: Database) -> Hook:
        def die(_: Database) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        return midway(number, database, holder=holder, fault=die)

    return fault


def cut_midway(holder: str) -> Fault:
    """Return the fault of a server that ends all connections while a statement waits."""

    def fault(number: int, database: Database) -> Hook:
        return midway(number, database, holder=holder, fault=lambda where: end(where, ALL))

    return fault


def _stand_in_the_way(database: Database, holder: str) -> psycopg.Connection[Any]:
    conn = database.connect()
    if holder == SNAPSHOT:
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SELECT count(*) FROM pg_class")
        return conn
    conn.execute("BEGIN")
    tables = conn.execute(
        """SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_|^information'
             AND (lower(c.relname) = 'users' OR c.relname IN ('refresh_tokens', 'security_events'))"""
    ).fetchall()
    for (name,) in tables:
        conn.execute(f"LOCK TABLE {name} IN ROW EXCLUSIVE MODE".encode())
    return conn


_CHANGE = re.compile(r"(BEGIN;|CREATE|DROP|ALTER|ANALYZE|INSERT|UPDATE|DELETE|WITH|COMMIT)")
_WAITING = re.compile(r"\b(CONCURRENTLY|VALIDATE|ALTER|LOCK TABLE|CREATE TABLE|DROP)\b")


def changing(said: list[str]) -> list[int]:
    """Return the numbers of the statements that change something, and of those after them."""
    found = set()
    for number, text in enumerate(said, 1):
        if _CHANGE.match(text.strip()):
            found |= {number, number + 1}
    return sorted(number for number in found if number <= len(said))


def waiting(said: list[str]) -> list[int]:
    """Return the numbers of the statements that may have to wait for others."""
    return [number for number, text in enumerate(said, 1) if _WAITING.search(text)]
