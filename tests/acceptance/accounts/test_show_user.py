"""``secops show user``: what it shows, where, and before any migration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.accounts import People
    from support.databases import Command, Database

one_major = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")


@one_major
def test_the_last_twenty_events_are_those_of_the_account_and_of_its_address(
    people_of_any_key: People,
) -> None:
    people = people_of_any_key
    bob, eve = people.add("Bob@example.com"), people.add("eve@example.com")
    for minute in range(1, 16):
        people.event("login_success", user=bob, age=f"{2 * minute} minutes")
        people.event("login_failed", email="bob@EXAMPLE.com", age=f"{2 * minute + 1} minutes")
    people.event("login_failed", user=eve, email="bob@example.com", age="1 second")
    people.event("login_failed", email="eve@example.com", age="1 second")

    found = people("show", "user", str(bob), "--json").json()

    assert [each["type"] for each in found["events"]] == ["login_success", "login_failed"] * 10
    times = [each["at"] for each in found["events"]]
    assert times == sorted(times, reverse=True)


@one_major
def test_people_read_the_answer_first(people: People) -> None:
    bob = people.add("bob@example.com", name="Bob", failed=1)
    people.token(bob)
    assert people.do("lock", "user", "bob@example.com", "--for", "3h").code == 0

    done = people("show", "user", "bob@example.com")

    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == f"bob@example.com (Bob), id {bob}"
    assert lines[1].startswith("A login would fail now: ")
    assert "a test" in lines[1]
    assert "Attempts  4 of 5 left" in lines
    assert "Firefox 128 on Windows" in done.out
    assert "account_locked" in done.out


@one_major
def test_before_the_first_migration_it_says_what_it_cannot_know(
    app_db: Database, secops: Command
) -> None:
    done = secops.on(app_db)("show", "user", "Alice@example.com", "--json")

    assert done.code == 0, done.err
    found = done.json()
    assert found["email"] == "alice@example.com"
    assert found["login"]["possible"] is True
    assert "public.users.locked_until" in found["missing"]
    assert "secops.accounts" in found["missing"]
    assert "secops migrate" in done.err
    changed = secops.on(app_db)("unlock", "user", "alice@example.com", "--reason", "r")
    assert changed.code == 1
    assert "secops migrate" in changed.err


@one_major
def test_with_the_plans_own_tables_alone_it_shows_what_they_hold(
    app_db: Database, secops: Command
) -> None:
    app_db.execute(
        """CREATE TABLE refresh_tokens (
               id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL,
               token_hash varchar(255) NOT NULL UNIQUE, device_info text, ip_address varchar(45),
               expires_at timestamptz NOT NULL, revoked boolean DEFAULT false,
               created_at timestamptz DEFAULT now())"""
    )
    app_db.execute(
        "ALTER TABLE users ADD failed_login_attempts integer DEFAULT 0, ADD locked_until timestamptz"
    )
    app_db.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT id, email, now() + interval '30 d' FROM users"
    )
    app_db.execute(
        "UPDATE users SET failed_login_attempts = 5, locked_until = now() + interval '20 min'"
    )

    found = secops.on(app_db)("show", "user", "alice@example.com", "--json").json()

    assert len(found["sessions"]) == 1
    assert [each["code"] for each in found["login"]["reasons"]] == ["automatic_lock"]
    assert "public.refresh_tokens.family_id" in found["missing"]


@one_major
def test_what_attackers_wrote_is_shown_inert(people: People) -> None:
    evil = "\x1b]0;owned\x07\u202e[red]<b>=1+1\r\n@example.com"
    bob = people.add(f"bob{evil}", name=f"Bob{evil}")
    people.token(bob, agent=f"Mozilla{evil}", ip="203.0.113.1")
    people.event(
        "login_failed", user=bob, agent=evil, message=evil, email=evil, metadata={"a": evil}
    )
    assert people.do("lock", "user", str(bob)).code == 0

    for words in (
        ("show", "user", str(bob)),
        ("unlock", "user", "--dry-run", str(bob)),
        ("revoke", "sessions", "--dry-run", "--user", str(bob)),
        ("show", "user", f"bob{evil}x"),
        ("revoke", "sessions", "--reason", "r", "--ip", "203.0.113.1"),
    ):
        done = people(*words)
        shown = done.out + done.err
        for character in ("\x1b", "\x07", "\u202e", "\r"):
            assert character not in shown, (words, shown)
        assert "owned" in shown
    found = people("show", "user", str(bob), "--json")
    assert "\u202e" not in found.out
    assert found.json()["email"] == f"bob{evil}"


@one_major
def test_it_changes_nothing(people: People) -> None:
    people.add("bob@example.com", failed=5, locked_for="1 hour")

    done = people("show", "user", "bob@example.com",
                  env={"PGOPTIONS": "-c default_transaction_read_only=on"})  # fmt: skip

    assert done.code == 0, done.err
    assert people.deeds() == []


@one_major
def test_an_account_without_an_address_is_found_by_its_id(people: People) -> None:
    phone = people.add(None, name="Phone only")
    people.event("login_failed", email="somebody@example.com")

    found = people("show", "user", str(phone), "--json").json()

    assert found["email"] is None
    assert found["events"] == []


@one_major
def test_it_reads_the_events_of_one_account_through_the_indexes(people: People) -> None:
    bob = people.add("bob@example.com")
    people.event("login_failed", user=bob)
    people.event("login_failed", email="bob@example.com")
    people.database.execute(
        "INSERT INTO security_events (event_type, event_category, severity, user_id, email, success)"
        " SELECT 'login_failed', 'authentication', 'info', NULL, md5(n::text), false"
        " FROM generate_series(1, 30000) n"
    )
    people.database.execute("VACUUM ANALYZE security_events")
    scans = "SELECT seq_scan FROM pg_stat_all_tables WHERE relid = 'security_events'::regclass"
    before = people.database.value(scans)

    found = people("show", "user", "bob@example.com", "--json").json()
    missing = people("show", "user", "nobody@example.com")

    assert len(found["events"]) == 2
    assert missing.code == 4
    assert people.database.value(scans) == before
    people.database.execute("SELECT count(message) FROM security_events")
    assert people.database.value(scans) > before
