"""Faults at the n-th statement of a command: its death, or the end of its connection."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psycopg

from support.databases import Database
from support.forked import Hook


def die_at(number: int) -> Hook:
    """Return a hook that kills the process before a statement, as ``kill -9`` does."""

    def hook(now: int, _: psycopg.Connection[Any], __: str) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def lose_at(number: int, database: Database) -> Hook:
    """Return a hook that has the server end the connection that is about to speak."""

    def hook(now: int, conn: psycopg.Connection[Any], _: str) -> None:
        if now == number:
            database.execute("SELECT pg_terminate_backend(%s, 1000)", (conn.info.backend_pid,))

    return hook


def list_into(path: Path) -> Hook:
    """Return a hook that writes every statement down, one line each."""

    def hook(_: int, __: psycopg.Connection[Any], said: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(" ".join(said.split()) + "\n")

    return hook
