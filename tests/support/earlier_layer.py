"""An app with an earlier, home-grown layer: its tables, its own SQL at work, and a new app beside it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import psycopg

from support.databases import Database
from support.schemas import App

_TABLES = """
SET search_path = {place};
ALTER TABLE {users} ADD COLUMN locked_until timestamp, ADD COLUMN failed_login_attempts integer DEFAULT 0;
CREATE TABLE refresh_tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id {key} NOT NULL REFERENCES {users} ({id}) ON DELETE CASCADE,
    token varchar(255) NOT NULL UNIQUE,
    device_info jsonb,
    ip_address varchar(45),
    expires_at timestamp NOT NULL,
    revoked_at timestamp,
    last_seen_at timestamp,
    created_at timestamp NOT NULL DEFAULT now(),
    CHECK (expires_at > created_at)
);
CREATE INDEX idx_refresh_tokens_user_id ON refresh_tokens (user_id) WHERE revoked_at IS NULL;
CREATE INDEX idx_refresh_tokens_expires_at ON refresh_tokens (expires_at);
CREATE TABLE security_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id {key} REFERENCES {users} ({id}) ON DELETE SET NULL,
    event_type varchar(30) NOT NULL CHECK (event_type IN ('login', 'failed_login', 'logout', 'locked')),
    severity varchar(10) NOT NULL DEFAULT 'low' CHECK (severity IN ('low', 'medium', 'high')),
    ip inet,
    user_agent varchar(255),
    details jsonb NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);
CREATE INDEX security_events_recent ON security_events (user_id, created_at DESC);
CREATE INDEX security_events_type ON security_events (event_type);
"""


def create(app: App, database: Database, *, rows: int = 200) -> None:
    """Make the tables of an earlier layer, in the app's schema, and some of its rows."""
    # The times are UTC, whatever the zone of the machine that the test runs on.
    database.execute(f"ALTER DATABASE \"{database.name}\" SET TimeZone = 'UTC'")
    app.create(database)
    place = app.schema or "public"
    text = _TABLES.format(place=place, users=app.users, id=app.id, key=app.bare_key)
    # A partial index by the name of one that secops builds whole would stop it.
    database.execute(text.replace(" WHERE revoked_at IS NULL", ""))
    database.execute(
        f"CREATE INDEX live_tokens ON {place}.refresh_tokens (user_id) WHERE revoked_at IS NULL"
    )
    database.execute(
        f"""INSERT INTO {place}.refresh_tokens (user_id, token, device_info, expires_at, revoked_at)
            SELECT {app.id}, 'token-' || n, jsonb_build_object('ua', 'Phone ' || n),
                   now() + interval '7 days', CASE WHEN n % 5 = 0 THEN now() END
            FROM {app.users}, generate_series(1, {rows}) AS n"""
    )
    database.execute(
        f"""INSERT INTO {place}.security_events (user_id, event_type, ip, user_agent, details)
            SELECT {app.id}, CASE WHEN n % 3 = 0 THEN 'failed_login' ELSE 'login' END, '203.0.113.9',
                   'Phone', '{{"n": 1}}'
            FROM {app.users}, generate_series(1, {rows}) AS n"""
    )
    database.execute(
        f"UPDATE {app.users} SET locked_until = '2030-01-01 12:00', failed_login_attempts = 3"
    )


@dataclass
class Work:
    """What the apps did.

    Attributes:
        took: Seconds of each statement.
        failed: What went wrong.
        tokens: The tokens that the old app was told are written.
        hashes: The hashes that the new app was.
        events: The ids of events.
    """

    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    events: list[UUID] = field(default_factory=list)


@contextmanager
def at_work(
    app: App, database: Database, *, new: bool = False, sessions: int = 2, rate: float = 100.0
) -> Iterator[Work]:
    """Let the app work beside the block.

    Args:
        app: Whose tables.
        database: Where.
        new: Whether it is the new app, which knows the plan's columns alone.
        sessions: How many connections.
        rate: Statements a second, all together.
    """
    work = Work()
    over = threading.Event()
    threads = [
        threading.Thread(
            target=_run,
            args=(app, database, work),
            kwargs={"over": over, "pause": sessions / rate, "new": new},
        )
        for _ in range(sessions)
    ]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.2)
        yield work
        time.sleep(0.2)
    finally:
        over.set()
        for thread in threads:
            thread.join()


