"""Everything that is done to an account, with keys of every type, on both majors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from secops.accounts import explain, locking, networks, revoking, sessions, unlocking, users
from secops.accounts.criteria import Criteria
from secops.accounts.operations import Operation
from secops.accounts.patience import Patience
from secops.schema.detect import detect

if TYPE_CHECKING:
    from support.accounts import People


def test_an_account_is_locked_explained_unlocked_and_its_sessions_end(
    people_of_any_key: People,
) -> None:
    people = people_of_any_key
    bob, eve = people.add("bob@example.com", failed=1), people.add("eve@example.com")
    root = people.token(bob, used=True, age="3 days", ip="203.0.113.9")
    leaf = people.token(bob, family=root, ip="::ffff:203.0.113.9")
    people.token(bob, ip="2001:db8::1")
    people.token(eve, ip="no address")
    operation = Operation.begin(actor="alice", host="h", reason="why", ticket="T-1", command="test")
    patience = Patience(timedelta(seconds=5))
    with people.database.connect() as conn:
        layout = detect(conn, people.database.settings())
        named = users.find_all(conn, layout, [str(bob)])

        planned = locking.plan(conn, layout, named, timedelta(hours=2), revoke=False)
        assert planned.sessions == {bob: 2}
        locked = locking.lock(
            conn, layout, operation, planned, timedelta(hours=2), patience=patience
        )
        assert locked.changed == 1
        found = explain.explain(conn, layout, "BOB@example.com", allowed=5)
        assert [reason.code for reason in found.reasons] == ["operator_lock"]
        assert found.state.operator is not None
        assert found.state.operator.operation == operation.id
        assert {session.id for session in found.sessions} >= {root}
        assert [event.type for event in found.events] == ["account_locked"]

        window = timedelta(days=1)
        both = unlocking.plan_locked(conn, layout, unlocking.Filter((), window, operators=True))
        assert both.matched == 1
        assert unlocking.plan_locked(conn, layout, unlocking.Filter((), window)).matched == 0
        again = Operation.begin(actor="alice", host="h", reason="", ticket="", command="test")
        assert unlocking.unlock(conn, layout, again, both, patience=patience).changed == 1
        assert people.user(bob) == (0, None)

        criteria = Criteria(
            users=(bob, eve),
            networks=tuple(networks.read_networks(["203.0.113.0/24"])),
            agents=("*firefox*",),
            sessions=(leaf,),
            families=(root,),
            issued_before=datetime.now(UTC) - timedelta(days=2),
            idle_for=timedelta(minutes=30),
        )
        counted = sessions.count(conn, layout, criteria)
        assert counted.counts == {bob: 1}
        assert [each.account.email for each in sessions.largest(conn, layout, counted, 3)] == [
            "bob@example.com"
        ]
        assert [each.tokens for each in sessions.numbered(conn, layout, criteria)] == [[leaf]]
        third = Operation.begin(actor="alice", host="h", reason="", ticket="", command="test")
        done = revoking.revoke(conn, layout, third, criteria, counted, patience=patience, expect=1)
        assert (done.sessions, done.accounts) == (1, 1)
        assert done.listed[0].sessions == [root]

    assert (people.live(bob), people.live(eve)) == (1, 1)
    assert people.epoch(bob) == 0
    kinds = [(deed["type"], deed["user"], deed["email"]) for deed in people.deeds()]
    assert kinds == [
        ("account_locked", bob, "bob@example.com"),
        ("account_unlocked", bob, "bob@example.com"),
        ("session_revoked", bob, "bob@example.com"),
    ]


def test_locks_are_found_by_where_failed_logins_came_from(people_of_any_key: People) -> None:
    people = people_of_any_key
    here = people.add("Here@example.com", failed=5, locked_for="1 hour")
    people.add("there@example.com", failed=5, locked_for="1 hour")
    people.event("login_failed", user=here, ip="not an address")
    people.event("login_failed", email="here@EXAMPLE.com", ip="2001:db8::7")
    wanted = unlocking.Filter(networks.read_networks(["2001:db8::/32"]), timedelta(days=1))
    with people.database.connect() as conn:
        layout = detect(conn, people.database.settings())
        found = unlocking.plan_locked(conn, layout, wanted)
    assert [step.state.account.id for step in found.steps] == [here]
