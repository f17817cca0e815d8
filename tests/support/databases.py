"""Databases for one test each, and the command run against them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secops.settings import Settings, load
from support.servers import Connection, Server

PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")

APP = """
CREATE TABLE public.users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL UNIQUE,
    first_name text,
    password_hash text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass
class Database:
    """One database on one server."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        """Its URL, as superuser."""
        return self.server.url(self.name)

    def connect(self, user: str = "postgres") -> Connection:
        """Open a connection in autocommit mode; the test closes it."""
        return self.server.connect(self.name, user)

    def settings(self, **flags: str) -> Settings:
        """Return settings that name this database and nothing of the machine's environment."""
        return load({"database_url": self.url, **flags}, environ={}, folder=Path("/"))

    def execute(self, query: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run SQL on a connection of its own; return its rows, if any."""
        with self.connect() as conn:
            cursor = conn.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, parameters: Sequence[Any] | None = None) -> Any:
        """Return the first column of the first row."""
        return self.execute(query, parameters)[0][0]


def create_app(database: Database) -> None:
    """Create the demo app's users."""
    with database.connect() as conn:
        conn.execute(APP)
        for name in PEOPLE:
            conn.execute(
                "INSERT INTO users (email, first_name, password_hash) VALUES (%s, %s, %s)",
                (
                    f"{name}@example.com",
                    name.title(),
                    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
                ),
            )


@dataclass(frozen=True)
class Result:
    """What a run of the command left."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return stdout as JSON."""
        return json.loads(self.out)

    def error(self) -> dict[str, Any]:
        """Return the JSON error object from stderr."""
        found: dict[str, Any] = json.loads(self.err.strip().splitlines()[-1])["error"]
        return found


class Command:
    """The real command, in a process and an environment of its own."""

    def __init__(self, home: Path, env: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.env = dict(env or {})

    def on(self, database: Database, **env: str) -> Command:
        """Return the command with a database configured through the environment."""
        return Command(self.home, {**self.env, "SECOPS_DATABASE_URL": database.url, **env})

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment that it runs in: nothing of the machine's configuration."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "PYTHONWARNINGS": "error",
            **self.env,
            **(more or {}),
        }

    def argv(self, *arguments: str) -> list[str]:
        """Return the whole command line."""
        return [sys.executable, "-m", "secops", *arguments]

    def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        cwd: Path | None = None,
        timeout: float = 120,
    ) -> Result:
        done = subprocess.run(
            self.argv(*arguments),
            capture_output=True,
            text=True,
            input=input if input is not None else "",
            cwd=cwd or self.home,
            env=self.environment(env),
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the command and return its process, for tests that kill it."""
        return subprocess.Popen(
            self.argv(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env=self.environment(env),
        )
