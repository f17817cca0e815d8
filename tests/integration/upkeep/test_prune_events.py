"""Which events pruning deletes, held against the rules written down once more in Python."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secops.accounts.operations import Operation
from secops.schema.detect import detect
from secops.upkeep import expired, retention
from secops.upkeep.pace import Pace
from secops.upkeep.prune import Pruned, Pruner
from support.databases import Database
from support.servers import Connection

DAYS = {"information": 10, "security": 100, "operator": 1000}
RARE = ("account_locked", "refresh_token_theft_detected", "session_revoked", "logout_all")
SMALL, LARGE = 3, 50_000  # by (created_at, id), and block by block

PARTITIONED = """
    ALTER TABLE security_events RENAME TO plain;
    CREATE TABLE security_events (LIKE plain INCLUDING DEFAULTS) PARTITION BY RANGE (created_at);
    ALTER TABLE security_events ADD PRIMARY KEY (id, created_at);
    CREATE TABLE p1 PARTITION OF security_events FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
    CREATE TABLE p2 PARTITION OF security_events FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
    CREATE INDEX ON security_events (created_at)
"""


def pruned(
    database: Database,
    holds: tuple[str, ...] = (),
    *,
    batch: int = LARGE,
    days: dict[str, int] = DAYS,
    **more: Any,
) -> tuple[retention.Count, Pruned]:
    """Count and prune in this process."""
    max_duration = more.pop("max_duration", None)
    with database.connect() as conn:
        layout = detect(conn, database.settings())
        operation = Operation.begin(
            actor="ann", host="here", reason="", ticket="", command="prune events"
        )
        spans = {name: timedelta(days=number) for name, number in days.items()}
        limits = retention.past(conn, layout, spans, holds)
        counted = retention.count(conn, layout, limits)
        pruner = Pruner(conn, layout, operation, limits, Pace(most=batch), **more)
        done = pruner.run(expired=expired.estimate(conn, layout, limits), max_duration=max_duration)
        return counted, done


@dataclass(frozen=True)
class Event:
    """An event as the rule sees it."""

    id: uuid.UUID
    type: str
    category: str
    severity: str
    days: int
    user: str | None  # a name; the account's key is looked up
    email: str | None

    @property
    def kind(self) -> str:
        if self.category == "operator":
            return "operator"
        routine = self.severity.lower() in {"info", "information", "debug", "notice"}
        return "information" if routine and self.type not in RARE else "security"

    def held(self, names: set[str]) -> bool:
        by_email = (self.email or "").lower().removesuffix("@example.com")
        return self.user in names or by_email in names


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    """Draw events of every class, at and around each period's end."""
    return [
        Event(
            id=draw(st.uuids()),
            type=draw(st.sampled_from(["login_success", "login_failed", *RARE])),
            category=draw(st.sampled_from(["authentication", "operator", "session"])),
            severity=draw(st.sampled_from(["info", "INFO", "warning", "critical", "odd", ""])),
            days=draw(st.sampled_from([-2, 0, 9, 11, 99, 101, 999, 1001, 3000])),
            user=draw(st.sampled_from([None, "alice", "bob"])),
            email=draw(st.sampled_from([None, "alice@example.com", "ALICE@Example.com", "x@y.z"])),
        )
        for _ in range(draw(st.integers(0, 25)))
    ]


def insert(conn: Connection, drawn: list[Event]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO security_events"
            " (id, event_type, event_category, severity, success, user_id, email, created_at)"
            " VALUES (%s, %s, %s, %s, true, (SELECT id FROM users WHERE email = %s), %s,"
            " now() - make_interval(days => %s))",
            [
                (
                    each.id,
                    each.type,
                    each.category,
                    each.severity,
                    f"{each.user}@example.com" if each.user else None,
                    each.email,
                    each.days,
                )
                for each in drawn
            ],
        )


