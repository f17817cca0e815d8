"""Each report's answer, against one counted in Python from the same events."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID, uuid4

import pytest

from support.databases import Database
from support.report_events import NOW, Event, ago, ask, insert, noise, people, within
from support.servers import Connection

DAY = timedelta(days=1)


@pytest.fixture
def conn(hardened: Database) -> Iterator[Connection]:
    with hardened.connect() as conn:
        # Migrations record themselves among the events.
        conn.execute("DELETE FROM security_events")
        yield conn


@pytest.fixture
def users(conn: Connection) -> dict[str, UUID]:
    return people(conn)


@pytest.fixture(params=[1, 2])
def events(request: pytest.FixtureRequest, conn: Connection, users: dict[str, UUID]) -> list[Event]:
    made = noise(users, request.param)
    insert(conn, made)
    return made


@pytest.mark.parametrize(("since", "least"), [("24h", 5), ("1h", 1), ("7d", 20)])
def test_failed_logins_counts_pairs_of_account_and_address(
    hardened: Database, events: list[Event], since: str, least: int
) -> None:
    span = {"24h": DAY, "1h": DAY / 24, "7d": 7 * DAY}[since]
    pairs = defaultdict(list)
    for each in within(events, "login_failed", span):
        pairs[each.email, each.ip_address].append(each.created_at)
    expected = {
        pair: (len(times), max(times), min(times))
        for pair, times in pairs.items()
        if len(times) >= least
    }
    rows = ask(hardened, "failed-logins", since=since, min_attempts=str(least))
    assert expected, "the events must put something over the threshold"
    assert {
        (row["email"], row["ip_address"]): (
            row["attempts"],
            row["last_attempt"],
            row["first_attempt"],
        )
        for row in rows
    } == expected
    assert len(rows) == len(expected)
    counts = [row["attempts"] for row in rows]
    assert counts == sorted(counts, reverse=True)
    for row in rows:
        steps = [(100, "critical"), (25, "high"), (10, "medium"), (0, "low")]
        assert row["severity"] == next(word for least, word in steps if row["attempts"] >= least)


def test_failed_logins_has_the_columns_of_the_plan_first(
    hardened: Database, events: list[Event]
) -> None:
    assert events
    (row, *_) = ask(hardened, "failed-logins")
    assert list(row)[:4] == ["email", "ip_address", "attempts", "last_attempt"]


def test_lockouts_lists_each_lock_latest_first(hardened: Database, events: list[Event]) -> None:
    rows = ask(hardened, "lockouts", since="7d")
    expected = within(events, "account_locked", 7 * DAY)
    assert Counter((row["email"], row["message"], row["created_at"]) for row in rows) == Counter(
        (each.email, each.message, each.created_at) for each in expected
    )
    times = [row["created_at"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert list(rows[0])[:4] == ["email", "ip_address", "message", "created_at"]


def test_lockouts_tells_an_operator_from_the_app(hardened: Database, conn: Connection) -> None:
    by_hand = {"actor": "root@host", "reason": "fraud"}
    insert(conn, [
        Event("account_locked", ago(hours=1), "a@x.org", category="operator", metadata=by_hand),
        Event("account_locked", ago(hours=2), "b@x.org", metadata={"actor": "not an operator"}),
    ])  # fmt: skip
    rows = ask(hardened, "lockouts")
    assert [(row["email"], row["locked_by"]) for row in rows] == [
        ("a@x.org", "root@host"),
        ("b@x.org", None),
    ]


@pytest.mark.parametrize(("since", "per_hour"), [("1h", 10), ("24h", 1), ("5m", 3)])
def test_token_refreshes_measures_by_the_hour(
    hardened: Database, events: list[Event], since: str, per_hour: int
) -> None:
    span = {"1h": DAY / 24, "24h": DAY, "5m": DAY / 288}[since]
    hours = max(span / timedelta(hours=1), 1)
    by_user = defaultdict(list)
    for each in within(events, "token_refresh", span):
        by_user[each.user_id].append(each)
    expected = {
        user: (
            len(found),
            {each.ip_address for each in found},
            max(each.created_at for each in found),
        )
        for user, found in by_user.items()
        if len(found) / hours > per_hour
    }
    rows = ask(hardened, "token-refreshes", since=since, per_hour=str(per_hour))
    assert expected
    assert {
        row["user_id"]: (row["refresh_count"], set(row["ip_addresses"]), row["last_refresh"])
        for row in rows
    } == expected
    assert all(row["email"] is not None for row in rows)
    assert list(rows[0])[:1] == ["user_id"]


def test_token_refreshes_of_a_user_who_is_gone_are_still_told(
    hardened: Database, conn: Connection
) -> None:
    gone = uuid4()
    insert(conn, [Event("token_refresh", ago(minutes=n), user_id=gone) for n in range(11)])
    (row,) = ask(hardened, "token-refreshes")
    assert (row["user_id"], row["email"], row["refresh_count"]) == (gone, None, 11)


def test_token_refreshes_allows_what_the_plan_allows(
    hardened: Database, conn: Connection, users: dict[str, UUID]
) -> None:
    insert(conn, [
        Event("token_refresh", ago(minutes=n), user_id=users["alice@example.com"]) for n in range(10)
    ])  # fmt: skip
    assert ask(hardened, "token-refreshes") == []


def test_theft_names_the_owner_by_key_where_the_event_has_no_address(
    hardened: Database, conn: Connection, users: dict[str, UUID]
) -> None:
    kind = "refresh_token_theft_detected"
    insert(conn, [
        Event(kind, ago(days=1), user_id=users["bob@example.com"], metadata={"family": "f1"}),
        Event(kind, ago(days=2), email="x@y.org", ip_address="203.0.113.9", severity="critical"),
        Event(kind, ago(days=31), email="old@y.org"),
    ])  # fmt: skip
    rows = ask(hardened, "theft")
    assert [(row["email"], row["metadata"], row["severity"]) for row in rows] == [
        ("bob@example.com", {"family": "f1"}, "warning"),
        ("x@y.org", {}, "critical"),
    ]
    assert len(ask(hardened, "theft", since="32d")) == 3


def test_login_activity_counts_every_hour_also_the_quiet_ones(
    hardened: Database, events: list[Event]
) -> None:
    rows = ask(hardened, "login-activity", since="48h")
    first = datetime(2026, 3, 8, 12, tzinfo=UTC)
    assert [row["hour"] for row in rows] == [first + timedelta(hours=n) for n in range(49)]
    for row in rows:
        low, high = (
            row["hour"],
            min(row["hour"] + timedelta(hours=1), NOW + timedelta(microseconds=1)),
        )
        mine = [each for each in events if low <= each.created_at < high]
        kinds = Counter(each.event_type for each in mine)
        sources = {each.ip_address for each in mine if each.event_type == "login_failed"} - {None}
        assert (row["succeeded"], row["failed"], row["lockouts"], row["failing_addresses"]) == (
            kinds["login_success"], kinds["login_failed"], kinds["account_locked"], len(sources),
        )  # fmt: skip
        tries = kinds["login_success"] + kinds["login_failed"]
        share = round(100 * kinds["login_failed"] / tries, 1) if tries else None
        shown = row["failed_percent"]
        assert (None if shown is None else float(shown)) == pytest.approx(share, abs=0.051)
    assert sum(row["failed"] for row in rows) > 100


def source(address: str) -> str:
    parsed = ip_address(address)
    return str(ip_network((address, 64), strict=False)) if parsed.version == 6 else address


def test_suspicious_ips_counts_accounts_by_source(hardened: Database, events: list[Event]) -> None:
    failed: dict[str, list[Event]] = defaultdict(list)
    entered: dict[str, set[Any]] = defaultdict(set)
    for each in within(events, "login_failed", DAY):
        if each.ip_address:
            failed[source(each.ip_address)].append(each)
    for each in within(events, "login_success", DAY):
        if each.ip_address:
            entered[source(each.ip_address)].add(each.user_id)
    expected = {
        where: (
            len(found), len({each.email for each in found} - {None}), len(entered[where]),
            min(each.created_at for each in found), max(each.created_at for each in found),
        )
        for where, found in failed.items()
        if len({each.email for each in found} - {None}) >= 10 or len(found) >= 100
    }  # fmt: skip
    rows = ask(hardened, "suspicious-ips", min_accounts="10", min_attempts="100")
    assert 0 < len(expected) < len(failed)
    assert {
        row["ip_address"]: (
            row["attempts"], row["accounts"], row["succeeded"], row["first_attempt"], row["last_attempt"],
        )
        for row in rows
    } == expected  # fmt: skip


def failures(address: str, accounts: int, each: int) -> list[Event]:
    return [
        Event("login_failed", ago(minutes=n), f"u{who}@x.org", address)
        for who in range(accounts)
        for n in range(each)
    ]


def test_suspicious_ips_tells_attacks_from_each_other_and_from_an_office(
    hardened: Database, conn: Connection, users: dict[str, UUID]
) -> None:
    insert(conn, failures("198.51.100.1", 30, 1))
    insert(conn, failures("198.51.100.2", 6, 4))
    insert(conn, failures("198.51.100.3", 1, 40))
    insert(conn, failures("198.51.100.4", 5, 2))
    insert(conn, failures("198.51.100.5", 5, 1))
    insert(conn, failures("198.51.100.6", 4, 6))  # under both thresholds
    insert(conn, [Event("login_success", ago(minutes=1), ip_address="198.51.100.4",
                        user_id=users["bob@example.com"])])  # fmt: skip
    insert(conn, [Event("login_success", ago(minutes=2), ip_address="198.51.100.5", user_id=key)
                  for key in users.values()])  # fmt: skip
    rows = ask(hardened, "suspicious-ips")
    assert [(row["ip_address"], row["pattern"], row["severity"]) for row in rows] == [
        ("198.51.100.1", "credential stuffing", "high"),
        ("198.51.100.2", "password spraying", "medium"),
        ("198.51.100.4", "password spraying", "critical"),
        ("198.51.100.5", "credential stuffing", "low"),
        ("198.51.100.3", "brute force", "medium"),
    ]


def test_suspicious_ips_puts_an_ipv6_network_together(hardened: Database, conn: Connection) -> None:
    insert(conn, [
        Event("login_failed", ago(minutes=n), f"u{n}@x.org", f"2001:db8:0:7:{n:x}::1") for n in range(6)
    ])  # fmt: skip
    insert(
        conn,
        [Event("login_failed", ago(minutes=1), f"v{n}@x.org", "not:an:address") for n in range(5)],
    )
    rows = ask(hardened, "suspicious-ips")
    assert [(row["ip_address"], row["accounts"]) for row in rows] == [
        ("2001:db8:0:7::/64", 6),
        ("not:an:address", 5),
    ]


def test_attacked_accounts_sees_the_attack_that_failed_logins_cannot(
    hardened: Database, conn: Connection
) -> None:
    insert(conn, [
        Event("login_failed", ago(minutes=n), "Dave@example.com" if n % 2 else "dave@example.com",
              f"198.51.100.{n}")
        for n in range(20)
    ])  # fmt: skip
    insert(conn, failures("203.0.113.1", 1, 50))
    assert [row["email"] for row in ask(hardened, "failed-logins")] == ["u0@x.org"]
    (row,) = ask(hardened, "attacked-accounts")
    assert (row["email"], row["attempts"], row["addresses"], row["severity"]) == (
        "dave@example.com", 20, 20, "high",
    )  # fmt: skip
    insert(conn, [Event("login_success", ago(minutes=30), "dave@example.com")])
    assert ask(hardened, "attacked-accounts")[0]["succeeded_at"] is None
    insert(conn, [Event("login_success", ago(minutes=3), "dave@example.com")])
    (row,) = ask(hardened, "attacked-accounts")
    assert (row["succeeded_at"], row["severity"]) == (ago(minutes=3), "critical")


def test_never_logged_in_since_counts_logins_by_key_and_by_address(
    hardened: Database, conn: Connection, users: dict[str, UUID]
) -> None:
    def login(who: str, at: datetime, *, by_key: bool = True) -> Event:
        email = f"{who}@example.com"
        return Event(
            "login_success",
            at,
            None if by_key else email.upper(),
            user_id=users[email] if by_key else None,
        )

    insert(conn, [
        login("alice", ago(days=1)),
        login("bob", ago(days=100)),
        login("bob", ago(days=95)),
        login("carol", ago(days=2), by_key=False),
        login("dave", ago(days=91), by_key=False),
        login("erin", ago(days=90)),  # exactly on the edge: not within
        login("frank", NOW + timedelta(seconds=5)),  # in the future of as_of
        Event("login_failed", ago(days=1), "grace@example.com", user_id=users["grace@example.com"]),
    ])  # fmt: skip
    conn.execute("UPDATE users SET is_active = false WHERE email = 'heidi@example.com'")
    conn.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at) VALUES (%s, 'h', now() + '1 day')",
        (users["bob@example.com"],),
    )
    rows = ask(hardened, "never-logged-in-since")
    assert [(row["email"], row["last_login"], row["live_sessions"]) for row in rows] == [
        ("frank@example.com", None, 0),
        ("grace@example.com", None, 0),
        ("bob@example.com", ago(days=95), 1),
        ("dave@example.com", ago(days=91), 0),
        ("erin@example.com", ago(days=90), 0),
    ]
    assert rows[0]["name"] == "Frank"


def test_locked_users_lists_locks_in_force_of_either_kind(
    hardened: Database, conn: Connection, users: dict[str, UUID]
) -> None:
    def lock(who: str, until: str) -> None:
        conn.execute(
            b"UPDATE users SET locked_until = %s::timestamptz, failed_login_attempts = 5 WHERE email = %s",
            (until, f"{who}@example.com"),
        )

    def operator(who: str, since: str | None, until: str | None) -> None:
        conn.execute(
            """INSERT INTO secops.accounts (user_id, locked_at, lock_expires_at, lock_reason, lock_ticket,
                   locked_by) VALUES (%s, %s::timestamptz, %s::timestamptz, 'fraud', 'T-1', 'root')""",
            (users[f"{who}@example.com"], since, until),
        )

    lock("alice", "2199-01-01 00:00Z")
    lock("bob", "2020-01-01 00:00Z")  # over
    operator("carol", "2026-01-01 00:00Z", None)
    operator("dave", "2026-01-01 00:00Z", "2020-01-01 00:00Z")  # over
    operator("erin", None, None)  # only an epoch
    lock("frank", "2199-01-01 00:00Z")
    operator("frank", "2026-01-01 00:00Z", "2199-06-01 00:00Z")
    rows = ask(hardened, "locked-users")
    assert [
        (row["email"], row["locked_until"].year, row["locked_by"], row["reason"], row["ticket"])
        for row in rows
    ] == [
        ("alice@example.com", 2199, "failed logins", None, None),
        ("frank@example.com", 2199, "root", "fraud", "T-1"),
        ("carol@example.com", 9999, "root", "fraud", "T-1"),
    ]
    assert rows[1]["locked_until"] == datetime(2199, 6, 1, tzinfo=UTC)
    assert rows[0]["failed_login_attempts"] == 5


@pytest.fixture
def tokens(conn: Connection, users: dict[str, UUID]) -> dict[str, UUID]:
    family, lone = uuid4(), uuid4()

    def add(
        who: str,
        created: str,
        *,
        id: UUID | None = None,
        family: UUID | None = None,
        expires: str = "+7 days",
        used: bool = False,
        revoked: bool = False,
        ip: str = "203.0.113.5",
    ) -> None:
        conn.execute(
            """INSERT INTO refresh_tokens (id, user_id, token_hash, device_info, ip_address, created_at,
                   expires_at, used, revoked, family_id)
               VALUES (%s, %s, gen_random_uuid()::text, 'Firefox', %s, now() + %s::interval,
                   now() + %s::interval, %s, %s, %s)""",
            (id or uuid4(), users[f"{who}@example.com"], ip, created, expires, used, revoked, family),
        )  # fmt: skip

    with conn.transaction():  # one now() for all
        add("alice", "-3 days", id=family, used=True)
        add("alice", "-2 days", family=family, used=True)
        add("alice", "-1 day", family=family)
        add("bob", "-2 hours", id=lone, ip="2001:db8::9")
        add("bob", "-1 hour", revoked=True)
        add("carol", "-9 days", expires="-1 second")
        add("dave", "-5 days", ip="198.51.100.77")
    return {"family": family, "lone": lone}


def test_sessions_shows_one_line_for_each_live_family(
    hardened: Database, tokens: dict[str, UUID]
) -> None:
    rows = ask(hardened, "sessions")
    assert [row["email"] for row in rows] == [
        "bob@example.com",
        "alice@example.com",
        "dave@example.com",
    ]
    bob, alice, _ = rows
    assert (bob["session"], alice["session"]) == (tokens["lone"], tokens["family"])
    age = alice["last_refresh"] - alice["started_at"]
    assert age == 2 * DAY
    assert bob["last_refresh"] == bob["started_at"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"user": "ALICE@example.com"}, ["alice"]),
        ({"user": "nobody@example.com"}, []),
        ({"user": "'; DROP TABLE users; --"}, []),
        ({"ip": "203.0.113.0/24"}, ["alice"]),
        ({"ip": "2001:db8::/32"}, ["bob"]),
        ({"ip": "198.51.100.77"}, ["dave"]),
        ({"idle_for": "24h"}, ["alice", "dave"]),
        ({"idle_for": "2d", "ip": "198.51.0.0/16"}, ["dave"]),
        ({"idle_for": "2d", "user": "bob@example.com"}, []),
    ],
)  # fmt: skip
def test_sessions_can_be_narrowed(
    hardened: Database, tokens: dict[str, UUID], given: dict[str, Any], expected: list[str]
) -> None:
    assert tokens
    rows = ask(hardened, "sessions", **given)
    assert [row["email"].removesuffix("@example.com") for row in rows] == expected


def test_sessions_are_found_by_the_key_of_an_account(
    hardened: Database, users: dict[str, UUID], tokens: dict[str, UUID]
) -> None:
    assert tokens
    rows = ask(hardened, "sessions", user=str(users["dave@example.com"]))
    assert [row["email"] for row in rows] == ["dave@example.com"]


def test_table_size_estimates_rows_without_counting_them(
    hardened: Database, conn: Connection
) -> None:
    conn.execute(
        """INSERT INTO security_events (event_type, event_category, severity, success)
           SELECT 'login_success', 'authentication', 'info', true FROM generate_series(1, 20000)"""
    )
    conn.execute("ANALYZE security_events")
    before = rows_read(hardened)
    found = {row["table_name"]: row for row in ask(hardened, "table-size")}
    assert set(found) == {"public.security_events", "public.refresh_tokens", "public.users"}
    events = found["public.security_events"]
    assert events["row_count"] == pytest.approx(20_000, rel=0.02)
    assert events["total_bytes"] == hardened.value(
        "SELECT pg_total_relation_size('security_events')"
    )
    assert events["total_size"] == hardened.value(
        "SELECT pg_size_pretty(pg_total_relation_size('security_events'))"
    )
    assert rows_read(hardened) == before


def rows_read(database: Database) -> Any:
    return database.value(
        """SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables
           WHERE relname = 'security_events'"""
    )


def test_table_size_adds_up_partitions(hardened: Database, conn: Connection) -> None:
    conn.execute("ALTER TABLE security_events RENAME TO old_events")
    conn.execute(
        """CREATE TABLE security_events (id uuid, created_at timestamptz, body text)
               PARTITION BY RANGE (created_at);
           CREATE TABLE p1 PARTITION OF security_events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')
               PARTITION BY RANGE (created_at);
           CREATE TABLE p1a PARTITION OF p1 FOR VALUES FROM ('2026-01-01') TO ('2026-01-15');
           CREATE TABLE p2 PARTITION OF security_events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
           INSERT INTO security_events
               SELECT gen_random_uuid(), '2026-01-10', 'x' FROM generate_series(1, 5000);
           INSERT INTO security_events
               SELECT gen_random_uuid(), '2026-02-10', 'x' FROM generate_series(1, 3000);
           ANALYZE security_events"""
    )
    found = {row["table_name"]: row for row in ask(hardened, "table-size")}
    events = found["public.security_events"]
    assert events["row_count"] == pytest.approx(8_000, rel=0.02)
    assert events["total_bytes"] == hardened.value(
        "SELECT pg_total_relation_size('p1a') + pg_total_relation_size('p2')"
    )


def test_index_usage_counts_uses_and_marks_what_is_never_used(
    hardened: Database, conn: Connection
) -> None:
    conn.execute("SET enable_seqscan = off")
    conn.execute("SELECT count(*) FROM refresh_tokens WHERE expires_at < now()")
    conn.close()
    rows = {row["indexrelname"]: row for row in ask(hardened, "index-usage")}
    used = rows["idx_refresh_tokens_expires_at"]
    assert (used["idx_scan"], used["severity"], used["table_name"]) == (
        1,
        None,
        "public.refresh_tokens",
    )
    assert rows["idx_refresh_tokens_family"]["severity"] == "low"
    assert rows["refresh_tokens_pkey"]["severity"] is None
    assert rows["idx_security_events_login_failed"]["kind"] == "partial"
    assert "idx_users_locked_until" in rows
    assert list(used)[:4] == ["indexrelname", "idx_scan", "idx_tup_read", "idx_tup_fetch"]
    only = ask(hardened, "index-usage", table="users")
    assert {row["table_name"] for row in only} == {"public.users"}
    assert "users_pkey" in {row["indexrelname"] for row in only}


def test_index_usage_marks_an_index_that_failed_to_build(
    hardened: Database, conn: Connection
) -> None:
    conn.execute(
        """INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
           SELECT (SELECT id FROM users LIMIT 1), n::text, now() FROM generate_series(1, 2) n"""
    )
    with pytest.raises(Exception, match="could not create unique index"):
        conn.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON refresh_tokens (user_id)")
    rows = {row["indexrelname"]: row for row in ask(hardened, "index-usage")}
    assert (rows["broken"]["kind"], rows["broken"]["severity"]) == ("invalid", "high")
