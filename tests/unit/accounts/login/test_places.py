"""The arithmetic of the lockout."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.accounts.login.places import Answer, Count, Decision, Seen, decide

counts = st.builds(Count, st.integers(0, 8), st.integers(0, 8))
seens = st.builds(
    Seen,
    counts,
    st.booleans(),
    st.booleans(),
    st.none() | st.timedeltas(timedelta(seconds=1), timedelta(hours=1)),
    st.booleans(),
)
limits = st.integers(1, 8)


@given(seens, limits)
def test_never_more_are_verified_than_could_all_fail_and_stay_within_the_limit(
    seen: Seen, most: int
) -> None:
    decision = decide(seen, most)
    if decision.answer is Answer.PLACE:
        assert decision.count.failed + decision.count.open <= most


@given(seens, limits)
def test_a_lock_is_a_lock_whatever_else_is_found(seen: Seen, most: int) -> None:
    assert (decide(seen, most).answer is Answer.LOCKED) == (seen.locked_for is not None)


@given(seens, limits)
def test_somebody_gets_a_place_or_is_locked_once_nobody_is_being_verified(
    seen: Seen, most: int
) -> None:
    """Nobody waits for ever."""
    if not seen.count.open or seen.lost:
        assert decide(seen, most).answer is not Answer.FULL


def test_five_places_and_no_sixth() -> None:
    seen, answers = Seen(Count()), []
    for _ in range(6):
        decision = decide(seen, 5)
        answers.append(decision.answer)
        seen = Seen(decision.count)
    assert answers == [Answer.PLACE] * 5 + [Answer.FULL]


@pytest.mark.parametrize(
    "seen",
    [Seen(Count(4), window_over=True), Seen(Count(5), lock_over=True), Seen(Count())],
    ids=["window over", "lock over", "nothing yet"],
)
def test_the_count_begins_anew(seen: Seen) -> None:
    decision = decide(seen, 5)
    assert decision.answer is Answer.PLACE
    assert decision.count == Count(0, 1)


def test_attempts_whose_process_died_count_as_failed() -> None:
    assert decide(Seen(Count(2, 2), lost=True), 5) == Decision(Answer.PLACE, Count(4, 1))
    assert decide(Seen(Count(2, 3), lost=True), 5) == Decision(Answer.LOCKS, Count(5))
