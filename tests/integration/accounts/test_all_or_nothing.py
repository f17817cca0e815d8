"""A change and its event are one transaction, whatever fails, whoever else is at work, and when killed."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from secops.accounts import locking, revoking, sessions, unlocking, users
from secops.accounts.criteria import Criteria
from secops.accounts.operations import Operation
from secops.accounts.patience import Patience
from secops.errors import Busy, Conflict, NothingMatched, OutcomeUnknown, Refused
from secops.schema.detect import detect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from support.accounts import People

one_major = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

FAILING = """
CREATE FUNCTION no_events() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit trail is full'; END $$;
CREATE TRIGGER no_events BEFORE INSERT ON security_events
FOR EACH ROW EXECUTE FUNCTION no_events();
"""
SLEEPING = """
CREATE FUNCTION slow_events() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
CREATE TRIGGER slow_events BEFORE INSERT ON security_events
FOR EACH ROW EXECUTE FUNCTION slow_events();
"""


def _operation() -> Operation:
    return Operation.begin(actor="alice", host="h", reason="a test", ticket="", command="test")


@contextmanager
def _connected(people: People) -> Iterator[tuple[Connection, Layout]]:
    with people.database.connect() as conn:
        yield conn, detect(conn, people.database.settings())


def _unlock(people: People, *names: str, patience: Patience | None = None) -> unlocking.Unlocking:
    with _connected(people) as (conn, layout):
        planned = unlocking.plan_named(conn, layout, users.find_all(conn, layout, names))
        return unlocking.unlock(
            conn, layout, _operation(), planned, patience=patience or Patience()
        )


def _together(*work: Callable[[], Any]) -> list[Any]:
    """Run things at once; return what each returned or raised."""
    found: list[Any] = [None] * len(work)
    ready = threading.Barrier(len(work))

    def run(index: int) -> None:
        ready.wait()
        try:
            found[index] = work[index]()
        except Exception as error:  # noqa: BLE001  the test looks at it
            found[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_where_the_event_cannot_be_written_nothing_is_changed(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")
    token = people.token(bob)
    before = people.user(bob)
    people.database.execute(FAILING)

    for words in (
        ("unlock", "user", "bob@example.com"),
        ("lock", "user", "bob@example.com", "--revoke-sessions"),
        ("revoke", "sessions", "--session", str(token)),
    ):
        done = people.do(*words)
        assert done.code == 1, words
        assert "the audit trail is full" in done.err
    assert people.user(bob) == before
    assert people.lock(bob) is None
    assert people.live(bob) == 1
    assert people.epoch(bob) == 0
    assert people.operations() == []


def test_where_the_change_fails_no_event_is_left(people: People) -> None:
    bob = people.add("bob@example.com")
    people.database.execute("ALTER TABLE secops.accounts ADD CHECK (locked_at IS NULL) NOT VALID")

    done = people.do("lock", "user", "bob@example.com")

    assert done.code == 1
    assert people.deeds() == []
    assert people.user(bob) == (0, None)


def test_two_operators_unlocking_one_account_leave_one_event(people: People) -> None:
    people.add("bob@example.com", failed=5, locked_for="1 hour")

    found = _together(*[lambda: _unlock(people, "bob@example.com")] * 4)

    results = sorted(each.steps[0].result for each in found)
    assert results == ["not locked", "not locked", "not locked", "unlocked"]
    assert len(people.deeds("account_unlocked")) == 1
    assert [row[1:] for row in people.operations()] == [(1, 1, True)]


def test_operators_who_name_the_same_accounts_in_any_order_do_not_deadlock(people: People) -> None:
    names = [f"p{number}@example.com" for number in range(40)]
    for name in names:
        people.add(name, failed=5, locked_for="1 hour")
    patient = Patience(lock_timeout=timedelta(seconds=20), tries=1)

    found = _together(
        *[lambda: _unlock(people, *names, patience=patient)] * 3,
        *[lambda: _unlock(people, *reversed(names), patience=patient)] * 3,
    )

    assert sum(each.changed for each in found) == 40, found
    assert len(people.deeds("account_unlocked")) == 40


def test_a_row_in_other_hands_is_waited_for_briefly_then_its_holder_is_named(
    people: People,
) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")
    with people.database.connect() as app, app.transaction():
        app.execute("SET application_name = 'the app'")
        app.execute("UPDATE users SET failed_login_attempts = 6 WHERE id = %s", (bob,))
        begun = time.monotonic()
        with pytest.raises(Busy, match="the app") as caught:
            _unlock(people, "bob@example.com", patience=Patience(tries=3))
        assert 0.3 <= time.monotonic() - begun < 3
        holder = caught.value.details["holders"][0]  # type: ignore[index]  # a list of dicts
        assert holder["pid"] == app.info.backend_pid
    assert people.deeds() == []


def test_a_row_that_is_let_go_in_time_is_no_problem(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")

    def app() -> None:
        with people.database.connect() as conn, conn.transaction():
            conn.execute("UPDATE users SET failed_login_attempts = 6 WHERE id = %s", (bob,))
            time.sleep(0.25)

    def operator() -> unlocking.Unlocking:
        time.sleep(0.05)
        return _unlock(people, "bob@example.com", patience=Patience(tries=20))

    _, done = _together(app, operator)

    assert done.changed == 1, done
    assert done.steps[0].state.failed == 6
    assert people.user(bob) == (0, None)


def test_the_command_gives_up_with_its_own_exit_code(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")
    with people.database.connect() as app, app.transaction():
        app.execute("UPDATE users SET failed_login_attempts = 6 WHERE id = %s", (bob,))

        done = people.do("unlock", "user", "bob@example.com", "--json")
        holder = app.info.backend_pid

    assert done.code == 6
    assert done.error()["details"]["holders"][0]["pid"] == holder


def test_logins_that_fail_meanwhile_do_not_get_lost_nor_in_the_way(people: People) -> None:
    bob = people.add("bob@example.com")
    stop = threading.Event()

    def app() -> int:
        count = 0
        with people.database.connect() as conn:
            conn.execute("SET lock_timeout = '2s'")
            while not stop.is_set():
                conn.execute(
                    "UPDATE users SET failed_login_attempts = failed_login_attempts + 1 WHERE id = %s",
                    (bob,),
                )
                count += 1
        return count

    def operator() -> int:
        try:
            return sum(_unlock(people, "bob@example.com").steps[0].state.failed for _ in range(15))
        finally:
            stop.set()

    counted, *cleared = _together(app, operator)

    assert isinstance(counted, int), counted
    assert counted > 0
    assert cleared[0] + people.user(bob)[0] == counted


def _rotate(people: People, user: Any, stop: threading.Event) -> int:
    """Refresh a session over and over as an app does that locks the user first; return how often."""
    count = 0
    with people.database.connect() as conn:
        while not stop.is_set():
            with conn.transaction():
                conn.execute("SELECT FROM users WHERE id = %s FOR NO KEY UPDATE", (user,))
                row = conn.execute(
                    "UPDATE refresh_tokens SET used = true, used_at = now() WHERE user_id = %s"
                    " AND NOT revoked AND NOT used RETURNING coalesce(family_id, id)",
                    (user,),
                ).fetchone()
                if row is None:
                    return count
                conn.execute(
                    "INSERT INTO refresh_tokens (user_id, token_hash, expires_at, family_id)"
                    " VALUES (%s, gen_random_uuid()::text, now() + interval '7 d', %s)",
                    (user, row[0]),
                )
            count += 1
    return count


def test_no_refresh_slips_past_a_revocation(people: People) -> None:
    ids = [people.add(f"p{number}@example.com") for number in range(4)]
    for user in ids:
        people.token(user)
    stop = threading.Event()

    def operator() -> int:
        time.sleep(0.3)
        try:
            with _connected(people) as (conn, layout):
                criteria = Criteria(everyone=True)
                planned = sessions.count(conn, layout, criteria)
                done = revoking.revoke(
                    conn, layout, _operation(), criteria, planned,
                    patience=Patience(tries=50),
                )  # fmt: skip
                return done.sessions
        finally:
            time.sleep(0.2)
            stop.set()

    *rotated, ended = _together(
        *[lambda user=user: _rotate(people, user, stop) for user in ids],
        operator,
    )

    assert ended == 4, (ended, rotated)
    assert all(count > 0 for count in rotated), rotated
    assert [people.live(user) for user in ids] == [0] * 4
    assert [people.epoch(user) for user in ids] == [1] * 4


def test_a_refresh_under_way_does_not_outlive_a_revocation(people: People) -> None:
    """The app locks no user's row, and commits a successor while the revocation waits for it."""
    user = people.add("carol@example.com")
    parent = people.token(user)

    def operator() -> int:
        time.sleep(0.2)
        with _connected(people) as (conn, layout):
            criteria = Criteria(everyone=True)
            planned = sessions.count(conn, layout, criteria)
            return revoking.revoke(
                conn, layout, _operation(), criteria, planned, patience=Patience(tries=50)
            ).sessions

    def app() -> int:
        with people.database.connect() as conn, conn.transaction():
            # The successor first: nothing that the revocation reads tells of it yet.
            conn.execute(
                "INSERT INTO refresh_tokens (user_id, token_hash, expires_at, family_id)"
                " VALUES (%s, 'the successor', now() + interval '7 days', %s)",
                (user, parent),
            )
            time.sleep(0.5)
            return conn.execute(
                "UPDATE refresh_tokens SET used = true WHERE id = %s AND revoked IS NOT TRUE",
                (parent,),
            ).rowcount

    rotated, ended = _together(app, operator)

    assert (rotated, ended) == (1, 1)
    assert people.live(user) == 0
    assert people.epoch(user) == 1


