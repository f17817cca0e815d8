"""Whatever happens to a user's sessions at once: no deadlock, no survivor of a theft, never two live leaves."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Barrier
from typing import ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from secops.accounts import locking, revoking, sessions
from secops.accounts.criteria import Criteria
from secops.accounts.login.sessions import Verdict
from secops.accounts.operations import Operation
from secops.accounts.patience import Patience
from secops.accounts.users import by_id
from secops.errors import NothingMatched
from secops.upkeep import expired
from secops.upkeep.pace import Pace
from secops.upkeep.prune import Pruner
from support.databases import Database
from support.logins import AWAY, HOME, Backend
from support.servers import Connection

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

PATIENT = Patience(lock_timeout=timedelta(seconds=5))
TWO_LEAVES = """
    SELECT coalesce(family_id, id) FROM refresh_tokens
    WHERE user_id = ANY (%s) AND used IS NOT TRUE AND revoked IS NOT TRUE GROUP BY 1 HAVING count(*) > 1
"""
# A session that began before a theft was noticed, and whose token still opens something.
SURVIVORS = """
    SELECT t.id FROM refresh_tokens t
    WHERE t.user_id = ANY (%s) AND t.used IS NOT TRUE AND t.revoked IS NOT TRUE
      AND (SELECT min(f.created_at) FROM refresh_tokens f
           WHERE coalesce(f.family_id, f.id) = coalesce(t.family_id, t.id))
        < (SELECT max(e.created_at) FROM security_events e
           WHERE e.user_id = t.user_id AND e.event_type = 'refresh_token_theft_detected')
"""
# The grace ends, and what was used up expired long ago: what was theft is theft, and prune has work.
AGE = """
    UPDATE refresh_tokens SET used_at = used_at - interval '1 minute',
        expires_at = CASE WHEN used THEN least(expires_at, now() - interval '8 days') ELSE expires_at END
    WHERE user_id = ANY (%s) AND (used OR revoked)
