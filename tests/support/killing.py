"""Running the command in a child process that dies, or loses its connection, before its n-th statement.

A fork shares what is imported, so a death costs a tenth of a second instead of a start of Python.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from support.databases import Database

Hook = Callable[[int, "psycopg.Connection[Any]"], None]


def run(database: Database, *arguments: str, log: Path, hook: Hook | None = None) -> int:
    """Run the command in a child process.

    Args:
        database: What it is pointed at.
        arguments: Its words.
        log: Where what it says goes.
        hook: Called before each statement, COMMITs and the like included, with its number from 1.

    Returns:
        Its exit code; 128 + N where signal N killed it.
    """
    child = os.fork()
    if child == 0:
        code = 70
        try:
            _redirect(log)
            os.environ["SECOPS_DATABASE_URL"] = database.url
            if hook is not None:
                _install(hook)
            from secops.cli.main import run as main

            code = main(list(arguments))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def die_at(number: int) -> Hook:
    """Return a hook that kills the process before a statement, as ``kill -9`` does."""

    def hook(now: int, _: psycopg.Connection[Any]) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def lose_at(number: int, database: Database) -> Hook:
    """Return a hook that has the server end the connection that is about to speak."""

    def hook(now: int, conn: psycopg.Connection[Any]) -> None:
        if now == number:
            database.execute("SELECT pg_terminate_backend(%s, 1000)", (conn.info.backend_pid,))

    return hook


def count_into(path: Path) -> Hook:
    """Return a hook that writes down how many statements there were."""

    def hook(now: int, _: psycopg.Connection[Any]) -> None:
        path.write_text(str(now), encoding="utf-8")

    return hook


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # pytest has put objects of its own in their place.
    import sys

    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(0, "r", closefd=False),
        os.fdopen(1, "w", closefd=False),
        os.fdopen(2, "w", closefd=False),
    )


def _install(hook: Hook) -> None:
    """Call the hook before every statement, and before each BEGIN and COMMIT that psycopg sends."""
    said = 0
    execute = psycopg.Cursor.execute
    command = psycopg.Connection._exec_command

    def counting_execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal said
        said += 1
        hook(said, self.connection)
        return execute(self, *args, **kwargs)

    def counting_command(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal said
        said += 1
        hook(said, self)
        return command(self, *args, **kwargs)

    psycopg.Cursor.execute = counting_execute  # type: ignore[method-assign]  # only in this child
    psycopg.Connection._exec_command = counting_command  # type: ignore[method-assign]
