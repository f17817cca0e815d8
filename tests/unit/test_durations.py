"""Spans of time: what is read back is what was written, and nothing is guessed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.durations import about, format_duration, parse_duration
from secops.errors import UsageError

SPANS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36_500)).map(
    lambda span: timedelta(milliseconds=span // timedelta(milliseconds=1))
)


@given(SPANS)
def test_what_was_written_is_read_back(span: timedelta) -> None:
    assert parse_duration(format_duration(span)) == span


@given(SPANS, SPANS)
def test_parts_add_up(one: timedelta, other: timedelta) -> None:
    total = one + other
    text = format_duration(one) + format_duration(other)
    if total <= timedelta(days=36_500):
        assert parse_duration(text) == total
    else:
        with pytest.raises(UsageError):
            parse_duration(text)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        (" 24H ", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("250ms", timedelta(milliseconds=250)),
        ("1m1ms", timedelta(minutes=1, milliseconds=1)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_durations_read_as_people_write_them(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "00",
        "-5m",
        "5 m",
        "5x",
        "m",
        "1.5h",
        "5mo",
        "5m-",
        "٣m",
        "1h30",
        "yesterday",
        "1e3s",
    ],
)
def test_what_could_mean_two_things_or_none_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration") as caught:
        parse_duration(text)
    assert "24h" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    ["36501d", "99999999999d", "9" * 14 + "w", "9" * 16 + "ms", "9" * 5000 + "w", "36500d1ms"],
)
def test_more_than_a_hundred_years_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="longer than 100 years"):
        parse_duration(text)


@given(st.text())
def test_any_text_is_a_span_within_bounds_or_a_usage_error(text: str) -> None:
    try:
        span = parse_duration(text)
    except UsageError:
        return
    assert timedelta(0) <= span <= timedelta(days=36_500)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(seconds=59.6), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=1, minutes=20), "1 h 20 min"),
        (timedelta(hours=24), "1 day"),
        (timedelta(hours=30), "1 d 6 h"),
        (timedelta(days=3, hours=5), "3 days"),
        (timedelta(minutes=-5), "5 min"),
    ],
)
def test_spans_are_told_with_their_largest_units(span: timedelta, text: str) -> None:
    assert about(span) == text


@given(SPANS)
def test_a_told_span_is_short(span: timedelta) -> None:
    assert 0 < len(about(span)) <= 12