"""


@dataclass
class Tally:
    """What a campaign went through."""

    rounds: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)


def operation() -> Operation:
    return Operation.begin(actor="op", host="h", reason="r", ticket="", command="test")


class Crowd(RuleBasedStateMachine):
    """Two users, and everything that can be done to them, several things at once."""

    backend: ClassVar[Backend]
    threads: ClassVar[ThreadPoolExecutor]
    tally: ClassVar[Tally]

    def __init__(self) -> None:
        super().__init__()
        self.users = [
            self.backend.database.execute(
                "INSERT INTO users (email, password_hash) VALUES (%s, 'x') RETURNING id",
                (f"{uuid4()}@example.com",),
            )[0][0]
            for _ in range(2)
        ]
        self.tokens: list[str] = []
        for user in self.users:
            self._begin(user)

    def _begin(self, user: object) -> None:
        self.tokens.append(self.backend.begin(user).token)

    def _refresh(self, number: int) -> None:
        token = self.tokens[number % len(self.tokens)]
        with self.backend.pool.connection() as conn:
            found = self.backend.sessions.refresh(conn, token, AWAY if number % 2 else HOME)
        self.tally.verdicts[found.verdict.value] += 1
        if found.grant is not None and found.grant.token not in self.tokens:
            self.tokens.append(found.grant.token)

    def _logout(self, number: int) -> None:
        with self.backend.pool.connection() as conn:
            self.backend.sessions.logout(conn, self.tokens[number % len(self.tokens)], HOME)

    def _logout_all(self, user: object) -> None:
        with self.backend.pool.connection() as conn:
            self.backend.sessions.end(conn, user, HOME)

    def _revoke(self, user: object) -> None:
        criteria = Criteria(users=(user,))
        with self.backend.pool.connection() as conn:
            planned = sessions.count(conn, self.backend.layout, criteria)
            if planned.matched:
                try:
                    revoking.revoke(
                        conn, self.backend.layout, operation(), criteria, planned, patience=PATIENT
                    )
                except NothingMatched:
                    self.tally.verdicts["nothing left to revoke"] += 1

    def _lock(self, user: object) -> None:
        with self.backend.pool.connection() as conn:
            account = by_id(conn, self.backend.layout, [user])[user]
            planned = locking.plan(
                conn, self.backend.layout, [account], timedelta(hours=1), revoke=True
            )
            locking.lock(
                conn,
                self.backend.layout,
                operation(),
                planned,
                timedelta(hours=1),
                patience=PATIENT,
            )

    def _unlock(self, user: object) -> None:
        with self.backend.pool.connection() as conn:
            conn.execute(
                "UPDATE secops.accounts SET locked_at = NULL, lock_expires_at = NULL WHERE user_id = %s",
                (user,),
            )

    def _prune(self, _: object) -> None:
        with self.backend.database.connect() as conn:
            limits = expired.bounds(conn, timedelta(days=7))
            Pruner(conn, self.backend.layout, operation(), limits, Pace()).run(expired=0)

    @rule(
        before=st.sampled_from(["nothing", "nothing", "time passes", "logins", "logins"]),
        acts=st.lists(
            st.tuples(
                st.sampled_from(
                    ["newest"] * 8
                    + ["any"] * 3
                    + ["begin", "logout", "logout_all", "revoke", "lock", "unlock", "prune"]
                ),
                st.integers(0, 1000),
            ),
            min_size=2,
            max_size=6,
        ),
    )
    def at_once(self, before: str, acts: list[tuple[str, int]]) -> None:
        """Do several things in threads that begin together."""
        if before == "time passes":
            self.backend.database.execute(AGE, (self.users,))
        if before == "logins":
            for user in self.users:
                self._unlock(user)
                self._begin(user)
        gate = Barrier(len(acts))
        newest = len(self.tokens) - 1

        def one(act: tuple[str, int]) -> None:
            name, number = act
            if name in {"newest", "any", "logout"}:
                target = newest - number % 2 if name == "newest" else number
                what, given = (self._logout if name == "logout" else self._refresh), target
            else:
                what, given = getattr(self, f"_{name}"), self.users[number % 2]
            gate.wait()
            what(given)

        for done in [self.threads.submit(one, act) for act in acts]:
            done.result()
        self.tally.rounds += 1

    @invariant()
    def no_session_has_two_live_tokens_and_none_outlives_a_theft(self) -> None:
        assert self.backend.database.execute(TWO_LEAVES, (self.users,)) == []
        assert self.backend.database.execute(SURVIVORS, (self.users,)) == []


def campaign(database: Database, *, examples: int, steps: int, derandomize: bool) -> Tally:
    backend = Backend.on(database, size=10)
    tally = Tally()
    with ThreadPoolExecutor(6) as threads:
        here = type("Here", (Crowd,), {"backend": backend, "threads": threads, "tally": tally})
        try:
            run_state_machine_as_test(
                here,
                settings=settings(
                    max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=derandomize,
                    phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
                ),
            )  # fmt: skip
        finally:
            backend.close()
    with database.connect() as conn:
        conn.execute("SELECT pg_stat_clear_snapshot()")
        assert deadlocks(conn) == 0
    return tally


def deadlocks(conn: Connection) -> object:
    row = conn.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return row[0]


def test_whatever_happens_at_once_no_token_survives_a_theft(hardened: Database) -> None:
    tally = campaign(hardened, examples=5, steps=20, derandomize=True)
    assert tally.rounds >= 60
    # It went where it hurts.
    assert {
        each.value for each in (Verdict.ROTATED, Verdict.REPLAYED, Verdict.REUSED, Verdict.REVOKED)
    } <= set(tally.verdicts)


@pytest.mark.chaos
def test_ten_thousand_times_over(hardened: Database) -> None:
    rounds = 0
    while rounds < 10_000:
        rounds += campaign(hardened, examples=100, steps=40, derandomize=False).rounds