@one_major
def test_expect_is_held_within_the_transaction_too(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")
    eve = people.add("eve@example.com", failed=5, locked_for="1 hour")
    tokens = [people.token(bob), people.token(eve)]
    with _connected(people) as (conn, layout):
        planned = unlocking.plan_locked(conn, layout, unlocking.Filter((), timedelta(days=1)))
        live = sessions.count(conn, layout, Criteria(everyone=True))
        people.database.execute("UPDATE users SET locked_until = NULL WHERE id = %s", (eve,))
        people.database.execute("UPDATE refresh_tokens SET used = true WHERE id = %s", (tokens[1],))

        with pytest.raises(Refused, match="1 match by now"):
            unlocking.unlock(conn, layout, _operation(), planned, patience=Patience(), expect=2)
        with pytest.raises(Refused, match="1 match by now"):
            revoking.revoke(
                conn,
                layout,
                _operation(),
                Criteria(everyone=True),
                live,
                patience=Patience(),
                expect=2,
            )
    assert people.user(bob)[0] == 5
    assert people.live(bob) == 1
    assert people.deeds() == []
    assert people.operations() == []


@one_major
def test_what_ended_meanwhile_is_told(people: People) -> None:
    bob = people.add("bob@example.com")
    people.token(bob)
    with _connected(people) as (conn, layout):
        planned = sessions.count(conn, layout, Criteria(users=(bob,)))
        people.database.execute("UPDATE refresh_tokens SET used = true")
        with pytest.raises(NothingMatched, match="ended meanwhile"):
            revoking.revoke(
                conn, layout, _operation(), Criteria(users=(bob,)), planned, patience=Patience()
            )


@one_major
def test_a_named_account_that_is_deleted_meanwhile_stops_the_others(people: People) -> None:
    people.add("bob@example.com", failed=5, locked_for="1 hour")
    eve = people.add("eve@example.com", failed=5, locked_for="1 hour")
    with _connected(people) as (conn, layout):
        named = users.find_all(conn, layout, ["bob@example.com", "eve@example.com"])
        planned = locking.plan(conn, layout, named, None, revoke=False)
        people.database.execute("DELETE FROM users WHERE id = %s", (eve,))
        with pytest.raises(Conflict):
            locking.lock(conn, layout, _operation(), planned, None, patience=Patience())
    assert people.deeds() == []


@one_major
def test_killed_in_the_middle_of_a_transaction_it_leaves_nothing(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")
    people.database.execute(SLEEPING.format(seconds=60))
    process = people.run.start("unlock", "user", "bob@example.com", "--reason", "r")
    _wait_for_sleep(people)
    process.kill()
    process.communicate()

    _end_sleep(people)
    assert people.user(bob)[0] == 5
    assert people.deeds() == []
    assert people.operations() == []


@one_major
def test_killed_between_batches_it_leaves_whole_ones_and_running_it_again_finishes(
    people: People,
) -> None:
    people.database.execute(
        "INSERT INTO users (email) SELECT 'p' || n || '@example.com' FROM generate_series(1, 3000) n"
    )
    people.database.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT id, gen_random_uuid()::text, now() + interval '1 d' FROM users"
    )
    people.database.execute(SLEEPING.format(seconds=0.0005))
    words = ("revoke", "sessions", "--everyone", "--yes", "--reason", "r")
    process = people.run.start(*words)
    ended = "SELECT count(*) FROM refresh_tokens WHERE revoked"
    deadline = time.monotonic() + 60
    while people.database.value(ended) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    _end_sleep(people)

    revoked = people.database.value(ended)
    assert 0 < revoked < 3000
    told = "SELECT coalesce(sum((metadata ->> 'count')::int), 0) FROM security_events"
    assert people.database.value(told) == revoked
    assert people.operations() == [("revoke sessions", 3000, None, False)]

    assert people.run(*words).code == 0
    assert people.database.value(ended) == 3000
    assert people.database.value(told) == 3000
    assert (
        people.database.value("SELECT count(*) FROM secops.accounts WHERE token_epoch = 1") == 3000
    )


def _wait_for_sleep(people: People) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if people.database.value(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        ):
            return
        time.sleep(0.02)
    raise AssertionError("nothing ever reached the event")


def _end_sleep(people: People) -> None:
    """End what the server still does for the killed client, as it would itself, only sooner."""
    people.database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'secops/%%' AND datname = current_database()"
    )
    deadline = time.monotonic() + 30
    while people.database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'secops/%%'"
        " AND datname = current_database()"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@one_major