Say = Callable[[str, tuple[object, ...]], list[tuple[object, ...]]]


def _run(
    app: App, database: Database, work: Work, *, over: threading.Event, pause: float, new: bool
) -> None:
    with database.connect() as conn:
        conn.prepare_threshold = None
        conn.execute(f"SET search_path = {app.schema or 'public'}, public".encode())
        row = conn.execute(f"SELECT {app.id} FROM {app.users} LIMIT 1".encode()).fetchone()
        assert row is not None

        def say(query: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
            begun = time.monotonic()
            try:
                cursor = conn.execute(query.format(users=app.users, id=app.id).encode(), values)
                found = cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                work.failed.append(f"{query}: {error}")
                found = []
            else:
                work.took.append(time.monotonic() - begun)
            over.wait(pause)
            return found

        while not over.is_set():
            (_new if new else _old)(say, work, row[0])


def _old(say: Say, work: Work, user: object) -> None:
    token, event = f"old-{uuid4()}", uuid4()
    device = json.dumps({"ua": "Old phone"})
    say(
        "INSERT INTO refresh_tokens (user_id, token, device_info, ip_address, expires_at)"
        " VALUES (%s, %s, %s::jsonb, '203.0.113.7', (now() AT TIME ZONE 'utc') + interval '7 days')",
        (user, token, device),
    )
    work.tokens.append(token)
    found = say(
        "SELECT user_id, device_info, device_info ->> 'ua', expires_at > (now() AT TIME ZONE 'utc')"
        " FROM refresh_tokens WHERE token = %s AND revoked_at IS NULL AND expires_at > %s::timestamp",
        (token, "2026-01-01 00:00:00"),
    )
    if [(row[0], row[2], row[3]) for row in found] != [(user, "Old phone", True)]:
        work.failed.append(f"read {found}")
    say(
        "UPDATE refresh_tokens SET last_seen_at = now(), expires_at = %s WHERE token = %s",
        ("2040-01-01 00:00:00", token),
    )
    say(
        "UPDATE refresh_tokens SET revoked_at = (now() AT TIME ZONE 'utc') WHERE token = %s",
        (token,),
    )
    if say("SELECT id FROM refresh_tokens WHERE token = %s AND revoked_at IS NULL", (token,)):
        work.failed.append("a token that was revoked is live")
    say(
        "INSERT INTO security_events (id, user_id, event_type, severity, ip, user_agent, details)"
        " VALUES (%s, %s, 'failed_login', 'high', %s::inet, 'Old phone', %s::jsonb)",
        (event, user, "203.0.113.7", device),
    )
    work.events.append(event)
    say(
        "SELECT event_type, severity, host(ip), details ->> 'ua', created_at FROM security_events"
        " WHERE user_id = %s AND created_at > %s ORDER BY created_at DESC LIMIT 3",
        (user, "2026-01-01 00:00:00"),
    )
    say(
        "UPDATE {users} SET locked_until = %s, failed_login_attempts = 1 WHERE {id} = %s",
        ("2030-01-01 12:00:00", user),
    )
    say("SELECT locked_until > (now() AT TIME ZONE 'utc') FROM {users} WHERE {id} = %s", (user,))


def _new(say: Say, work: Work, user: object) -> None:
    hashed, event = hashlib.sha256(uuid4().bytes).hexdigest(), uuid4()
    say(
        "INSERT INTO refresh_tokens (user_id, token_hash, device_info, ip_address, expires_at)"
        " VALUES (%s, %s, 'New phone', '203.0.113.8', now() + interval '7 days')",
        (user, hashed),
    )
    work.hashes.append(hashed)
    found = say(
        "SELECT user_id, device_info FROM refresh_tokens"
        " WHERE token_hash = %s AND NOT revoked AND expires_at > now()",
        (hashed,),
    )
    if found != [(user, "New phone")]:
        work.failed.append(f"read {found}")
    say("UPDATE refresh_tokens SET revoked = true WHERE token_hash = %s", (hashed,))
    say(
        "INSERT INTO security_events (id, event_type, event_category, severity, user_id, email,"
        " ip_address, success, metadata) VALUES (%s, 'login_success', 'authentication', 'info', %s,"
        " 'alice@example.com', '203.0.113.8', true, '{{}}')",
        (event, user),
    )
    work.events.append(event)
