"""Login events for the reports' tests, and running a report as the command does."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from secops.reports.catalogue import open_catalogue
from secops.reports.header import Report, parse
from secops.reports.run import running
from secops.schema.detect import detect
from support.databases import Database
from support.servers import Connection

NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
"""The time that the reports look back from."""


@dataclass
class Event:
    """One row of ``security_events``."""

    event_type: str
    created_at: datetime
    email: str | None = None
    ip_address: str | None = None
    user_id: UUID | None = None
    category: str = "authentication"
    severity: str = "warning"
    user_agent: str | None = None
    message: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def ago(**span: float) -> datetime:
    """Return a time before :data:`NOW`."""
    return NOW - timedelta(**span)


def insert(conn: Connection, events: Iterable[Event]) -> None:
    """Insert events."""
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO security_events (event_type, event_category, severity, user_id, email,
                ip_address, user_agent, success, message, metadata, created_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    each.event_type, each.category, each.severity, each.user_id, each.email,
                    each.ip_address, each.user_agent, each.event_type == "login_success",
                    each.message, Jsonb(each.metadata), each.created_at,
                )
                for each in events
            ],
        )  # fmt: skip


def people(conn: Connection) -> dict[str, UUID]:
    """Return the keys of the demo app's users by their e-mail addresses."""
    found: dict[str, UUID] = dict(
        conn.execute("SELECT email, id FROM users").fetchall()  # type: ignore[arg-type]  # as the table is
    )
    return found


def noise(people: dict[str, UUID], seed: int, count: int = 3_000) -> list[Event]:
    """Return ordinary and less ordinary events of the last ten days, the same for the same seed.

    A few accounts and addresses take most of them, so that thresholds are met by some and missed by
    others; some events lie exactly on the edges of the windows that the tests ask for.
    """
    chance = random.Random(seed)
    emails = [*people, "Alice@Example.com", "nobody@example.com", None]
    addresses = [f"203.0.113.{n}" for n in range(1, 13)] + ["2001:db8::1", "2001:db8::2", None]
    kinds = (
        ["login_failed"] * 5 + ["login_success"] * 3 + ["token_refresh"] * 3 + ["account_locked"]
    )
    events: list[Event] = []
    for _ in range(count):
        kind = chance.choice(kinds)
        email = chance.choices(emails, weights=range(len(emails), 0, -1))[0]
        known = people.get(email or "") if kind != "login_failed" else None
        if kind in {"token_refresh", "login_success"} and known is None:
            email, known = next(iter(people.items()))
        at = NOW - timedelta(seconds=int(chance.paretovariate(0.4) * 60) % (10 * 86_400))
        if chance.random() < 0.02:
            at = chance.choice(
                [NOW, ago(hours=24), ago(hours=1), ago(days=7), NOW + timedelta(seconds=1)]
            )
        events.append(
            Event(
                kind,
                at,
                email=email,
                ip_address=chance.choices(addresses, weights=range(len(addresses), 0, -1))[0],
                user_id=known,
                message=f"event {len(events)}",
            )
        )
    return events


def within(events: Iterable[Event], kind: str, since: timedelta) -> list[Event]:
    """Return the events of a type that a report with that window must see."""
    return [
        each for each in events if each.event_type == kind and NOW - since < each.created_at <= NOW
    ]


def shipped(name: str) -> Report:
    """Return a report that ships with secops."""
    return open_catalogue().find(name)


def own(folder: Path, sql: str, *header: str, name: str = "mine") -> Report:
    """Write a report and read it."""
    path = folder / f"{name}.sql"
    lines = ["-- ---", "-- title: Mine", *(f"-- {line}" for line in header), "-- ---", sql]
    path.write_text("\n".join(lines), encoding="utf-8")
    return parse(path)


def ask(
    database: Database,
    report: Report | str,
    *,
    conn: Connection | None = None,
    as_of: datetime | None = NOW,
    limit: int = 0,
    timeout: timedelta = timedelta(seconds=30),
    **given: str,
) -> list[dict[str, Any]]:
    """Run a report with parameters as text; return its rows by column."""
    found = shipped(report) if isinstance(report, str) else report
    values = {
        each.name: each.read(text)
        if (text := given.pop(each.name, each.default)) is not None
        else None
        for each in found.parameters
    }
    assert not given, "no such parameter"
    mine = conn or database.connect()
    try:
        layout = detect(mine, database.settings())
        with running(
            mine, layout, found, values,
            as_of=as_of if found.uses("as_of") else None, limit=limit, timeout=timeout,
        ) as answer:  # fmt: skip
            return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    finally:
        if conn is None:
            mine.close()
