"""Why can't X log in? One constructed case each; `secops show user X` must give the answer.

Read the names of the tests as the list of what the command knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.accounts import IPHONE

if TYPE_CHECKING:
    from support.accounts import People

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")


def why(people: People, who: str) -> dict[str, Any]:
    """Return what ``show user --json`` says, with the codes of reasons and notes gathered."""
    done = people("show", "user", who, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = done.json()
    found["reasons"] = [each["code"] for each in found["login"]["reasons"]]
    found["codes"] = [each["code"] for each in found["notes"]]
    return found


def test_they_can_so_it_is_their_password(people: People) -> None:
    people.add("bob@example.com", name="Bob")

    found = why(people, "bob@example.com")

    assert found["login"]["possible"] is True
    assert found["login"]["verdict"] == "A login with the right password would succeed."
    assert found["attempts"] == {"failed": 0, "allowed": 5, "left": 5}
    assert (found["name"], found["active"]) == ("Bob", True)


def test_there_is_no_such_account_and_the_nearest_is_named(people: People) -> None:
    people.add("bob@example.com")

    done = people("show", "user", "bob@exmaple.com")

    assert done.code == 4
    assert "There is no account 'bob@exmaple.com'" in done.err
    assert "Did you mean bob@example.com?" in done.err


def test_there_is_no_such_account_yet_somebody_tries_it(people: People) -> None:
    for _ in range(3):
        people.event("login_failed", email="Bob@Exmaple.com")

    done = people("show", "user", "bob@exmaple.com")

    assert done.code == 4
    assert "occurs in 3 events" in done.err


def test_a_name_in_no_known_encoding_is_nobody_and_no_defect(people: People) -> None:
    done = people("show", "user", "b\udcffb@example.com")

    assert done.code == 4
    assert r"There is no account 'b\udcffb@example.com'" in done.err


def test_the_account_is_switched_off(people: People) -> None:
    bob = people.add("bob@example.com", active=False)
    people.token(bob)

    found = why(people, "bob@example.com")

    assert found["login"]["possible"] is False
    assert found["reasons"] == ["inactive"]
    assert "switched off" in found["login"]["verdict"]
    # Switching off ends no session.
    assert "sessions_live" in found["codes"]


def test_five_wrong_passwords_locked_it(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="12 minutes")
    for ip in ("203.0.113.9", "203.0.113.9", "198.51.100.4"):
        people.event("login_failed", user=bob, email="bob@example.com", ip=ip)

    found = why(people, "bob@example.com")

    assert found["reasons"] == ["automatic_lock"]
    verdict = found["login"]["verdict"]
    assert "locked automatically after 5 failed logins" in verdict
    assert "in 11 min" in verdict or "in 12 min" in verdict
    assert "203.0.113.9" in verdict
    assert "198.51.100.4" in verdict
    assert found["attempts"]["left"] == 0


def test_an_operator_locked_it(people: People) -> None:
    people.add("bob@example.com")
    locked = people("lock", "user", "bob@example.com", "--for", "2h", "--reason", "strange logins",
                    "--ticket", "SEC-12", env={"SECOPS_OPERATOR": "alice"})  # fmt: skip
    assert locked.code == 0

    found = why(people, "bob@example.com")

    assert found["reasons"] == ["operator_lock"]
    assert found["operator_lock"]["by"] == "alice"
    assert found["operator_lock"]["reason"] == "strange logins"
    assert found["operator_lock"]["ticket"] == "SEC-12"
    for words in ("alice", "strange logins", "SEC-12", "in 1 h 59 min"):
        assert words in found["login"]["verdict"].replace("in 2 h", "in 1 h 59 min")
    assert found["events"][0]["type"] == "account_locked"


def test_an_operator_locked_it_until_further_notice(people: People) -> None:
    people.add("bob@example.com")
    assert people.do("lock", "user", "bob@example.com").code == 0

    found = why(people, "bob@example.com")

    assert "until somebody unlocks it" in found["login"]["verdict"]
    assert found["operator_lock"]["until"] is None


def test_it_is_switched_off_and_locked_as_well(people: People) -> None:
    people.add("bob@example.com", active=False)
    assert people.do("lock", "user", "bob@example.com").code == 0

    assert why(people, "bob@example.com")["reasons"] == ["inactive", "operator_lock"]


def test_it_was_locked_until_a_moment_ago(people: People) -> None:
    people.add("bob@example.com", failed=5, locked_for="-1 minute")

    found = why(people, "bob@example.com")

    assert found["login"]["possible"] is True
    assert "lock_expired" in found["codes"]
    # An app that does not restart its count locks it again at the first slip.
    assert "attempts_exhausted" in found["codes"]


def test_the_operators_lock_has_ended(people: People) -> None:
    people.add("bob@example.com")
    assert people.do("lock", "user", "bob@example.com", "--for", "1h").code == 0
    people.database.execute("UPDATE users SET locked_until = now() - interval '1 s'")
    people.database.execute("UPDATE secops.accounts SET lock_expires_at = now() - interval '1 s'")

    found = why(people, "bob@example.com")

    assert found["login"]["possible"] is True
    assert found["operator_lock"] is None


def test_it_is_locked_without_end_and_nobody_recorded_who_did_it(people: People) -> None:
    bob = people.add("bob@example.com")
    for forever in ("9999-12-31 00:00:00+00", "infinity"):
        people.database.execute("UPDATE users SET locked_until = %s WHERE id = %s", (forever, bob))
        assert why(people, "bob@example.com")["reasons"] == ["lock_without_end"]


def test_something_undid_the_operators_lock(people: People) -> None:
    people.add("bob@example.com")
    assert people.do("lock", "user", "bob@example.com").code == 0
    people.database.execute("UPDATE users SET locked_until = NULL, failed_login_attempts = 0")

    found = why(people, "bob@example.com")

    assert found["reasons"] == ["operator_lock"]
    assert "lock_cleared" in found["codes"]


def test_one_more_slip_locks_it(people: People) -> None:
    people.add("bob@example.com", failed=4)

    found = why(people, "bob@example.com")

    assert found["login"]["possible"] is True
    assert found["attempts"]["left"] == 1
    assert "after 1 more wrong password " in found["notes"][0]["text"]


def test_the_app_counts_differently(people: People) -> None:
    people.add("bob@example.com", failed=4)

    done = people("show", "user", "bob@example.com", "--json", env={"MAX_LOGIN_ATTEMPTS": "10"})

    assert done.json()["attempts"] == {"failed": 4, "allowed": 10, "left": 6}


def test_they_type_their_address_in_another_case(people: People) -> None:
    people.add("Bob@Example.com")

    found = why(people, "bob@example.com")

    assert found["email"] == "Bob@Example.com"
    assert "address_case" in found["codes"]


def test_two_accounts_differ_in_case_only(people: People) -> None:
    people.add("Bob@example.com")
    people.add("bob@example.com")

    done = people("show", "user", "BOB@example.com")

    assert done.code == 5
    assert "2 accounts that differ in case" in done.err


def test_an_operator_ended_their_sessions(people: People) -> None:
    bob = people.add("bob@example.com")
    people.token(bob)
    assert people.do("revoke", "sessions", "--user", "bob@example.com").code == 0

    found = why(people, "bob@example.com")

    assert found["login"]["possible"] is True
    (note,) = found["notes"]
    assert note["code"] == "session_ended"
    assert "an operator ended it" in note["text"]


def test_their_refresh_token_was_stolen(people: People) -> None:
    bob = people.add("bob@example.com")
    people.event("refresh_token_theft_detected", user=bob)

    assert "theft" in why(people, "bob@example.com")["codes"]


def test_they_are_logged_in_all_along(people: People) -> None:
    bob = people.add("bob@example.com")
    root = people.token(bob, used=True, age="3 days")
    leaf = people.token(bob, family=root, agent=IPHONE, ip="2001:db8::1", age="10 minutes")
    people.token(bob, revoked=True)

    found = why(people, "bob@example.com")

    (session,) = found["sessions"]
    assert (session["id"], session["token_id"]) == (str(root), str(leaf))
    assert (session["device"], session["ip"]) == ("Safari 17 on iPhone", "2001:db8::1")
    assert 3 * 86400 <= session["age_seconds"] < 3 * 86400 + 60
    assert 600 <= session["idle_seconds"] < 660
