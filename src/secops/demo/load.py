"""The demo's database: made, filled, recognised, dropped.

Whether it is complete stands in the database itself, as its comment, which is set in the transaction that
loads the traffic: a run that is killed half way leaves a database without one, and the next run builds it
anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Final, LiteralString

from psycopg import sql

from secops.database.connection import Connection, transaction
from secops.demo.backend import (
    EVENT_COLUMNS,
    NULL,
    OLD_TOKEN_COLUMNS,
    TOKEN_COLUMNS,
    old_token_lines,
    stamp,
)
from secops.demo.people import make_people
from secops.demo.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secops.demo.people import Person
    from secops.output.progress import Progress

DATABASE: Final = "secops_demo"
SEED: Final = 1
_FORMAT: Final = 1

_USERS: Final = """
    CREATE TABLE users (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        email text NOT NULL UNIQUE,
        full_name text NOT NULL,
        password_hash text NOT NULL,
        is_active boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL DEFAULT now()
    )
"""
_USER_COLUMNS: Final = ("id", "email", "full_name", "password_hash", "is_active", "created_at")


@dataclass(frozen=True, slots=True)
class Size:
    """How much to simulate: people, and about how many events."""

    people: int
    events: int


@dataclass(frozen=True, slots=True)
class Demo:
    """A complete demo.

    Attributes:
        people: How many accounts it has.
        events: How many events.
        tokens: How many refresh tokens.
        until: When its traffic ends, in ISO 8601.
    """

    people: int
    events: int
    tokens: int
    until: str


def exists(server: Connection) -> bool:
    """Say whether the server has the demo's database, complete or not."""
    found = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
    return found.fetchone() is not None


def find(server: Connection) -> Demo | None:
    """Return what the server's demo holds, or ``None`` where it has no complete one."""
    row = server.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        (DATABASE,),
    ).fetchone()
    try:
        known = json.loads(str(row[0])) if row and row[0] else {}
        if known.pop("secops_demo") != _FORMAT:
            return None
        return Demo(**known)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None  # somebody else's comment


def age(server: Connection, demo: Demo) -> timedelta:
    """Return how long ago the demo's traffic ended."""
    row = server.execute("SELECT now() - %s::timestamptz", (demo.until,)).fetchone()
    assert row is not None
    assert isinstance(row[0], timedelta)
    return row[0]


def create(server: Connection) -> None:
    """Create the empty database; what was there under its name is dropped, whoever is connected."""
    server.execute(_named("DROP DATABASE IF EXISTS {} WITH (FORCE)"))
    server.execute(_named("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"))


def _named(statement: LiteralString) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(DATABASE))


def add_people(conn: Connection, size: Size) -> list[Person]:
    """Create the demo app's users table and fill it."""
    people = make_people(size.people, SEED)
    with transaction(conn):
        now = _now(conn)
        conn.execute(_USERS)
        lines = (_user_line(person, now) for person in people)
        _copy(conn, "users", _USER_COLUMNS, _chunks(lines))
    return people


def _user_line(person: Person, now: float) -> str:
    active = "t" if person.active else "f"
    made = stamp(now - person.age)
    return f"{person.id}\t{person.email}\t{person.name}\t{person.password_hash}\t{active}\t{made}\n"


def add_traffic(conn: Connection, people: list[Person], size: Size, progress: Progress) -> Demo:
    """Simulate two weeks that end now and load them, in one transaction that also says that all is there.

    Args:
        conn: To the demo's database, after ``secops migrate``.
        people: From :func:`add_people`.
        size: How much.
        progress: Told of each event and token.
    """
    with transaction(conn):
        now = _now(conn)
        traffic = Traffic(people, until=now, events=size.events, seed=SEED)
        events = _copy(conn, "security_events", EVENT_COLUMNS, traffic.play(), progress)
        progress.describe("Refresh tokens")
        tokens = _copy(
            conn, "refresh_tokens", TOKEN_COLUMNS, _chunks(traffic.backend.token_lines()), progress
        )
        tokens += _copy(
            conn,
            "refresh_tokens",
            OLD_TOKEN_COLUMNS,
            _chunks(old_token_lines(Random(SEED), people, now, round(size.events * 0.12))),
            progress,
        )
        _set_state(conn, traffic)
        demo = Demo(len(people), events, tokens, stamp(now))
        comment = json.dumps({"secops_demo": _FORMAT, **asdict(demo)})
        conn.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(DATABASE), sql.Literal(comment)
            )
        )
    progress.describe("Statistics")
    # Index-only scans need the visibility map, and autovacuum would take its minute.
    conn.execute("VACUUM (ANALYZE) users, security_events, refresh_tokens")
    conn.execute("CHECKPOINT")  # lets go of write-ahead log
    return demo


def _set_state(conn: Connection, traffic: Traffic) -> None:
    """Give the users the failures and locks that the traffic left them with."""
    conn.execute(
        "CREATE TEMP TABLE state (id uuid, failures integer, locked_until timestamptz) ON COMMIT DROP"
    )
    lines = (
        f"{account.person.id}\t{account.failures}\t"
        f"{stamp(account.locked_until) if account.locked_until else NULL}\n"
        for account in traffic.accounts
        if account.failures
    )
    _copy(conn, "state", ("id", "failures", "locked_until"), _chunks(lines))
    conn.execute(
        """
        UPDATE users SET failed_login_attempts = state.failures, locked_until = state.locked_until
        FROM state WHERE users.id = state.id
        """
    )


def _now(conn: Connection) -> float:
    row = conn.execute("SELECT extract(epoch FROM now())::float8").fetchone()
    assert row is not None
    assert isinstance(row[0], float)
    return row[0]


def _chunks(lines: Iterable[str], size: int = 1000) -> Iterable[list[str]]:
    chunk: list[str] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) >= size:
            yield chunk
            chunk = []
    yield chunk


def _copy(
    conn: Connection,
    table: str,
    columns: tuple[str, ...],
    chunks: Iterable[list[str]],
    progress: Progress | None = None,
) -> int:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    count = 0
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk in chunks:
            copy.write("".join(chunk))
            count += len(chunk)
            if progress:
                progress.advance(len(chunk))
    return count
