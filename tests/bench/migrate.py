"""Migrating a large users table while somebody reads it for long, beside the plan's SQL through psql."""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Section, milliseconds, tell
from support.busy_app import App, at_work
from support.databases import APP, Command, Database
from support.servers import Server

PLAN = Path(__file__).resolve().parents[1] / "support" / "plan.sql"
RATE = 400.0
SESSIONS = 8
OPEN = 8.0
"""Seconds for which the reader's transaction stays open."""
BEFORE = 5.0
"""Seconds for which the app works before anything happens, and afterwards."""


@dataclass
class Migrated:
    """What a migration cost the app."""

    app: App
    begun: float
    ended: float

    def longest(self, name: str) -> float:
        """Seconds of the longest statement of that name from its begin on."""
        return max(self.app.between(self.begun, self.ended + BEFORE, name))

    def quiet(self, name: str) -> float:
        """The same before anything happened."""
        return max(self.app.between(0, self.begun, name))


def built(server: Server, users: int) -> Database:
    """Make an app with so many accounts."""
    database = Database(server, server.create())
    database.execute(APP)
    database.execute(
        """INSERT INTO users (email, first_name, password_hash)
           SELECT 'person' || n || '@example.com', 'Person ' || n, repeat('x', 90)
           FROM generate_series(1, %s::int) n""",
        (users,),
    )
    database.execute("VACUUM (ANALYZE) users")
    database.execute("CHECKPOINT")
    return database


@contextmanager
def reading(database: Database) -> Iterator[None]:
    """Keep a transaction open that has read the table, for a while that begins now."""
    begun = threading.Event()

    def read() -> None:
        with database.connect() as conn:
            conn.execute("BEGIN")
            conn.execute("SELECT count(*) FROM users")
            begun.set()
            time.sleep(OPEN)
            conn.execute("COMMIT")

    thread = threading.Thread(target=read)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        thread.join()


def beside_the_app(database: Database, work: Callable[[], object]) -> Migrated:
    """Migrate beside the app and the reader."""
    with at_work(database, sessions=SESSIONS, rate=RATE, work="users") as app:
        time.sleep(BEFORE)
        with reading(database):
            begun = time.monotonic()
            work()
            ended = time.monotonic()
        time.sleep(BEFORE)
    assert app.failed == [], app.failed[:3]
    tell(f"  the generator was late by {milliseconds(app.late)} at most")
    return Migrated(app, begun, ended)


def by_secops(database: Database) -> None:
    """Migrate as secops does."""
    command = Command(Path(tempfile.mkdtemp(prefix="secops-bench-"))).on(database)
    done = command("migrate", "--yes", timeout=600)
    assert done.code == 0, done.err


def by_psql(database: Database) -> None:
    """Run the plan's SQL as it is written."""
    subprocess.run(
        [database.server.binaries / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", PLAN,
         database.url],
        check=True, capture_output=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip


def measure(server: Server, options: argparse.Namespace) -> Section:
    """Migrate the same app both ways."""
    users: int = options.users
    section = Section(
        "Migrating beside a reader",
        ("what", "the plan's SQL through psql", "secops migrate", "ratio"),
        f"{users:,} accounts; somebody's transaction has read the table and stays open for {OPEN:.0f} "
        f"seconds. Meanwhile an app reads and updates accounts {RATE:.0f} times a second in {SESSIONS} "
        "sessions of a process of its own.",
    )
    tell(f"migrate: {users:,} accounts ...")
    ours = built(server, users)
    theirs = Database(server, server.create(ours.name))
    mine = beside_the_app(ours, lambda: by_secops(ours))
    server.drop(ours.name)
    plain = beside_the_app(theirs, lambda: by_psql(theirs))
    server.drop(theirs.name)
    section.add("statements of the app", f"{len(plain.app.did):,}", f"{len(mine.app.did):,}", "")
    for what, name in (("read", "read user"), ("update", "update user")):
        section.add(
            f"before: longest {what}",
            milliseconds(plain.quiet(name)), milliseconds(mine.quiet(name)), "",
        )  # fmt: skip
        his, my = plain.longest(name), mine.longest(name)
        section.add(
            f"longest {what} of the app", milliseconds(his), milliseconds(my), f"{my / his:.4f}"
        )
    his, my = plain.ended - plain.begun, mine.ended - mine.begun
    section.add("time in all", milliseconds(his), milliseconds(my), f"{my / his:.2f}")
    return section
