"""``secops revoke sessions``, as an operator uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.accounts import FIREFOX, IPHONE

if TYPE_CHECKING:
    from support.accounts import People

one_major = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")


def _alive(people: People, tokens: list[Any]) -> list[bool]:
    rows = people.database.execute("SELECT id FROM refresh_tokens WHERE NOT revoked AND NOT used")
    left = {row[0] for row in rows}
    return [token in left for token in tokens]


@one_major
def test_all_sessions_of_a_user_end_and_the_epoch_rises(people_of_any_key: People) -> None:
    people = people_of_any_key
    bob, eve = people.add("bob@example.com"), people.add("eve@example.com")
    mine = [people.token(bob), people.token(bob, agent=IPHONE)]
    people.token(eve)

    done = people("revoke", "sessions", "--user", "BOB@example.com", "--reason", "laptop stolen",
                  "--ticket", "SEC-1", env={"SECOPS_OPERATOR": "alice"})  # fmt: skip

    assert done.code == 0, done.err
    assert "Ended 2 sessions of bob@example.com." in done.out
    assert "Cannot be undone: people whose sessions ended log in again." in done.out
    assert "Access tokens" in done.err
    assert (people.live(bob), people.live(eve)) == (0, 1)
    assert (people.epoch(bob), people.epoch(eve)) == (1, 0)
    rows = people.database.execute(
        "SELECT DISTINCT revoked, revoked_reason, revoked_at IS NOT NULL FROM refresh_tokens"
        " WHERE user_id = %s", (bob,),
    )  # fmt: skip
    assert rows == [(True, "admin", True)]
    (deed,) = people.deeds()
    assert (deed["type"], deed["user"], deed["email"]) == (
        "session_revoked",
        bob,
        "bob@example.com",
    )
    assert deed["message"] == "2 sessions ended by an operator"
    assert deed["metadata"]["count"] == 2
    assert sorted(deed["metadata"]["token_ids"]) == sorted(map(str, mine))
    assert deed["metadata"]["token_epoch"] == 1
    assert deed["metadata"]["actor"] == "alice"
    assert people.operations() == [("revoke sessions", 2, 2, True)]


@one_major
def test_only_live_tokens_are_touched(people: People) -> None:
    bob = people.add("bob@example.com")
    people.token(bob)
    people.token(bob, expires="-1 hour")
    people.token(bob, used=True)
    people.database.execute("UPDATE refresh_tokens SET revoked = NULL WHERE used")
    people.token(bob, revoked=True)

    found = people.do("revoke", "sessions", "--user", "bob@example.com", "--json").json()

    assert found["matched"] == found["changed"] == 1
    assert (
        people.database.value("SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NOT NULL")
        == 1
    )


@one_major
def test_a_session_is_named_by_any_token_that_was_ever_its(people: People) -> None:
    bob = people.add("bob@example.com")
    first = people.token(bob, used=True, age="3 hours")
    second = people.token(bob, used=True, age="2 hours", family=first)
    leaf = people.token(bob, family=first, age="1 hour")
    other = people.token(bob)

    done = people.do("revoke", "sessions", "--session", str(second))

    assert done.code == 0, done.err
    assert _alive(people, [leaf, other]) == [False, True]
    # Another session is left, so other access tokens must go on working.
    assert people.epoch(bob) == 0


@one_major
def test_a_family_is_named_by_its_own_number(people: People) -> None:
    bob = people.add("bob@example.com")
    root = people.token(bob, used=True)
    leaf = people.token(bob, family=root)

    assert people.do("revoke", "sessions", "--family", str(leaf)).code == 4
    assert people.do("revoke", "sessions", "--family", str(root)).code == 0
    assert _alive(people, [leaf]) == [False]


@one_major
def test_criteria_combine_with_and_and_the_same_one_with_or(people: People) -> None:
    bob, eve = people.add("bob@example.com"), people.add("eve@example.com")
    tokens = [
        people.token(bob, ip="203.0.113.5", agent=FIREFOX),
        people.token(bob, ip="203.0.113.6", agent=IPHONE),
        people.token(eve, ip="203.0.113.7", agent=IPHONE),
        people.token(eve, ip="2001:db8::1", agent=IPHONE),
        people.token(eve, ip="198.51.100.1", agent=IPHONE),
        people.token(eve, ip="::ffff:203.0.113.9", agent=IPHONE),
        people.token(eve, ip="no address", agent=IPHONE),
        people.token(eve, ip=None, agent=None),
    ]

    done = people.do("revoke", "sessions", "--ip", "203.0.113.0/24", "--ip", "2001:db8::/32",
                     "--agent", "*iphone*", "--expect", "4", "--yes")  # fmt: skip

    assert done.code == 0, done.err
    assert _alive(people, tokens) == [True, False, False, False, True, False, True, True]


@one_major
def test_a_glob_means_what_it_says(people: People) -> None:
    bob = people.add("bob@example.com")
    tokens = [
        people.token(bob, agent=agent) for agent in ("100% _real_", "1000 Xreal_", r"a\b", "A*b")
    ]

    seen = people("revoke", "sessions", "--agent", "100% _REAL?", "--dry-run", "--json").json()
    assert seen["items"][0]["token_ids"] == [str(tokens[0])]
    seen = people("revoke", "sessions", "--agent", r"a\b", "--dry-run", "--json").json()
    assert seen["items"][0]["token_ids"] == [str(tokens[2])]
    assert people("revoke", "sessions", "--agent", "?", "--dry-run").code == 4


@one_major
def test_a_session_is_as_old_as_its_login_and_as_idle_as_its_last_refresh(people: People) -> None:
    bob = people.add("bob@example.com")
    root = people.token(bob, used=True, age="10 days")
    refreshed = people.token(bob, family=root, age="5 minutes")
    asleep = people.token(bob, age="3 days")
    fresh = people.token(bob, age="1 minute")
    every = [refreshed, asleep, fresh]

    def matched(*words: str) -> list[bool]:
        done = people("revoke", "sessions", *words, "--dry-run", "--json")
        if done.code == 4:
            return [False] * 3
        ids = [each for item in done.json()["items"] for each in item["token_ids"]]
        return [str(token) in ids for token in every]

    assert matched("--issued-before", "7d") == [True, False, False]
    assert matched("--issued-before", "2d ago") == [True, True, False]
    assert matched("--issued-before", "2000-01-01") == [False] * 3
    assert matched("--idle-for", "2d") == [False, True, False]
    assert matched("--idle-for", "2d", "--issued-before", "7d") == [False] * 3


@one_major
def test_bulk_shows_counts_by_user_and_asks(people: People) -> None:
    for number in range(12):
        user = people.add(f"p{number:02}@example.com")
        for _ in range(number + 1):
            people.token(user, ip="203.0.113.5")

    done = people.do("revoke", "sessions", "--ip", "203.0.113.5")

    assert done.code == 8
    assert "End 78 sessions of 12 accounts?" in done.err
    assert "     12  p11@example.com" in done.err
    assert "      3  of 2 other accounts" in done.err
    assert people.database.value("SELECT count(*) FROM refresh_tokens WHERE revoked") == 0


@one_major
def test_a_dry_run_lists_each_session_with_its_id(people: People) -> None:
    bob = people.add("bob@example.com")
    root = people.token(bob, used=True)
    leaf = people.token(bob, family=root, agent=IPHONE)

    done = people("revoke", "sessions", "--user", "bob@example.com", "--dry-run",
                  env={"PGOPTIONS": "-c default_transaction_read_only=on"})  # fmt: skip
    assert done.code == 0, done.err
    assert str(root) in done.out
    assert "Safari 17 on iPhone" in done.out
    assert "Would end 1 session of bob@example.com." in done.out

    found = people("revoke", "sessions", "--user", "bob@example.com", "--dry-run", "--json").json()
    assert found["dry_run"] is True
    (item,) = found["items"]
    assert item == {
        "user": "bob@example.com",
        "id": str(bob),
        "sessions": 1,
        "session_ids": [str(root)],
        "token_ids": [str(leaf)],
    }
    assert _alive(people, [leaf]) == [True]


@one_major
def test_everyone_means_everyone_and_stands_alone(people: People) -> None:
    for number in range(3):
        people.token(people.add(f"p{number}@example.com"))

    refused = people.do("revoke", "sessions", "--everyone")
    assert refused.code == 8
    mixed = people.do("revoke", "sessions", "--everyone", "--ip", "203.0.113.0/24", "--yes")
    assert mixed.code == 2
    assert people.database.value("SELECT count(*) FROM refresh_tokens WHERE revoked") == 0

    done = people.do("revoke", "sessions", "--everyone", "--yes", "--expect", "3")
    assert done.code == 0, done.err
    assert people.database.value("SELECT count(*) FROM refresh_tokens WHERE NOT revoked") == 0
    assert people.do("revoke", "sessions", "--everyone", "--yes").code == 4


@one_major
def test_nothing_matched_is_told_apart_from_nothing_to_do(people: People) -> None:
    people.add("bob@example.com")

    assert people.do("revoke", "sessions", "--ip", "203.0.113.0/24", "--yes").code == 4
    assert (
        people.do("revoke", "sessions", "--session", "00000000-0000-0000-0000-000000000000").code
        == 4
    )
    assert people.do("revoke", "sessions", "--session", "bob").code == 4
    nobody = people.do("revoke", "sessions", "--user", "bbo@example.com")
    assert nobody.code == 4
    assert "Did you mean bob@example.com?" in nobody.err

    idle = people.do("revoke", "sessions", "--user", "bob@example.com")
    assert idle.code == 0
    assert "bob@example.com has no live session" in idle.out
    assert people.deeds() == []


@one_major
def test_usage_mistakes_are_told_apart(people: People) -> None:
    bob = people.add("bob@example.com")
    people.token(bob)
    for words in (
        (),
        ("--ip", "the office"),
        ("--issued-before", "2999-01-01"),
        ("--issued-before", "yesterday"),
        ("--idle-for", "-3d"),
        ("--idle-for", "0"),
        ("--agent", ""),
        ("--user", ""),
        ("--user", "bob@example.com", "--expect", "-1"),
    ):
        done = people.do("revoke", "sessions", *words, "--yes")
        assert done.code == 2, (words, done.err)
    assert people.live(bob) == 1


@one_major
def test_expect_refuses_another_number(people: People) -> None:
    bob = people.add("bob@example.com")
    people.token(bob)

    assert people.do("revoke", "sessions", "--user", "bob@example.com", "--expect", "2").code == 8
    assert people.live(bob) == 1


@one_major
def test_many_sessions_end_in_batches_under_one_operation(people: People) -> None:
    people.database.execute(
        "INSERT INTO users (email) SELECT 'p' || n || '@example.com' FROM generate_series(1, 1200) n"
    )
    people.database.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT id, gen_random_uuid()::text, now() + interval '1 d' FROM users, generate_series(1, 2)"
    )
    many = people.add("many@example.com")
    people.database.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT %s, gen_random_uuid()::text, now() + interval '1 d' FROM generate_series(1, 2500)",
        (many,),
    )

    found = people.do("revoke", "sessions", "--everyone", "--yes", "--json").json()

    assert found["matched"] == found["changed"] == 4900
    assert people.database.value("SELECT count(*) FROM refresh_tokens WHERE NOT revoked") == 0
    assert (
        people.database.value("SELECT count(*) FROM secops.accounts WHERE token_epoch = 1") == 1201
    )
    told = people.database.value(
        "SELECT sum((metadata ->> 'count')::int) FROM security_events"
        " WHERE event_type = 'session_revoked'"
    )
    assert told == 4900
    assert people.operations() == [("revoke sessions", 4900, 4900, True)]
