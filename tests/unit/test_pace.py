from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.upkeep.pace import MOST, Pace

SECONDS = st.floats(min_value=0, max_value=100, allow_nan=False)


@given(st.integers(1, MOST), st.lists(SECONDS, max_size=50))
def test_a_batch_is_never_larger_than_allowed_nor_empty(most: int, times: list[float]) -> None:
    pace = Pace(most=most)
    assert 1 <= pace.size <= most
    for seconds in times:
        pace.took(seconds)
        assert 1 <= pace.size <= most


@given(SECONDS)
def test_one_batch_changes_the_size_by_a_factor_of_two_at_most(seconds: float) -> None:
    pace = Pace()
    before = pace.size
    pace.took(seconds)
    assert before / 2 <= pace.size <= before * 2


@pytest.mark.parametrize("rows_per_second", [20_000, 100_000, 1_000_000])
def test_batches_come_to_take_as_long_as_they_should(rows_per_second: int) -> None:
    pace = Pace()
    for _ in range(20):
        pace.took(pace.size / rows_per_second)
    assert pace.size / rows_per_second == pytest.approx(pace.target.total_seconds(), rel=0.05)


def test_a_machine_that_crawls_still_gets_batches_worth_their_transaction() -> None:
    pace = Pace()
    for _ in range(50):
        pace.took(60)
    assert pace.size == 200


def test_it_rests_for_a_part_of_the_batch_unless_told() -> None:
    assert Pace().rest(1.0) == pytest.approx(0.01)
    assert Pace(pause=timedelta(seconds=3)).rest(1.0) == 3
    assert Pace(pause=timedelta(0)).rest(1.0) == 0
