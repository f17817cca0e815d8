"""Which tokens pruning deletes, held against rules written down once more in Python."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secops.accounts.operations import Operation
from secops.errors import Busy
from secops.schema.detect import detect
from secops.upkeep import expired
from secops.upkeep.pace import Pace
from secops.upkeep.prune import Pruned, Pruner
from support.databases import Database
from support.servers import Connection

WEEK = timedelta(days=7)
SMALL, LARGE = 1, 50_000  # by (expires_at, id), and block by block


def pruned(database: Database, *, age: timedelta = WEEK, batch: int = LARGE, **more: Any) -> Pruned:
    """Prune in this process."""
    max_duration = more.pop("max_duration", None)
    with database.connect() as conn:
        layout = detect(conn, database.settings())
        operation = Operation.begin(
            actor="ann", host="here", reason="", ticket="", command="prune tokens"
        )
        limits = expired.bounds(conn, age)
        pace = more.pop("pace", None) or Pace(most=batch)
        pruner = Pruner(conn, layout, operation, limits, pace, **more)
        return pruner.run(expired=expired.estimate(conn, layout, limits), max_duration=max_duration)


def counted(database: Database, age: timedelta = WEEK) -> expired.Count:
    """Count in this process."""
    with database.connect() as conn:
        layout = detect(conn, database.settings())
        return expired.count(conn, layout, expired.bounds(conn, age))


@dataclass(frozen=True)
class Token:
    """A token as the rule sees it."""

    id: uuid.UUID
    family_id: uuid.UUID | None
    days: int
    used: bool
    revoked: bool | None

    @property
    def family(self) -> uuid.UUID:
        return self.family_id or self.id

    @property
    def live(self) -> bool:
        return not self.used and self.revoked is not True and self.days > 0


def survivors(tokens: list[Token], days: int = 7) -> set[uuid.UUID]:
    """Say what must stay."""
    live = {token.family for token in tokens if token.live}
    return {
        token.id for token in tokens if token.days >= -days or (token.used and token.family in live)
    }


def insert(conn: Connection, tokens: list[Token]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO refresh_tokens (id, user_id, token_hash, family_id, used, revoked, expires_at)"
            " VALUES (%s, (SELECT id FROM users WHERE email = 'bob@example.com'), %s, %s, %s, %s,"
            " now() + make_interval(days => %s))",
            [
                (each.id, str(each.id), each.family_id, each.used, each.revoked, each.days)
                for each in tokens
            ],
        )


@st.composite
def families(draw: st.DrawFn) -> list[Token]:
    """Draw families in every state, some of them begun by a token that knows of no family."""
    tokens: list[Token] = []
    for _ in range(draw(st.integers(0, 8))):
        root, bare = draw(st.uuids()), draw(st.booleans())
        for number in range(draw(st.integers(1, 5))):
            first = number == 0
            tokens.append(
                Token(
                    id=root if first else draw(st.uuids()),
                    family_id=None if first and bare else root,
                    days=draw(st.sampled_from([-40, -9, -8, -8, -6, -1, 1, 9])),
                    used=draw(st.booleans()),
                    revoked=draw(st.sampled_from([False, False, True, None])),
                )
            )
    return [
        token
        for index, token in enumerate(tokens)
        if token.id not in {t.id for t in tokens[:index]}
    ]


@pytest.mark.parametrize(("batch", "few"), [(SMALL, 100), (3, 0), (LARGE, 100), (LARGE, 0)])
def test_what_stays_is_what_the_rule_says(
    hardened: Database, batch: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expired, "_FEW", few)
    with hardened.connect() as conn:

        @settings(
            max_examples=25,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture],
        )
        @given(families())
        def check(tokens: list[Token]) -> None:
            conn.execute("TRUNCATE refresh_tokens, security_events, secops.operations")
            insert(conn, tokens)
            stay = survivors(tokens)
            evidence = sum(1 for token in tokens if token.id in stay and token.days < -7)
            before = counted(hardened)
            assert (before.matched, before.evidence) == (len(tokens) - len(stay), evidence)
            done = pruned(hardened, batch=batch)
            rows = conn.execute("SELECT id FROM refresh_tokens").fetchall()
            assert {row[0] for row in rows} == stay
            assert (done.deleted, done.kept, done.locked) == (before.matched, evidence, 0)
            assert done.complete
            recorded(conn, done)

        check()


def recorded(conn: Connection, done: Pruned) -> None:
    """Make sure that each batch stands in one event, and all of them in one operation."""
    events = conn.execute(
        "SELECT (metadata ->> 'deleted')::int, metadata ->> 'operation_id', metadata ->> 'actor'"
        " FROM security_events WHERE event_type = 'tokens_pruned'"
    ).fetchall()
    operations = conn.execute(
        "SELECT changed, id::text, finished_at IS NOT NULL FROM secops.operations"
    ).fetchall()
    if not done.deleted:
        assert (events, operations) == ([], [])
        return
    [(changed, number, finished)] = operations
    assert len(events) == done.batches
    assert sum(int(str(event[0])) for event in events) == done.deleted == changed
    assert {event[1:] for event in events} == {(number, "ann")}
    assert finished


@pytest.mark.parametrize("batch", [SMALL, LARGE])
def test_tokens_that_expire_at_one_moment_are_told_apart(hardened: Database, batch: int) -> None:
    hardened.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT (SELECT id FROM users LIMIT 1), g::text, '2020-01-01' FROM generate_series(1, 60) g"
    )
    done = pruned(hardened, batch=batch)
    assert (done.deleted, done.batches) == (60, 60 if batch == SMALL else 1)


@pytest.mark.parametrize("moment", ["-infinity", "0001-01-01 BC", "1900-01-01"])
@pytest.mark.parametrize("batch", [SMALL, LARGE])
def test_moments_that_python_does_not_know_are_past_too(
    hardened: Database, moment: str, batch: int
) -> None:
    hardened.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT id, 'a', %s FROM users LIMIT 1",
        (moment,),
    )
    hardened.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT id, 'b', 'infinity' FROM users LIMIT 1"
    )
    assert pruned(hardened, batch=batch).deleted == 1
    assert hardened.value("SELECT token_hash FROM refresh_tokens") == "b"


def test_a_token_is_not_live_and_gone_at_once(hardened: Database) -> None:
    """With --older-than 0 the last token of a family goes, and with it what it was evidence for."""
    family = uuid.uuid4()
    hardened.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, family_id, used, expires_at)"
        " SELECT u.id, n::text, %s, n < 3, now() - interval '1 hour' + n * interval '20 minutes'"
        " - interval '1 second' FROM users u, generate_series(1, 3) n WHERE u.email = 'bob@example.com'",
        (family,),
    )
    before = counted(hardened, timedelta(0))
    assert (before.matched, before.evidence) == (3, 0)
    assert pruned(hardened, age=timedelta(0)).deleted == 3


def test_a_family_whose_last_token_has_just_expired_keeps_its_evidence(hardened: Database) -> None:
    """A refresh that began a moment before the expiry may still be under way."""
    hardened.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, family_id, used, expires_at)"
        " SELECT u.id, n::text, %s, n = 1,"
        " now() - CASE n WHEN 1 THEN interval '8 days' ELSE interval '10 seconds' END"
        " FROM users u, generate_series(1, 2) n WHERE u.email = 'bob@example.com'",
        (uuid.uuid4(),),
    )
    done = pruned(hardened)
    assert (done.deleted, done.kept) == (0, 1)


def fill(database: Database, number: int, *, width: int = 0) -> None:
    """Add tokens that expired long ago."""
    database.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, device_info, expires_at)"
        " SELECT (SELECT id FROM users LIMIT 1), g::text, repeat('x', %s),"
        " now() - interval '30 days' - random() * interval '30 days' FROM generate_series(1, %s) g",
        (width, number),
    )


@contextmanager
def holding(database: Database, statement: str) -> Iterator[Connection]:
    """Leave a transaction open after a statement."""
    with database.connect() as conn:
        conn.execute("BEGIN")
        conn.execute(statement.encode())
        yield conn
        conn.execute("ROLLBACK")


LOCKS = (
    "SELECT FROM refresh_tokens WHERE token_hash = '7' FOR UPDATE",
    "SELECT FROM refresh_tokens WHERE token_hash = '7' FOR KEY SHARE",
    # Its new version goes to another page: there is no room in its own.
    "UPDATE refresh_tokens SET device_info = repeat('y', 500) WHERE token_hash = '7'",
)


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("batch", [SMALL, LARGE])
def test_a_locked_token_is_skipped_and_left_to_the_next_run(
    hardened: Database, batch: int, lock: str
) -> None:
    fill(hardened, 100, width=200)
    with holding(hardened, lock):
        done = pruned(hardened, batch=batch)
    assert (done.deleted, done.locked, done.complete) == (99, 1, True)
    assert hardened.value("SELECT token_hash FROM refresh_tokens") == "7"
    assert pruned(hardened, batch=batch).deleted == 1


@pytest.mark.parametrize("batch", [SMALL, LARGE])
def test_a_locked_token_is_not_waited_for(hardened: Database, batch: int) -> None:
    fill(hardened, 20)
    with holding(hardened, LOCKS[0]):
        begun = time.monotonic()
        done = pruned(hardened, batch=batch, lock_timeout=timedelta(minutes=1))
        assert time.monotonic() - begun < 30
    assert (done.deleted, done.locked) == (19, 1)


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_token_that_was_locked_is_swept_at_the_end(
    hardened: Database, lock: str, end: str
) -> None:
    fill(hardened, 100, width=200)
    with holding(hardened, lock) as conn:
        timer = threading.Timer(0.4, lambda: conn.execute(end.encode()))
        timer.start()
        done = pruned(hardened)
        timer.join()
    assert (done.deleted, done.locked) == (100, 0)
    assert hardened.value("SELECT count(*) FROM refresh_tokens") == 0


def test_a_token_that_is_given_more_time_meanwhile_stays(hardened: Database) -> None:
    fill(hardened, 100)
    extend = (
        "UPDATE refresh_tokens SET expires_at = now() + interval '1 day' WHERE token_hash = '7'"
    )
    with holding(hardened, extend) as conn:
        timer = threading.Timer(0.4, lambda: conn.execute("COMMIT"))
        timer.start()
        done = pruned(hardened)
        timer.join()
    assert (done.deleted, done.locked) == (99, 0)
    assert hardened.value("SELECT token_hash FROM refresh_tokens") == "7"


def test_rows_touched_since_the_oldest_transaction_began_are_pruned_too(hardened: Database) -> None:
    fill(hardened, 500)
    with holding(hardened, "SELECT pg_current_xact_id()"):
        hardened.execute("UPDATE refresh_tokens SET device_info = 'new'")
        hardened.execute("SELECT FROM refresh_tokens FOR UPDATE")
        done = pruned(hardened)
    assert (done.deleted, done.locked) == (500, 0)


def test_a_stricter_default_isolation_changes_nothing(hardened: Database) -> None:
    hardened.execute(
        f'ALTER DATABASE "{hardened.name}" SET default_transaction_isolation = serializable'
    )
    fill(hardened, 100)
    with holding(hardened, LOCKS[2]) as conn:
        timer = threading.Timer(0.3, lambda: conn.execute("COMMIT"))
        timer.start()
        done = pruned(hardened, batch=10)
        timer.join()
    assert done.deleted == 100


def test_a_locked_table_is_not_waited_for(hardened: Database) -> None:
    fill(hardened, 10)
    with holding(hardened, "LOCK TABLE refresh_tokens IN SHARE MODE"):
        begun = time.monotonic()
        with pytest.raises(Exception, match="lock timeout"):
            pruned(hardened)
        assert time.monotonic() - begun < 5
    assert hardened.value("SELECT count(*) FROM refresh_tokens") == 10
    assert hardened.value("SELECT count(*) FROM secops.operations WHERE action LIKE 'prune%%'") == 0


def test_when_time_is_up_the_next_run_goes_on(hardened: Database) -> None:
    fill(hardened, 2000)
    first = pruned(hardened, batch=10, max_duration=timedelta(milliseconds=60))
    assert 0 < first.deleted < 2000
    assert not first.complete
    assert first.facts()["kept_as_evidence"] is None
    assert pruned(hardened).deleted == 2000 - first.deleted


def test_a_long_pause_does_not_outlast_the_time_that_was_given(hardened: Database) -> None:
    fill(hardened, 50)
    begun = time.monotonic()
    pace = Pace(most=10, pause=timedelta(seconds=20))
    done = pruned(hardened, pace=pace, max_duration=timedelta(seconds=1))
    assert time.monotonic() - begun < 10
    assert done.deleted == 10
    assert not done.complete


def test_no_time_at_all_deletes_nothing(hardened: Database) -> None:
    fill(hardened, 20)
    done = pruned(hardened, max_duration=timedelta(0))
    assert (done.deleted, done.complete) == (0, False)


def test_the_rest_of_a_run_is_not_done_once_its_lock_is_lost(hardened: Database) -> None:
    fill(hardened, 20)

    def lost() -> None:
        raise Busy("lost")

    with pytest.raises(Busy):
        pruned(hardened, alive=lost)
    assert hardened.value("SELECT count(*) FROM refresh_tokens") == 20


def test_the_next_run_closes_the_operation_of_one_that_died(hardened: Database) -> None:
    died = uuid.uuid4()
    hardened.execute(
        "INSERT INTO secops.operations (id, action, actor, host, reason, ticket, changed, detail)"
        " VALUES (%s, 'prune tokens', 'bea', 'there', 'cron', 'T-1', 1234,"
        ' \'{"expired_before": "2026-01-01T00:00:00+00:00"}\')',
        (died,),
    )
    pruned(hardened)
    row = hardened.execute(
        "SELECT changed, finished_at IS NOT NULL, detail ->> 'complete' FROM secops.operations"
        " WHERE id = %s",
        (died,),
    )
    assert row == [(1234, True, "false")]
    # Its deletions were told of when they were made, so nothing is told of now.
    told = "SELECT count(*) FROM security_events WHERE event_type = 'tokens_pruned'"
    assert hardened.value(told) == 0


def test_no_evidence_is_lost_while_the_app_rotates_and_revokes(hardened: Database) -> None:
    """Whatever the app does meanwhile, no live family ends up without a used token that it had."""
    hardened.execute(
        """
        INSERT INTO refresh_tokens (user_id, token_hash, family_id, used, expires_at)
        SELECT u.id, f || '-' || n, md5(f::text)::uuid, n < 20,
               CASE WHEN n < 20 THEN now() - interval '8 days' ELSE now() + interval '1 day' END
        FROM (SELECT id FROM users LIMIT 1) u, generate_series(1, 300) f, generate_series(1, 20) n
        """
    )
    before = {
        row[0]: row[1]
        for row in hardened.execute(
            "SELECT family_id, array_agg(id) FROM refresh_tokens WHERE used GROUP BY 1"
        )
    }
    stop = threading.Event()

    def app(seed: int) -> None:
        with hardened.connect() as conn:
            number = seed
            while not stop.is_set():
                number += 2
                family = f"md5(({number} * 7919 % 300 + 1)::text)::uuid"
                if number % 5 == 0:
                    act = f"UPDATE refresh_tokens SET revoked = true WHERE family_id = {family}"
                else:
                    act = f"""
                            WITH leaf AS (
                                UPDATE refresh_tokens SET used = true, used_at = now()
                                WHERE family_id = {family} AND NOT used AND NOT revoked
                                  AND expires_at > now() RETURNING *)
                            INSERT INTO refresh_tokens
                                (user_id, token_hash, family_id, parent_id, expires_at)
                            SELECT user_id, gen_random_uuid()::text, family_id, id,
                                   now() + interval '1 day' FROM leaf"""
                conn.execute(act.encode())

    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(app, seed) for seed in (0, 1)]
        deleted = sum(pruned(hardened, batch=batch).deleted for batch in (LARGE, 100, LARGE, LARGE))
        stop.set()
        for each in busy:
            each.result()
    assert deleted > 0
    live = {
        row[0]
        for row in hardened.execute(
            "SELECT family_id FROM refresh_tokens WHERE NOT used AND revoked IS NOT TRUE"
        )
    }
    there = {row[0] for row in hardened.execute("SELECT id FROM refresh_tokens")}
    assert live
    assert all(set(before[family]) <= there for family in live)
