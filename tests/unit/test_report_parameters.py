"""Values of a report's parameters: typed, bounded, and refused with a sentence."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.errors import UsageError
from secops.reports.parameters import Parameter, Value

SINCE = Parameter("since", "duration", default="24h", least="1m", most="30d")
ATTEMPTS = Parameter("min_attempts", "int", default="5", least="1", most="100")
TEXT = Parameter("user", "text", least="2", most="5")
ADDRESS = Parameter("ip", "inet")
WHEN = Parameter("before", "timestamp", least="2020-01-01", most="2030-01-01")
CHOICE = Parameter("per", "choice", choices=("hour", "day"))


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (SINCE, "1m", timedelta(minutes=1)),
        (SINCE, "30d", timedelta(days=30)),
        (SINCE, "1h30m", timedelta(minutes=90)),
        (ATTEMPTS, "1", 1),
        (ATTEMPTS, " 100 ", 100),
        (TEXT, "ab", "ab"),
        (TEXT, "':--;", "':--;"),
        (ADDRESS, "203.0.113.7", "203.0.113.7"),
        (ADDRESS, "203.0.113.7/24", "203.0.113.7/24"),
        (ADDRESS, "2001:db8::/64", "2001:db8::/64"),
        (WHEN, "2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        (WHEN, "2026-11-24T10:00:00+01:00", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        (WHEN, "2026-11-24 09:00:00Z", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        (CHOICE, "day", "day"),
    ],
)
def test_reads_what_a_person_writes(parameter: Parameter, text: str, value: Value) -> None:
    assert parameter.read(text) == value


@pytest.mark.parametrize(
    ("parameter", "text", "said"),
    [
        (SINCE, "59s", "out of bounds"),
        (SINCE, "31d", "out of bounds"),
        (SINCE, "24", "not a duration"),
        (SINCE, "-1h", "not a duration"),
        (SINCE, "yesterday", "not a duration"),
        (ATTEMPTS, "0", "out of bounds"),
        (ATTEMPTS, "-3", "out of bounds"),
        (ATTEMPTS, "101", "out of bounds"),
        (ATTEMPTS, "5.5", "not a whole number"),
        (ATTEMPTS, "1e2", "not a whole number"),
        (ATTEMPTS, "\u0665", "not a whole number"),
        (ATTEMPTS, "9" * 5000, "not a whole number"),
        (ATTEMPTS, "", "not a whole number"),
        (ATTEMPTS, "5; DROP TABLE users", "not a whole number"),
        (TEXT, "a", "out of bounds"),
        (TEXT, "abcdef", "out of bounds"),
        (TEXT, "a\x00b", "NUL"),
        (TEXT, "a\udcff", "UTF-8"),
        (ADDRESS, "203.0.113.256", "no IP address"),
        (ADDRESS, "example.com", "no IP address"),
        (ADDRESS, "fe80::1%eth0", "zone"),
        (WHEN, "tomorrow", "no point in time"),
        (WHEN, "2026-13-01", "no point in time"),
        (WHEN, "2019-12-31", "out of bounds"),
        (CHOICE, "week", "none of the choices"),
        (CHOICE, "Hour", "none of the choices"),
    ],
)
def test_refuses_the_rest_naming_the_option(parameter: Parameter, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parameter.read(text)
    assert caught.value.message.startswith(f"{parameter.option}: ")
    assert caught.value.exit_code == 2


def test_a_refusal_tells_the_bounds() -> None:
    with pytest.raises(UsageError) as caught:
        SINCE.read("31d")
    assert caught.value.hint == "It may be 1m to 30d."


@given(st.integers(-(10**20), 10**20))
def test_a_number_is_read_exactly_if_it_is_in_bounds(number: int) -> None:
    wide = Parameter("n", "int", least="-1000", most="1000000000000")
    if -1000 <= number <= 10**12:
        assert wide.read(str(number)) == number
    else:
        with pytest.raises(UsageError):
            wide.read(str(number))


@given(st.text(max_size=30), st.sampled_from([SINCE, ATTEMPTS, ADDRESS, WHEN, CHOICE]))
def test_any_text_at_all_is_read_or_refused(text: str, parameter: Parameter) -> None:
    with contextlib.suppress(UsageError):
        assert parameter.read(text) is not None
