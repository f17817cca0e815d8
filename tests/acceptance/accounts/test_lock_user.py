"""``secops lock user``, as an operator uses it."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.accounts import People

one_major = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")


@one_major
def test_a_lock_stands_where_the_app_looks_and_says_who_and_why(people_of_any_key: People) -> None:
    people = people_of_any_key
    bob = people.add("bob@example.com")

    done = people("lock", "user", "bob@example.com", "--for", "2h", "--reason", "strange logins",
                  "--ticket", "SEC-12", env={"SECOPS_OPERATOR": "alice"})  # fmt: skip

    assert done.code == 0, done.err
    assert "Locked bob@example.com until" in done.out
    assert "Undo: secops unlock user bob@example.com" in done.out
    by, reason, until = people.lock(bob) or (None, None, None)
    assert (by, reason) == ("alice", "strange logins")
    assert until == people.user(bob)[1]
    (deed,) = people.deeds()
    assert (deed["type"], deed["user"]) == ("account_locked", bob)
    assert "strange logins" in deed["message"]
    assert deed["metadata"]["ticket"] == "SEC-12"
    left = people.database.value("SELECT locked_until - now() FROM users")
    assert timedelta(hours=1, minutes=58) < left <= timedelta(hours=2)


@one_major
def test_without_an_end_it_lasts_until_somebody_unlocks(people: People) -> None:
    bob = people.add("bob@example.com")

    done = people.do("lock", "user", "bob@example.com")

    assert "until somebody unlocks it" in done.out
    assert (people.lock(bob) or ())[2:] == (None,)
    # A date that every driver can read, and no infinity.
    assert people.database.value("SELECT locked_until = '9999-12-31 00:00:00+00' FROM users")


@one_major
def test_locking_twice_says_so_and_changes_nothing(people: People) -> None:
    bob = people.add("bob@example.com")
    for span in ((), ("--for", "2h")):
        assert people.do("lock", "user", "bob@example.com", *span).code == 0
        before = (people.user(bob), people.lock(bob))

        again = people.do("lock", "user", "bob@example.com", *span, "--json")

        assert again.code == 0
        found = again.json()
        assert found["changed"] == 0
        assert found["items"][0]["result"] == "already locked"
        assert "already locked" in found["summary"]
        assert found["undo"] == ""
        assert (people.user(bob), people.lock(bob)) == before
        assert people.do("unlock", "user", "bob@example.com").code == 0


@one_major
def test_a_longer_lock_prolongs_and_a_shorter_one_does_not_shorten(people: People) -> None:
    bob = people.add("bob@example.com")
    assert people.do("lock", "user", "bob@example.com", "--for", "1h").code == 0
    first = people.user(bob)[1]

    longer = people.do("lock", "user", "bob@example.com", "--for", "2d")
    assert "Prolonged the lock of bob@example.com" in longer.out
    second = people.user(bob)[1]
    assert second - first > timedelta(days=1)

    shorter = people.do("lock", "user", "bob@example.com", "--for", "1h")
    assert "already locked" in shorter.out
    assert people.user(bob)[1] == second


@one_major
def test_an_automatic_lock_that_lasts_longer_is_not_shortened(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="5 hours")
    before = people.user(bob)[1]

    assert people.do("lock", "user", "bob@example.com", "--for", "1h").code == 0

    assert people.user(bob)[1] == before
    assert people.lock(bob) is not None


@one_major
def test_a_lock_that_the_app_cleared_is_set_again(people: People) -> None:
    bob = people.add("bob@example.com")
    assert people.do("lock", "user", "bob@example.com").code == 0
    people.database.execute("UPDATE users SET locked_until = NULL")

    again = people.do("lock", "user", "bob@example.com")

    assert "Locked bob@example.com" in again.out
    assert people.user(bob)[1] is not None


@one_major
def test_sessions_go_on_unless_they_are_revoked_too(people: People) -> None:
    bob = people.add("bob@example.com")
    people.token(bob)
    people.token(bob)

    done = people.do("lock", "user", "bob@example.com")
    assert "2 live sessions" in done.err
    assert "--revoke-sessions" in done.err
    assert people.live(bob) == 2

    done = people.do("lock", "user", "bob@example.com", "--revoke-sessions")
    assert done.code == 0, done.err
    assert "already locked" in done.out
    assert "Ended 2 live sessions" in done.out
    assert "Access tokens" in done.err
    assert people.live(bob) == 0
    assert people.epoch(bob) == 1
    assert [deed["type"] for deed in people.deeds()] == ["account_locked", "session_revoked"]
    assert [row[0] for row in people.operations()] == ["lock user", "lock user"]


@one_major
def test_lock_and_revocation_are_one_operation(people: People) -> None:
    bob = people.add("bob@example.com")
    people.token(bob)

    found = people.do("lock", "user", "bob@example.com", "--revoke-sessions", "--json").json()

    assert found["sessions_ended"] == 1
    ids = {deed["metadata"]["operation_id"] for deed in people.deeds()}
    assert ids == {found["operation_id"]}


@one_major
def test_a_dry_run_says_what_would_happen(people: People) -> None:
    bob = people.add("bob@example.com")
    people.token(bob)

    done = people("lock", "user", "bob@example.com", "--for", "2h", "--revoke-sessions", "--dry-run",
                  env={"PGOPTIONS": "-c default_transaction_read_only=on"})  # fmt: skip

    assert done.code == 0, done.err
    assert done.out.startswith("Would lock bob@example.com until")
    assert "Would end 1 live session" in done.out
    assert people.user(bob) == (0, None)
    assert people.live(bob) == 1


@one_major
def test_a_file_of_names_is_asked_for_and_a_wrong_one_stops_all(
    people: People, tmp_path: Path
) -> None:
    ids = [people.add(f"p{n}@example.com") for n in range(2)]
    names = tmp_path / "leaked.txt"
    names.write_text("p0@example.com\np1@example.com\nnobody@example.net\n")

    assert people.do("lock", "user", "--from-file", str(names), "--yes").code == 4
    names.write_text("p0@example.com\np1@example.com\n")
    assert people.do("lock", "user", "--from-file", str(names)).code == 8
    assert [people.lock(each) for each in ids] == [None, None]

    assert people.do("lock", "user", "--from-file", str(names), "--yes", "--expect", "2").code == 0
    assert all(people.lock(each) for each in ids)


@one_major
def test_the_undo_line_takes_it_back(people: People) -> None:
    bob = people.add("bob@example.com", failed=2)
    done = people.do("lock", "user", "bob@example.com", "--json").json()

    again = people(*shlex.split(done["undo"])[1:])

    assert again.code == 0, again.err
    assert people.lock(bob) is None
    assert people.user(bob) == (0, None)


@one_major
def test_bad_durations_are_refused(people: People) -> None:
    people.add("bob@example.com")
    for span in ("0", "-1h", "5", "soon", "200000d"):
        done = people.do("lock", "user", f"--for={span}", "bob@example.com")
        assert done.code == 2, span
    assert people.do("lock", "user").code == 2
    assert people.deeds() == []