def test_one_row_in_other_hands_does_not_stop_a_large_run(people: People) -> None:
    people.database.execute(
        "INSERT INTO users (email, failed_login_attempts, locked_until)"
        " SELECT 'p' || n || '@example.com', 5, now() + interval '1 h' FROM generate_series(1, 1100) n"
    )
    people.database.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT id, gen_random_uuid()::text, now() + interval '1 d' FROM users"
    )
    every = ("unlock", "user", "--all-locked"), ("revoke", "sessions", "--everyone")
    with people.database.connect() as app, app.transaction():
        app.execute("SELECT FROM users WHERE email = 'p700@example.com' FOR UPDATE")
        for words in every:
            done = people.do(*words, "--yes", "--json")
            assert done.code == 7, done.err
            assert "1,099 of 1,100" in done.error()["message"]
            assert done.error()["details"]["holders"]
    assert people.database.value("SELECT count(*) FROM users WHERE locked_until IS NOT NULL") == 1
    assert people.database.value("SELECT count(*) FROM refresh_tokens WHERE NOT revoked") == 1
    assert [row[1:] for row in people.operations()] == [(1100, 1099, True)] * 2

    for words in every:
        assert people.do(*words, "--yes").code == 0
    assert people.database.value("SELECT count(*) FROM users WHERE locked_until IS NOT NULL") == 0
    assert people.database.value("SELECT count(*) FROM refresh_tokens WHERE NOT revoked") == 0


