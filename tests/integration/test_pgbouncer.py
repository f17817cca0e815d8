"""Behind a real PgBouncer in transaction mode: what needs a session asks for one, all else just works."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest

from support.crowd import at_once
from support.pgbouncer import PgBouncer, pgbouncer
from support.schemas import APPS, leftovers, shape
from support.servers import majors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.databases import Command, Database
    from support.servers import Server

CROWD = 20
SETTINGS = ("search_path", "lock_timeout", "statement_timeout", "TimeZone", "role",
            "default_transaction_read_only", "idle_in_transaction_session_timeout", "DateStyle")  # fmt: skip


@pytest.fixture
def bouncer(server: Server) -> Iterator[PgBouncer]:
    with pgbouncer(server) as running:
        yield running


def left_behind(bouncer: PgBouncer, database: Database) -> set[tuple[str, ...]]:
    """Return the settings of every connection that the pooler may give to the app next."""
    with ExitStack() as stack:
        found = set()
        for _ in range(bouncer.size):
            conn = stack.enter_context(psycopg.connect(bouncer.url(database)))
            # Its transaction stays open, so each has a connection of its own.
            query = ", ".join(f"current_setting('{name}')" for name in SETTINGS)
            row = conn.execute(f"SELECT {query}".encode()).fetchone()
            assert row is not None
            found.add(tuple(map(str, row)))
        return found


@pytest.mark.parametrize(
    ("server", "pooled"),
    [(min(majors()), False), (max(majors()), True)],
    indirect=["server"],
)
def test_of_twenty_runs_at_once_one_migrates_and_all_succeed(
    secops: Command, app_db: Database, bouncer: PgBouncer, *, pooled: bool
) -> None:
    on = secops.on(app_db)
    if pooled:
        on = secops.on(
            app_db, SECOPS_DATABASE_URL=bouncer.url(app_db), SECOPS_DIRECT_URL=app_db.url
        )
    done = at_once([lambda: on("migrate", "--yes", "--json")] * CROWD)
    assert [each.code for each in done] == [0] * CROWD, [each.err for each in done]
    *none, one = sorted(len(each.json()["applied"]) for each in done)
    assert (none, one > 0) == ([0] * (CROWD - 1), True)
    # Each version once, and nobody left anything behind.
    assert app_db.value("SELECT count(*) FROM security_events") == one
    assert app_db.value("SELECT count(*) FROM secops.operations") == 1
    assert leftovers(app_db) == []


def test_what_needs_a_session_asks_for_it_before_anything_is_touched(
    secops: Command, app_db: Database, hardened: Database, bouncer: PgBouncer
) -> None:
    before = shape(app_db)
    through = secops.on(app_db, SECOPS_DATABASE_URL=bouncer.url(app_db))
    for words in (["migrate", "--yes"], ["migrate", "--dry-run"], ["migrate", "down", "--yes"]):
        done = through(*words)
        assert (done.code, "SECOPS_DIRECT_URL" in done.err) == (2, True), done
        assert "nothing was touched" in done.err
    # The way around is no way if it leads through one too.
    also = through("migrate", "--yes", env={"SECOPS_DIRECT_URL": bouncer.url(app_db)})
    assert (also.code, "also leads" in also.err) == (2, True), also
    # Looking is harmless, and needs no session.
    assert through("migrate", "status").code == 0
    assert through("migrate", "plan").code == 0
    assert through("migrate", "check").code == 3
    assert shape(app_db) == before

    assert secops.on(hardened)("partition", "convert", "--yes").code == 0
    months = hardened.execute(
        """SELECT inhrelid::regclass::text FROM pg_inherits
           WHERE inhparent = 'security_events'::regclass ORDER BY 1 DESC LIMIT 1"""
    )
    hardened.execute(f"DROP TABLE {months[0][0]}")
    before = shape(hardened)
    through = secops.on(hardened, SECOPS_DATABASE_URL=bouncer.url(hardened))
    for words, code in ((["partition", "undo", "--yes"], 8), (["partition", "ahead", "--yes"], 2)):
        done = through(*words)
        assert (done.code, "SECOPS_DIRECT_URL" in done.err) == (code, True), done
    cron = through("cron", "cleanup", "--json")
    assert "SECOPS_DIRECT_URL" in cron.out + cron.err
    assert shape(hardened) == before
    assert len(left_behind(bouncer, hardened)) == 1
    direct = through("partition", "ahead", "--yes", env={"SECOPS_DIRECT_URL": hardened.url})
    assert direct.code == 0, direct.err
    assert through("partition", "status").code == 0


def test_the_ordinary_commands_work_through_it_and_leave_no_setting_behind(
    secops: Command, hardened: Database, bouncer: PgBouncer
) -> None:
    APPS["uuid"].use_plan(hardened)
    hardened.execute(
        """UPDATE users SET locked_until = now() + interval '1 hour' WHERE email LIKE 'b%';
           UPDATE refresh_tokens SET expires_at = now() - interval '60 days'
           WHERE id IN (SELECT id FROM refresh_tokens LIMIT 3);
           UPDATE security_events SET created_at = now() - interval '9 years'
           WHERE id IN (SELECT id FROM security_events WHERE event_type = 'login_failed' LIMIT 3)"""
    )
    event = {
        "event_type": "login_failed", "event_category": "authentication", "severity": "warning",
        "email": "bob@example.com", "success": False, "created_at": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    (secops.home / "events.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    (secops.home / "secops.yaml").write_text("retention:\n  security: 400d\n", encoding="utf-8")
    before = left_behind(bouncer, hardened)
    through = secops.on(hardened, SECOPS_DATABASE_URL=bouncer.url(hardened))

    def changed(*words: str) -> int:
        done = through(*words, "--json")
        assert done.code == 0, done
        return int(done.json()["changed"])

    reason = ("--reason", "drill", "--yes")
    assert len(through("report", "failed-logins", "--min-attempts", "1", "--json").json()) > 0
    assert through("show", "user", "bob@example.com").code == 0
    assert changed("unlock", "user", "bob@example.com", *reason) == 1
    assert changed("lock", "user", "bob@example.com", *reason) == 1
    assert changed("revoke", "sessions", "--user", "alice@example.com", *reason) > 0
    assert changed("prune", "tokens", "--yes") == 3
    assert changed("prune", "events", "--yes") == 3
    assert changed("import", "events", "events.jsonl", "--yes") == 1
    assert changed("import", "events", "events.jsonl", "--yes") == 0
    assert through("cron", "cleanup").code == 0
    assert through("doctor").code == 0
    # Of the lock that only one of several holds, the pooler keeps nothing either.
    runs = at_once([lambda: through("prune", "tokens", "--yes")] * 3)
    assert {each.code for each in runs} <= {0, 6}, runs
    assert leftovers(hardened) == []
    assert left_behind(bouncer, hardened) == before
    assert len(before) == 1
