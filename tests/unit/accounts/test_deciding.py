"""What locking and unlocking mean for an account in any state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from secops.accounts import locking, unlocking
from secops.accounts.states import FOREVER, OperatorLock, State
from secops.accounts.users import Account

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

spans = st.integers(1, 10_000).map(lambda minutes: timedelta(minutes=minutes))
moments = st.one_of(st.none(), st.just(FOREVER), spans.map(lambda span: NOW + span))


@st.composite
def states(draw: st.DrawFn) -> State:
    until = draw(st.one_of(moments, st.just(NOW - HOUR)))
    lock = None
    if draw(st.booleans()):
        lock = OperatorLock(NOW - HOUR, draw(moments), "alice", "why", "", None)
    return State(Account(1, "bob@example.com"), NOW, draw(st.integers(0, 9)), until, lock)


@given(states(), st.one_of(st.none(), spans))
def test_a_lock_never_ends_sooner_than_asked_nor_than_before(
    state: State, span: timedelta | None
) -> None:
    step = locking.decide(state, span)

    wanted = FOREVER if span is None else NOW + span
    assert step.until is not None
    if step.changes:
        assert step.until >= wanted
        assert state.operator is None or step.until >= state.operator.end
    else:
        assert state.operator is not None
        # Running the same command again is the same lock, though its end moved a little meanwhile.
        for end in (state.operator.end, state.locked_until):
            assert end is not None
            assert end > NOW
            assert end >= wanted - timedelta(minutes=1)


@given(states(), st.one_of(st.none(), spans))
def test_locking_again_at_once_changes_nothing(state: State, span: timedelta | None) -> None:
    first = locking.decide(state, span)
    if not first.changes:
        return
    assert first.until is not None
    end = max(first.until, state.locked_until or first.until)
    lock = OperatorLock(NOW, None if first.until == FOREVER else first.until, "eve", "", "", None)
    locked = State(state.account, NOW + timedelta(seconds=5), state.failed, end, lock)

    assert not locking.decide(locked, span).changes


@given(states())
def test_who_is_named_is_unlocked_whatever_is_in_the_way(state: State) -> None:
    step = unlocking.decide(state)

    in_the_way = state.locked or state.operator is not None
    assert (step.result == "unlocked") == in_the_way
    assert step.changes == (in_the_way or state.failed > 0)


@given(states())
def test_a_filter_touches_locks_only_and_operators_only_where_asked(state: State) -> None:
    without = unlocking.decide(state, named=False, operators=False)
    assert without.changes == (state.locked and state.operator is None)

    also = unlocking.decide(state, named=False, operators=True)
    assert also.changes == (state.locked or state.operator is not None)


def test_the_event_keeps_what_unlocking_took_away() -> None:
    lock = OperatorLock(NOW - HOUR, NOW + HOUR, "alice", "fraud", "SEC-1", None)
    step = unlocking.decide(State(Account(1, "b@x"), NOW, 3, NOW + HOUR, lock))

    assert "alice had locked it until 2026-11-24 04:00:00Z (fraud)" in step.message
    assert step.facts["locked_by"] == "alice"
    assert step.facts["failed_login_attempts"] == 3
    assert step.facts["locked_until"] == "2026-11-24T04:00:00+00:00"
