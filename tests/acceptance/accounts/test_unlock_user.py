"""``secops unlock user``, as an operator uses it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.accounts import People


# What differs between majors is tried on both in tests/integration.
one_major = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")


@one_major
def test_it_clears_lock_and_counter_and_records_who_and_why(people_of_any_key: People) -> None:
    people = people_of_any_key
    bob = people.add("bob@example.com", failed=5, locked_for="20 minutes")

    done = people("unlock", "user", "bob@example.com", "--reason", "called us", "--ticket", "T-1",
                  env={"SECOPS_OPERATOR": "alice"})  # fmt: skip

    assert done.code == 0, done.err
    assert "Unlocked bob@example.com" in done.out
    assert "Undo: secops lock user bob@example.com --for" in done.out
    assert people.user(bob) == (0, None)
    (deed,) = people.deeds()
    assert deed["type"] == "account_unlocked"
    assert (deed["user"], deed["email"]) == (bob, "bob@example.com")
    assert (deed["severity"], deed["success"]) == ("warning", True)
    assert deed["agent"].startswith("secops/")
    assert deed["metadata"]["actor"] == "alice"
    assert deed["metadata"]["reason"] == "called us"
    assert deed["metadata"]["ticket"] == "T-1"
    assert deed["metadata"]["command"] == "unlock user"
    assert deed["metadata"]["host"]
    assert deed["metadata"]["failed_login_attempts"] == 5
    assert people.operations() == [("unlock user", 1, 1, True)]


@one_major
def test_an_address_in_any_case_and_an_id_name_the_same_person(people_of_any_key: People) -> None:
    people = people_of_any_key
    bob = people.add("Bob@Example.com", failed=5, locked_for="20 minutes")

    assert people.do("unlock", "user", "bob@example.COM").code == 0
    assert people.user(bob) == (0, None)

    people.database.execute("UPDATE users SET locked_until = now() + interval '1 h'")
    assert people.do("unlock", "user", str(bob)).code == 0
    assert people.user(bob) == (0, None)


@one_major
def test_json_is_one_object_of_the_promised_shape(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="20 minutes")

    found = people.do("unlock", "user", "bob@example.com", "--json").json()

    assert found["action"] == "unlock user"
    assert found["dry_run"] is False
    assert (found["matched"], found["changed"]) == (1, 1)
    (item,) = found["items"]
    assert item["user"] == "bob@example.com"
    assert item["id"] == str(bob)
    assert item["result"] == "unlocked"
    assert item["was_locked_by"] == "failed logins"
    assert found["operation_id"] == people.deeds()[0]["metadata"]["operation_id"]


@one_major
def test_who_is_not_locked_stays_as_they_are_and_that_is_fine(people: People) -> None:
    people.add("bob@example.com")

    done = people.do("unlock", "user", "bob@example.com")

    assert done.code == 0
    assert "bob@example.com is not locked" in done.out
    assert "Undo" not in done.out
    assert people.deeds() == []
    assert people.operations() == []


@one_major
def test_failed_logins_that_locked_nothing_yet_are_cleared(people: People) -> None:
    bob = people.add("bob@example.com", failed=4)

    done = people.do("unlock", "user", "bob@example.com")

    assert done.code == 0
    assert "is not locked; cleared 4 failed logins" in done.out
    assert people.user(bob) == (0, None)
    assert len(people.deeds("account_unlocked")) == 1


@one_major
def test_a_dry_run_changes_nothing_and_needs_no_reason(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="20 minutes")
    before = people.user(bob)

    done = people("unlock", "user", "bob@example.com", "--dry-run")

    assert done.code == 0
    assert done.out.startswith("Would unlock bob@example.com")
    assert people.user(bob) == before
    assert people.deeds() == []
    assert people.operations() == []


@one_major
def test_a_dry_run_sends_no_write(people: People) -> None:
    people.add("bob@example.com", failed=5, locked_for="20 minutes")

    done = people("unlock", "user", "bob@example.com", "--dry-run",
                  env={"PGOPTIONS": "-c default_transaction_read_only=on"})  # fmt: skip

    assert done.code == 0, done.err


@one_major
def test_without_a_reason_nothing_happens(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="20 minutes")

    done = people("unlock", "user", "bob@example.com")

    assert done.code == 2
    assert "--reason" in done.err
    assert people.user(bob)[0] == 5


@one_major
def test_a_name_that_matches_nobody_is_met_with_the_nearest(people: People) -> None:
    people.add("bob@example.com")
    people.add("zoe@elsewhere.org")

    done = people.do("unlock", "user", "bbo@example.com")

    assert done.code == 4
    assert "Did you mean bob@example.com?" in done.err

    error = people.do("unlock", "user", "bobb@example.com", "--json").error()
    assert error["code"] == "nothing-matched"
    assert error["details"]["suggestions"] == {"bobb@example.com": ["bob@example.com"]}


@one_major
def test_one_wrong_name_among_several_stops_them_all(people: People) -> None:
    alice = people.add("alice@example.com", failed=5, locked_for="20 minutes")

    done = people.do("unlock", "user", "alice@example.com", "bbo@example.com", "karol@example.com")

    assert done.code == 4
    assert "'bbo@example.com'" in done.err
    assert "'karol@example.com'" in done.err
    assert people.user(alice)[0] == 5


@one_major
def test_several_names_are_one_operation(people: People) -> None:
    ids = [people.add(f"p{n}@example.com", failed=5, locked_for="1 hour") for n in range(3)]

    done = people.do(
        "unlock", "user", "p0@example.com", "p1@example.com", str(ids[2]), "P0@EXAMPLE.COM"
    )

    assert done.code == 0, done.err
    assert "Unlocked 3 accounts" in done.out
    assert [people.user(each) for each in ids] == [(0, None)] * 3
    assert len({deed["metadata"]["operation_id"] for deed in people.deeds()}) == 1


@one_major
def test_addresses_that_differ_in_case_are_not_guessed_between(people: People) -> None:
    people.add("Bob@example.com", failed=5, locked_for="1 hour")
    exact = people.add("bob@example.com", failed=5, locked_for="1 hour")

    done = people.do("unlock", "user", "BOB@example.com")
    assert done.code == 5
    assert "Bob@example.com" in done.err
    assert "bob@example.com" in done.err

    assert people.do("unlock", "user", "bob@example.com").code == 0
    assert people.user(exact) == (0, None)


@one_major
def test_names_from_a_file_are_shown_as_a_count_and_asked_for(
    people: People, tmp_path: Path
) -> None:
    ids = [people.add(f"p{n}@example.com", failed=5, locked_for="1 hour") for n in range(3)]
    names = tmp_path / "names.txt"
    names.write_text("\ufeff# the office\np0@example.com\n\n  p1@example.com \r\np2@example.com\n")

    refused = people.do("unlock", "user", "--from-file", str(names))
    assert refused.code == 8
    assert "Unlock 3 accounts?" in refused.err
    assert people.user(ids[0])[0] == 5

    done = people.do("unlock", "user", "--from-file", str(names), "--yes")
    assert done.code == 0, done.err
    assert [people.user(each) for each in ids] == [(0, None)] * 3


@one_major
def test_stdin_may_be_the_file(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")

    done = people.do("unlock", "user", "--from-file", "-", input="bob@example.com\n")

    assert done.code == 0, done.err
    assert people.user(bob) == (0, None)


@one_major
def test_each_line_of_a_file_that_matches_nobody_is_named(people: People, tmp_path: Path) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")
    names = tmp_path / "names.txt"
    names.write_bytes(b"bob@example.com\nbobb@example.com\n\xff\xfe\n")

    done = people.do("unlock", "user", "--from-file", str(names), "--yes")

    assert done.code == 4
    assert f"{names}:2: 'bobb@example.com'; did you mean bob@example.com?" in done.err
    assert f"{names}:3: " in done.err
    assert people.user(bob)[0] == 5


@one_major
def test_all_locked_leaves_alone_what_operators_locked(people: People) -> None:
    auto = people.add("auto@example.com", failed=5, locked_for="1 hour")
    over = people.add("over@example.com", failed=5, locked_for="-1 hour")
    people.add("free@example.com", failed=2)
    theirs = people.add("theirs@example.com")
    # The app cleared its own column, yet the operator's lock is still in force.
    cleared = people.add("cleared@example.com")
    assert people.do("lock", "user", "theirs@example.com", "cleared@example.com").code == 0
    people.database.execute("UPDATE users SET locked_until = NULL WHERE id = %s", (cleared,))

    seen = people.do("unlock", "user", "--all-locked", "--dry-run", "--json").json()
    assert [item["user"] for item in seen["items"]] == ["auto@example.com"]

    done = people.do("unlock", "user", "--all-locked", "--yes")
    assert done.code == 0, done.err
    assert people.user(auto) == (0, None)
    assert people.user(over)[0] == 5
    assert people.lock(theirs) is not None

    again = people.do("unlock", "user", "--all-locked", "--yes")
    assert again.code == 4
    assert "operators locked 2" in again.err

    both = people.do("unlock", "user", "--all-locked", "--operator-locks", "--yes")
    assert both.code == 0, both.err
    assert (people.lock(theirs), people.lock(cleared)) == (None, None)
    assert people.user(theirs) == (0, None)


@one_major
def test_locked_by_ip_finds_whom_failed_logins_from_there_locked(people: People) -> None:
    here = people.add("here@example.com", failed=5, locked_for="1 hour")
    mapped = people.add("mapped@example.com", failed=5, locked_for="1 hour")
    unknown = people.add("Unknown@example.com", failed=5, locked_for="1 hour")
    there = people.add("there@example.com", failed=5, locked_for="1 hour")
    past = people.add("past@example.com", failed=5, locked_for="1 hour")
    people.event("account_locked", user=here, ip="203.0.113.9")
    people.event("login_failed", user=mapped, ip="::ffff:203.0.113.77")
    people.event("login_failed", email="unknown@example.com", ip="203.0.113.1")
    people.event("login_failed", user=there, ip="198.51.100.1")
    people.event("login_failed", user=there, ip="not an address")
    people.event("login_failed", user=past, ip="203.0.113.9", age="3 days")

    done = people.do("unlock", "user", "--locked-by-ip", "203.0.113.0/24", "--expect", "3", "--yes")

    assert done.code == 0, done.err
    assert [people.user(each)[0] for each in (here, mapped, unknown, there, past)] == [
        0,
        0,
        0,
        5,
        5,
    ]


@one_major
def test_an_ipv6_network_works_too(people: People) -> None:
    six = people.add("six@example.com", failed=5, locked_for="1 hour")
    people.event("login_failed", user=six, ip="2001:db8:1::7")

    assert people.do("unlock", "user", "--locked-by-ip", "2001:db8:2::/48", "--yes").code == 4
    assert people.do("unlock", "user", "--locked-by-ip", "2001:db8:1::/48", "--yes").code == 0
    assert people.user(six) == (0, None)


@one_major
def test_expect_refuses_another_number(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")

    done = people.do("unlock", "user", "--all-locked", "--expect", "2", "--yes")

    assert done.code == 8
    assert people.user(bob)[0] == 5


@one_major
def test_usage_mistakes_are_told_apart(people: People, tmp_path: Path) -> None:
    people.add("bob@example.com")
    for words in (
        ("unlock", "user"),
        ("unlock", "user", "bob@example.com", "--all-locked"),
        ("unlock", "user", "bob@example.com", "--operator-locks"),
        ("unlock", "user", "--locked-by-ip", "the office"),
        ("unlock", "user", "--locked-by-ip", "fe80::1%eth0"),
        ("unlock", "user", ""),
    ):
        done = people.do(*words)
        assert done.code == 2, (words, done.err)
        assert len(done.err.strip().splitlines()) == 2, done.err
    missing = people.do("unlock", "user", "--from-file", str(tmp_path / "no.txt"))
    assert missing.code == 1
    assert "no.txt" in missing.err


@one_major
def test_an_id_that_is_none_is_simply_nobody(people: People) -> None:
    people.add("bob@example.com")
    for who in ("99999999999999999999999", "x' OR 1=1 --", "\udcff", "_" * 3000):
        done = people.do("unlock", "user", "--", who)
        assert done.code == 4, (who, done.err)


@one_major
def test_the_undo_line_takes_it_back(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="20 minutes")
    done = people.do("unlock", "user", "bob@example.com", "--json").json()

    words = shlex.split(done["undo"])
    assert words[0] == "secops"
    again = people(*words[1:])

    assert again.code == 0, again.err
    by, reason, until = people.lock(bob) or (None, None, None)
    assert until is not None
    assert reason == f"undo {done['operation_id']}"
    assert by
    assert people.do("unlock", "user", "bob@example.com").code == 0


@one_major
def test_text_that_could_steer_a_shell_never_stands_in_the_undo_line(people: People) -> None:
    evil = people.add("--yes;$(reboot)@example.com", failed=5, locked_for="1 hour")

    done = people.do("unlock", "user", "--json", "--", "--yes;$(reboot)@example.com").json()

    assert done["changed"] == 1
    assert "reboot" not in done["undo"]
    assert str(evil) in done["undo"]


@one_major
def test_production_asks_for_a_single_account_too(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")

    done = people.do("unlock", "user", "bob@example.com", env={"SECOPS_PRODUCTION": "true"})

    assert done.code == 8
    assert people.user(bob)[0] == 5
    yes = people.do("unlock", "user", "bob@example.com", "--yes", env={"SECOPS_PRODUCTION": "true"})
    assert yes.code == 0


@one_major
def test_many_accounts_are_unlocked_in_batches_under_one_operation(people: People) -> None:
    people.database.execute(
        "INSERT INTO users (email, failed_login_attempts, locked_until)"
        " SELECT 'p' || n || '@example.com', 5, now() + interval '1 h' FROM generate_series(1, 1201) n"
    )

    done = people.do("unlock", "user", "--all-locked", "--expect", "1201", "--yes", "--json")

    assert done.code == 0, done.err
    assert json.loads(done.out)["changed"] == 1201
    assert people.database.value("SELECT count(*) FROM users WHERE locked_until IS NOT NULL") == 0
    assert len(people.deeds("account_unlocked")) == 1201
    assert people.operations() == [("unlock user", 1201, 1201, True)]