@one_major
def test_a_table_that_is_locked_as_a_whole_is_given_up_soon(people: People) -> None:
    people.database.execute(
        "INSERT INTO users (email, failed_login_attempts, locked_until)"
        " SELECT 'p' || n || '@example.com', 5, now() + interval '1 h' FROM generate_series(1, 6000) n"
    )
    with _connected(people) as (conn, layout):
        planned = unlocking.plan_locked(conn, layout, unlocking.Filter((), timedelta(days=1)))
        with people.database.connect() as app, app.transaction():
            app.execute("LOCK TABLE users IN EXCLUSIVE MODE")
            begun = time.monotonic()
            with pytest.raises(OutcomeUnknown, match="0 of 6,000 accounts"):
                unlocking.unlock(conn, layout, _operation(), planned, patience=Patience(tries=2))
            assert time.monotonic() - begun < 15


@one_major
def test_a_stricter_isolation_of_the_database_does_not_fail_who_waited_for_a_row(
    people: People,
) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")
    with people.database.connect() as app, _connected(people) as (conn, layout):
        conn.execute("SET default_transaction_isolation = 'repeatable read'")
        planned = unlocking.plan_named(conn, layout, users.find_all(conn, layout, [str(bob)]))
        app.execute("BEGIN")
        app.execute("UPDATE users SET failed_login_attempts = 7 WHERE id = %s", (bob,))

        def let_go() -> None:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity"
                f" WHERE pid = {conn.info.backend_pid} AND wait_event_type = 'Lock'"
            )
            deadline = time.monotonic() + 20
            while not people.database.value(waiting) and time.monotonic() < deadline:
                time.sleep(0.01)
            app.execute("COMMIT")

        patience = Patience(lock_timeout=timedelta(seconds=30), tries=1)
        done, _ = _together(
            lambda: unlocking.unlock(conn, layout, _operation(), planned, patience=patience),
            let_go,
        )

    assert isinstance(done, unlocking.Unlocking), done
    assert done.steps[0].state.failed == 7
    assert people.user(bob) == (0, None)