@pytest.mark.parametrize(("batch", "partitioned"), [(SMALL, False), (LARGE, False), (SMALL, True)])
def test_what_stays_is_what_the_rule_says(
    hardened: Database, batch: int, partitioned: bool
) -> None:
    if partitioned:
        hardened.execute(PARTITIONED)
    with hardened.connect() as conn:
        ids = {
            str(row[1]).partition("@")[0]: str(row[0])
            for row in conn.execute("SELECT id, email FROM users").fetchall()
        }

        @settings(
            max_examples=25,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture],
        )
        @given(events(), st.sets(st.sampled_from(["alice", "bob"])), st.booleans())
        def check(drawn: list[Event], names: set[str], by_id: bool) -> None:
            conn.execute("TRUNCATE security_events, secops.operations")
            insert(conn, drawn)
            lines = tuple(ids[name].upper() if by_id else f"{name}@EXAMPLE.com" for name in names)
            due = [each for each in drawn if each.days > DAYS[each.kind]]
            held = [each for each in due if each.held(names)]
            stay = {e.id for e in drawn} - {e.id for e in due} | {e.id for e in held}
            counted, done = pruned(hardened, lines, batch=batch)
            rows = conn.execute(
                "SELECT id FROM security_events WHERE event_type <> 'events_pruned'"
            ).fetchall()
            assert {row[0] for row in rows} == stay
            assert (counted.matched, counted.held) == (len(drawn) - len(stay), len(held))
            assert (done.deleted, done.kept, done.locked) == (counted.matched, len(held), 0)
            for kind in DAYS:
                assert counted.by_class[kind] == sum(
                    1 for each in due if each.kind == kind and not each.held(names)
                )
            recorded(conn, done)

        check()


def recorded(conn: Connection, done: Pruned) -> None:
    """Make sure that each batch stands in one event, and all of them in one operation."""
    told = conn.execute(
        "SELECT (metadata ->> 'deleted')::int, event_category FROM security_events"
        " WHERE event_type = 'events_pruned'"
    ).fetchall()
    operations = conn.execute(
        "SELECT changed, finished_at IS NOT NULL FROM secops.operations"
    ).fetchall()
    if not done.deleted:
        assert (told, operations) == ([], [])
        return
    assert len(told) == done.batches
    assert sum(int(str(row[0])) for row in told) == done.deleted
    assert {row[1] for row in told} == {"operator"}
    assert operations == [(done.deleted, True)]


def fill(database: Database, number: int, days: int = 2000) -> None:
    database.execute(
        "INSERT INTO security_events (event_type, event_category, severity, success, message, created_at)"
        " SELECT 'login_success', 'authentication', 'info', true, g::text,"
        " now() - make_interval(days => %s, secs => g) FROM generate_series(1, %s) g",
        (days, number),
    )


LEFT = "SELECT count(*) FROM security_events WHERE event_type = 'login_success'"


def test_a_class_that_is_not_named_stays(hardened: Database) -> None:
    fill(hardened, 10)
    _, done = pruned(hardened, days={"security": 100, "operator": 1000})
    assert done.deleted == 0
    assert hardened.value(LEFT) == 10


@pytest.mark.parametrize("batch", [SMALL, LARGE])
def test_a_locked_event_is_skipped_and_left_to_the_next_run(hardened: Database, batch: int) -> None:
    fill(hardened, 50)
    with hardened.connect() as conn:
        conn.execute("BEGIN")
        conn.execute("SELECT FROM security_events WHERE message = '7' FOR UPDATE")
        _, done = pruned(hardened, batch=batch)
        conn.execute("ROLLBACK")
    assert (done.deleted, done.locked, done.complete) == (49, 1, True)
    assert pruned(hardened)[1].deleted == 1


def test_when_time_is_up_the_next_run_goes_on(hardened: Database) -> None:
    fill(hardened, 2000)
    _, first = pruned(hardened, batch=10, max_duration=timedelta(milliseconds=60))
    assert 0 < first.deleted < 2000
    assert not first.complete
    assert pruned(hardened)[1].deleted == 2000 - first.deleted


def test_a_hold_that_names_no_account_holds_its_address_and_is_told(hardened: Database) -> None:
    hardened.execute(
        "INSERT INTO security_events (event_type, event_category, severity, success, email, created_at)"
        " VALUES ('login_success', 'authentication', 'info', true, 'Gone@example.com', '2001-01-01')"
    )
    assert pruned(hardened, ("gone@example.com",))[1].kept == 1
    with hardened.connect() as conn:
        layout = detect(conn, hardened.settings())
        limits = retention.past(conn, layout, {"security": timedelta(1)}, ["gone@example.com"])
    assert limits.holds.unknown == ("gone@example.com",)
