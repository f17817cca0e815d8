"""Failed logins: five are five, however many try at once, and whoever they claim to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from secops.accounts.login.attempts import Crowded, Locked
from secops.accounts.login.hashing import Verified
from secops.accounts.login.limits import Limit
from secops.accounts.login.service import Limited, Logins, Welcome, Wrong
from support.logins import AWAY, HOME, Backend, Guess, at_once

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

ALICE = "alice@example.com"
NOBODY = "nobody@example.com"


def attempt(backend: Backend, password: str, email: str = ALICE) -> object:
    return backend.logins.login(email, password, HOME)


def with_lockout(backend: Backend, **changes: object) -> Logins:
    attempts = backend.logins.attempts
    rules = replace(attempts.rules, **changes)  # type: ignore[arg-type]
    return replace(backend.logins, attempts=replace(attempts, rules=rules))


def test_the_right_password_begins_a_session(backend: Backend) -> None:
    alice = backend.person()
    found = attempt(backend, "right", "  ALICE@Example.com ")
    assert isinstance(found, Welcome)
    assert found.person.id == alice
    assert backend.live(alice) == 1
    assert len(backend.events("login_success")) == 1


@pytest.mark.parametrize("email", [ALICE, NOBODY])
def test_five_wrong_passwords_count_down_and_the_sixth_attempt_is_locked_out(
    backend: Backend, email: str
) -> None:
    backend.person()
    assert [attempt(backend, "wrong", email) for _ in range(5)] == [
        Wrong(left) for left in (4, 3, 2, 1, 0)
    ]
    locked = attempt(backend, "right", email)
    assert isinstance(locked, Locked)
    assert timedelta(minutes=29) < locked.retry_after <= timedelta(minutes=30)
    assert Guess.verified == 5
    known = email == ALICE
    assert [event[0] for event in backend.events("login_failed", "account_locked")] == [
        *["login_failed"] * 5,
        "account_locked",
    ]
    assert {event[1] is not None for event in backend.events("account_locked")} == {known}
    failed, ahead = backend.database.execute(
        "SELECT failed_login_attempts, locked_until > now() FROM users WHERE email = %s", (ALICE,)
    )[0]
    assert (failed, bool(ahead)) == ((5, True) if known else (0, False))


@pytest.mark.parametrize("email", [ALICE, NOBODY])
def test_a_hundred_wrong_ones_at_once_are_five_verifications(backend: Backend, email: str) -> None:
    backend.person()
    found = at_once(100, lambda _: attempt(backend, "wrong", email))
    assert Guess.verified == 5
    assert sum(isinstance(each, Wrong) for each in found) == 5
    assert sum(isinstance(each, Locked) for each in found) == 95
    assert len(backend.events("account_locked")) == 1


def test_a_hundred_right_ones_at_once_all_get_in(backend: Backend) -> None:
    alice = backend.person()
    found = at_once(100, lambda _: attempt(backend, "right"))
    assert all(isinstance(each, Welcome) for each in found)
    assert backend.live(alice) == 100
    state = "SELECT failed, open FROM secops.login_attempts"
    assert backend.database.execute(state) == [(0, 0)]


def test_the_right_password_forgets_the_wrong_ones_before_it(backend: Backend) -> None:
    backend.person()
    for _ in range(2):
        assert [attempt(backend, "wrong") for _ in range(4)][-1] == Wrong(1)
        assert isinstance(attempt(backend, "right"), Welcome)


def test_attempts_while_locked_neither_prolong_the_lock_nor_count(backend: Backend) -> None:
    backend.person()
    for _ in range(5):
        attempt(backend, "wrong")
    before = backend.database.execute("SELECT locked_until, failed_login_attempts FROM users")
    for _ in range(7):
        assert isinstance(attempt(backend, "wrong"), Locked)
    assert (
        backend.database.execute("SELECT locked_until, failed_login_attempts FROM users") == before
    )
    assert len(backend.events("lockout_attempt_while_locked")) == 7


@pytest.mark.parametrize("email", [ALICE, NOBODY])
def test_after_a_lock_the_count_begins_anew(backend: Backend, email: str) -> None:
    backend.person()
    for _ in range(5):
        attempt(backend, "wrong", email)
    backend.database.execute(
        "UPDATE users SET locked_until = now() - interval '1 second' WHERE locked_until IS NOT NULL"
    )
    backend.database.execute(
        "UPDATE secops.login_attempts SET locked_until = now() - interval '1 second'"
    )
    assert attempt(backend, "wrong", email) == Wrong(4)


def test_failures_of_long_ago_are_forgotten(backend: Backend) -> None:
    backend.person()
    for _ in range(4):
        attempt(backend, "wrong")
    backend.database.execute(
        "UPDATE secops.login_attempts SET began_at = began_at - interval '30 minutes'"
    )
    assert attempt(backend, "wrong") == Wrong(4)


def test_who_is_unlocked_by_an_operator_can_log_in_at_once(backend: Backend) -> None:
    backend.person()
    for _ in range(5):
        attempt(backend, "wrong")
    # As `secops unlock user` does, or somebody by hand.
    backend.database.execute("UPDATE users SET failed_login_attempts = 0, locked_until = NULL")
    assert attempt(backend, "wrong") == Wrong(4)
    assert isinstance(attempt(backend, "right"), Welcome)


def test_failures_that_another_program_counted_count_here_too(backend: Backend) -> None:
    backend.person()
    attempt(backend, "wrong")
    backend.database.execute(
        "UPDATE users SET failed_login_attempts = 4 WHERE email = %s", (ALICE,)
    )
    assert attempt(backend, "wrong") == Wrong(0)
    assert isinstance(attempt(backend, "right"), Locked)


def test_a_guess_whose_process_died_counts_as_failed(backend: Backend) -> None:
    backend.person()
    attempts = backend.logins.attempts
    for _ in range(5):
        attempts.take(backend.pool.connection, ALICE, HOME)  # and never heard of again
    hasty = with_lockout(backend, patience=timedelta(0))
    assert isinstance(hasty.login(ALICE, "right", HOME), Crowded)
    backend.database.execute(
        "UPDATE secops.login_attempts SET taken_at = now() - interval '21 seconds'"
    )
    assert isinstance(attempt(backend, "right"), Locked)
    assert len(backend.events("account_locked")) == 1


def test_who_is_locked_while_the_password_is_verified_does_not_get_in(backend: Backend) -> None:
    alice = backend.person()

    class Slow(Guess):
        def verify(self, password: str, stored: str | None) -> Verified:
            backend.database.execute("UPDATE users SET locked_until = now() + interval '1 hour'")
            return super().verify(password, stored)

    found = replace(backend.logins, hasher=Slow()).login(ALICE, "right", HOME)
    assert isinstance(found, Locked)
    assert backend.live(alice) == 0


def test_a_disabled_account_answers_as_a_wrong_password_does(backend: Backend) -> None:
    backend.person()
    backend.database.execute("UPDATE users SET is_active = false")
    assert attempt(backend, "wrong") == Wrong(4)
    assert attempt(backend, "right") == Wrong(3)
    reasons = [event[3]["reason"] for event in backend.events("login_failed")]  # type: ignore[index]
    assert reasons == ["invalid_password", "account_disabled"]


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati"])
def test_a_lock_lasts_half_an_hour_wherever_the_session_thinks_it_is(
    backend: Backend, zone: str
) -> None:
    backend.person()
    name = backend.database.name
    backend.database.execute(f"ALTER DATABASE {name} SET timezone = '{zone}'")
    elsewhere = Backend.on(backend.database)
    try:
        for _ in range(5):
            elsewhere.logins.login(ALICE, "wrong", HOME)
        locked = attempt(backend, "right")
    finally:
        elsewhere.close()
    assert isinstance(locked, Locked)
    assert timedelta(minutes=29) < locked.retry_after <= timedelta(minutes=30)


def test_what_was_tried_for_an_address_is_stored_under_a_key_alone(backend: Backend) -> None:
    attempt(backend, "wrong", "hunter2-typed-in-the-wrong-field")
    rows = str(backend.database.execute("SELECT login_attempts::text FROM secops.login_attempts"))
    assert "hunter2" not in rows


def test_one_address_has_so_many_attempts_and_then_waits_for_its_share(backend: Backend) -> None:
    backend.person()
    limited = replace(backend.logins, limit=Limit("few", 3, timedelta(minutes=15)))
    found = at_once(10, lambda _: limited.login(ALICE, "wrong", HOME))
    refused = [each for each in found if isinstance(each, Limited)]
    assert len(refused) == 7
    assert all(timedelta(minutes=4) < each.retry_after <= timedelta(minutes=5) for each in refused)
    assert isinstance(limited.login(ALICE, "wrong", AWAY), Wrong)
    assert len(backend.events("rate_limit_exceeded")) == 7
