"""The arithmetic of months: where old and new part, what is missing, how far ahead it reaches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.schema.naming import LONGEST, fitting
from secops.schema.partitions.making import partition_name
from secops.schema.partitions.months import (
    FIRST,
    LAST,
    MARGIN,
    Span,
    ahead,
    cutoff,
    later,
    missing,
    month_of,
    wanted,
)

moments = st.datetimes(datetime(1971, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
months = st.integers(1, 60)


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Return ranges that do not overlap, in any order, with gaps and ends anywhere."""
    points = sorted(set(draw(st.lists(moments, min_size=2, max_size=12))))
    pairs = [Span(*pair) for pair in pairwise(points)]
    kept = [pair for pair in pairs if draw(st.booleans())]
    if draw(st.booleans()):
        kept.append(Span(FIRST, points[0]))
    return draw(st.permutations(kept))


@given(moments)
def test_the_cutoff_is_a_months_beginning_a_day_away_or_more(now: datetime) -> None:
    at = cutoff(now)
    assert at == month_of(at)
    assert at - now >= MARGIN
    # No later than it must be: the month before would be too near.
    assert later(at, -1) - now < MARGIN


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 0, 0, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)),
    ],
)
def test_the_cutoff_at_a_months_end(now: datetime, expected: datetime) -> None:
    assert cutoff(now) == expected


@given(moments, st.integers(-400, 400))
def test_later_and_back_is_the_months_beginning(moment: datetime, number: int) -> None:
    assert later(later(moment, number), -number) == month_of(moment)


@given(spans(), moments, months)
def test_what_is_missing_fills_the_gaps_and_nothing_else(
    covered: list[Span], now: datetime, number: int
) -> None:
    whole = wanted(now, number)
    gaps = missing(covered, whole)
    everything = sorted([*covered, *gaps])
    assert all(before.upper <= after.lower for before, after in pairwise(everything))
    inside = [each for each in everything if each.upper > whole.lower and each.lower < whole.upper]
    assert inside[0].lower <= whole.lower
    assert inside[-1].upper >= whole.upper
    assert all(before.upper == after.lower for before, after in pairwise(inside))
    # No partition reaches over a month's end.
    assert all(
        month_of(each.upper - timedelta(microseconds=1)) <= each.lower
        for each in gaps
        if each.lower == month_of(each.lower)
    )
    assert all(each.upper <= later(each.lower, 1) for each in gaps)


@given(spans(), moments, months)
def test_with_what_is_missing_there_are_as_many_months_as_wanted(
    covered: list[Span], now: datetime, number: int
) -> None:
    gaps = missing(covered, wanted(now, number))
    assert ahead([*covered, *gaps], now) >= number
    if any(each.upper > now for each in gaps):
        assert ahead(covered, now) < number
    assert missing([*covered, *gaps], wanted(now, number)) == []


def test_how_far_ahead_it_reaches() -> None:
    now = datetime(2026, 12, 31, 12, tzinfo=UTC)
    january, february, march = (datetime(2027, month, 1, tzinfo=UTC) for month in (1, 2, 3))
    assert ahead([], now) == -1
    assert ahead([Span(january, february)], now) == -1
    assert ahead([Span(FIRST, january)], now) == 0
    assert ahead([Span(FIRST, january), Span(january, february)], now) == 1
    # Behind a gap nothing counts.
    assert ahead([Span(FIRST, january), Span(february, march)], now) == 0
    # Half a month is none.
    assert ahead([Span(FIRST, january), Span(january, february - timedelta(days=9))], now) == 0
    assert ahead([Span(FIRST, LAST)], now) > 1000


@given(st.lists(moments, min_size=2, max_size=40, unique=True), months)
def test_partitions_of_different_months_have_different_names(
    starts: list[datetime], number: int
) -> None:
    gaps = missing([], wanted(starts[0], number))
    names = [partition_name(each) for each in gaps]
    assert len(set(names)) == len(names)


@given(st.text(max_size=90), st.sampled_from(["", "_legacy", "_secops_new", "_2"]))
def test_a_fitting_name_fits_and_keeps_its_ending(name: str, ending: str) -> None:
    name = "".join(each for each in name if not 0xD800 <= ord(each) <= 0xDFFF)
    made = fitting(name, ending)
    assert len(made.encode()) <= LONGEST
    assert made.endswith(ending)
    if len((name + ending).encode()) <= LONGEST:
        assert made == name + ending


@given(st.text("ab", min_size=70, max_size=80), st.text("ab", min_size=70, max_size=80))
def test_names_that_are_cut_stay_apart(one: str, other: str) -> None:
    assert (fitting(one) == fitting(other)) == (one == other)
