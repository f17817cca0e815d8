"""An app at work, in a process of its own: sessions that read and write, and remember how long each took.

The load is open: a statement is due at its time whatever became of the one before, so a stall is not followed
by politeness. Sleeping, not spinning: each session sleeps until its next statement is due, and nothing
else runs in the process.

Run as a script it reads what to do from stdin, as JSON, works until stdin ends, and writes what it did.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Protocol
from uuid import UUID, uuid4

import psycopg

INSERT_EVENT = """
    INSERT INTO security_events (id, event_type, event_category, severity, email, ip_address, success)
    VALUES (%s, 'login_failed', 'authentication', 'warning', %s, '203.0.113.7', false)
"""
READ_EVENTS = """
    SELECT count(*) FROM security_events
    WHERE event_type = 'login_failed' AND created_at > now() - interval '10 minutes' AND email = %s
"""
READ_USER = "SELECT email, password_hash, is_active FROM users WHERE id = %s"
UPDATE_USER = "UPDATE users SET first_name = 'busy' WHERE id = %s"
INSERT_TOKEN = """
    INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
    VALUES (%s, %s, now() + interval '7 days')
"""
UPDATE_TOKEN = "UPDATE refresh_tokens SET device_info = 'seen' WHERE id = %s"
READ_TOKENS = "SELECT count(*) FROM refresh_tokens WHERE user_id = %s AND revoked IS NOT TRUE"

# What an app does whose home-grown layer is to be taken over.
EARLIER_TOKEN = """
    INSERT INTO refresh_tokens (user_id, token, device_info, expires_at)
    VALUES (%s, %s, '{"ua": "Old phone"}', now() + interval '7 days')
"""
EARLIER_EVENT = """
    INSERT INTO security_events (user_id, event_type, ip, user_agent, details)
    VALUES (%s, 'login', '203.0.113.7', 'Old phone', '{}')
"""
EARLIER_READ = "SELECT count(*) FROM refresh_tokens WHERE user_id = %s AND revoked_at IS NULL"
EARLIER_UPDATE = "UPDATE refresh_tokens SET last_seen_at = now() WHERE id = %s"

# The server tells of each wait for a lock that takes longer, with its length, as no client can.
NOTICE_MS = 10


class Session:
    """What a session needs to draw the values of its statements."""

    def __init__(self, number: int, users: list[Any], tokens: list[Any]) -> None:
        self.email = f"app{number}@example.com"
        self.random = random.Random(number)
        self.users, self.tokens = users, tokens

    def user(self) -> tuple[Any, ...]:
        return (self.random.choice(self.users),)

    def token(self) -> tuple[Any, ...]:
        return (self.random.choice(self.tokens),)

    def own(self) -> tuple[Any, ...]:
        return (self.email,)

    def event(self) -> tuple[Any, ...]:
        return (uuid4(), self.email)

    def new_token(self) -> tuple[Any, ...]:
        return (self.random.choice(self.users), f"busy-{uuid4()}")


Values = Callable[[Session], tuple[Any, ...]]

WORKS: dict[str, tuple[tuple[str, str, Values], ...]] = {
    "events": (
        ("insert event", INSERT_EVENT, Session.event),
        ("read events", READ_EVENTS, Session.own),
    ),
    "tokens": (("update token", UPDATE_TOKEN, Session.token),),
    "users": (
        ("read user", READ_USER, Session.user),
        ("update user", UPDATE_USER, Session.user),
    ),
    "everything": (
        ("read user", READ_USER, Session.user),
        ("insert event", INSERT_EVENT, Session.event),
        ("update user", UPDATE_USER, Session.user),
        ("insert token", INSERT_TOKEN, Session.new_token),
        ("read events", READ_EVENTS, Session.own),
        ("update token", UPDATE_TOKEN, Session.token),
        ("read tokens", READ_TOKENS, Session.user),
    ),
    "an earlier layer": (
        ("read user", READ_USER, Session.user),
        ("insert event", EARLIER_EVENT, Session.user),
        ("update user", UPDATE_USER, Session.user),
        ("insert token", EARLIER_TOKEN, Session.new_token),
        ("read tokens", EARLIER_READ, Session.user),
        ("update token", EARLIER_UPDATE, Session.token),
    ),
}
"""What an app may be busy with: name, statement, values; each session does them in turn."""


@dataclass(frozen=True, slots=True)
class Did:
    """One statement: what, when it was sent (``time.monotonic``), how many seconds it took."""

    name: str
    at: float
    took: float


@dataclass
class App:
    """What the app did; there when its work is over.

    Attributes:
        did: Each statement that succeeded.
        failed: What went wrong.
        written: The ids of the events that it was told are written.
        pids: The server processes of its sessions.
        late: Seconds by which the latest statement was sent after it was due, though its session was
            free: what the generator itself lost.
    """

    did: list[Did] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    written: list[UUID] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    late: float = 0.0

    @property
    def took(self) -> list[float]:
        """Seconds of each statement."""
        return [each.took for each in self.did]

    @property
    def longest(self) -> float:
        """Seconds of the longest statement."""
        return max(self.took)

    def between(self, begin: float, end: float, name: str | None = None) -> list[float]:
        """Return how long the statements took that were under way between two moments.

        Args:
            begin: By ``time.monotonic``.
            end: The same.
            name: Only those of that name.
        """
        return [
            each.took
            for each in self.did
            if each.at < end and each.at + each.took > begin and name in {None, each.name}
        ]


def quantile(took: list[float], share: float) -> float:
    """Return what such a share of the statements did not exceed."""
    return sorted(took)[min(len(took) - 1, int(len(took) * share))]


class Somewhere(Protocol):
    """A database that has a URL."""

    @property
    def url(self) -> str:
        """The URL."""


@contextmanager
def at_work(
    database: Somewhere,
    *,
    sessions: int = 4,
    rate: float = 200.0,
    work: str = "events",
    spare: str = "",
) -> Iterator[App]:
    """Let an app work beside the block.

    Args:
        database: Where.
        sessions: How many connections.
        rate: Statements a second, all together.
        work: One of :data:`WORKS`.
        spare: An account's e-mail address that it leaves alone, with its tokens.
    """
    app = App()
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asked = {
        "url": database.url, "sessions": sessions, "rate": rate, "work": work, "spare": spare,
    }  # fmt: skip
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    try:
        app.pids += json.loads(process.stdout.readline())
        time.sleep(0.3)
        yield app
        time.sleep(0.3)
    finally:
        said, _ = process.communicate("stop\n", timeout=120)
    assert process.returncode == 0
    told = json.loads(said)
    app.did += [Did(*each) for each in told["did"]]
    app.failed += told["failed"]
    app.written += map(UUID, told["written"])
    app.late = told["late"]


@dataclass
class _Load:
    """All sessions together."""

    sessions: int
    rate: float
    works: tuple[tuple[str, str, Values], ...]
    begin: float
    over: threading.Event = field(default_factory=threading.Event)
    did: list[tuple[str, float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    late: float = 0.0

    def work(self, conn: psycopg.Connection[Any], session: Session, number: int) -> None:
        """Do one session's part until it is over."""
        interval = self.sessions / self.rate
        due = self.begin + number / self.rate
        free = self.begin
        turn = number
        while not self.over.is_set():
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            name, query, draw = self.works[turn % len(self.works)]
            values = draw(session)
            sent = time.monotonic()
            self.late = max(self.late, sent - max(due, free))
            try:
                conn.execute(query.encode(), values)
            except psycopg.Error as error:
                self.failed.append(f"{name}: {error}")
            else:
                self.did.append((name, sent, time.monotonic() - sent))
                if query is INSERT_EVENT:
                    self.written.append(str(values[0]))
            free = time.monotonic()
            due += interval
            turn += 1
        conn.close()


def _main(given: IO[str]) -> None:
    asked = json.loads(given.readline())
    connections = [
        psycopg.connect(asked["url"], autocommit=True, application_name="busy app")
        for _ in range(asked["sessions"])
    ]
    users, tokens = _people(connections[0], asked["work"], asked["spare"])
    for conn in connections:
        conn.execute("SET log_lock_waits = on")
        conn.execute(f"SET deadlock_timeout = '{NOTICE_MS}ms'".encode())
    load = _Load(asked["sessions"], asked["rate"], WORKS[asked["work"]], time.monotonic() + 0.05)
    threads = [
        threading.Thread(target=load.work, args=(conn, Session(number, users, tokens), number))
        for number, conn in enumerate(connections)
    ]
    gc.disable()
    for thread in threads:
        thread.start()
    print(json.dumps([conn.info.backend_pid for conn in connections]), flush=True)
    given.readline()
    load.over.set()
    for thread in threads:
        thread.join()
    told = {name: getattr(load, name) for name in ("did", "failed", "written", "late")}
    print(json.dumps(told))


def _people(conn: psycopg.Connection[Any], work: str, spare: str) -> tuple[list[Any], list[Any]]:
    """Return keys of accounts and tokens to draw from."""
    users: list[Any] = []
    tokens: list[Any] = []
    if work != "tokens":
        query = """SELECT id FROM users WHERE email IS DISTINCT FROM %s
                   ORDER BY random() LIMIT 20000"""
        users = [row[0] for row in conn.execute(query, (spare,))]
    if work in {"tokens", "everything", "an earlier layer"}:
        query = """SELECT t.id FROM refresh_tokens t JOIN users u ON u.id = t.user_id
                   WHERE u.email IS DISTINCT FROM %s ORDER BY random() LIMIT 20000"""
        tokens = [row[0] for row in conn.execute(query, (spare,))]
    return users, tokens


if __name__ == "__main__":
    _main(sys.stdin)
