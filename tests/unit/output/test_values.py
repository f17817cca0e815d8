"""Each kind of value is written sensibly for people, for CSV and for JSON."""

from __future__ import annotations

import enum
import ipaddress
import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.output.values import are_numbers, as_json, for_csv, for_people, is_number

_ID = UUID("8a5ed1f4-5f0c-4d3e-9d52-0d9f3b9a4f10")
_CEST = timezone(timedelta(hours=2))


class Colour(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    YES = "yes"


class Number(enum.IntEnum):
    TWO = 2


@pytest.mark.parametrize(
    ("value", "people", "table", "in_json"),
    [
        (None, "", "", None),
        (True, "yes", "true", True),
        (False, "no", "false", False),
        (0, "0", "0", 0),
        (-5, "-5", "-5", -5),
        (2**63, "9223372036854775808", "9223372036854775808", 2**63),
        (1.5, "1.5", "1.5", 1.5),
        (math.nan, "nan", "nan", "NaN"),
        (-math.inf, "-inf", "-inf", "-Infinity"),
        (Decimal("1.10"), "1.10", "1.10", 1.1),
        (Decimal("1E+3"), "1000", "1000", 1000),
        (Decimal("0.1234567890123456789"), *["0.1234567890123456789"] * 3),
        (Decimal("NaN"), "NaN", "NaN", "NaN"),
        (Decimal("1E-5000"), "1E-5000", "1E-5000", "1E-5000"),
        (Decimal("1E+5000"), "1E+5000", "1E+5000", "1E+5000"),
        (
            datetime(2026, 11, 24, 11, 0, 0, 250, tzinfo=_CEST),
            "2026-11-24 09:00:00Z",
            "2026-11-24T09:00:00.000250+00:00",
            "2026-11-24T09:00:00.000250+00:00",
        ),
        (datetime(2026, 11, 24, 9), "2026-11-24 09:00:00", *["2026-11-24T09:00:00"] * 2),  # noqa: DTZ001
        (datetime(9999, 12, 31, tzinfo=UTC), "forever", *["9999-12-31T00:00:00+00:00"] * 2),
        (
            datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
            "forever",
            *["9999-12-31T23:00:00-05:00"] * 2,
        ),
        (date(2026, 11, 24), "2026-11-24", "2026-11-24", "2026-11-24"),
        (time(9, 30), "09:30:00", "09:30:00", "09:30:00"),
        (timedelta(hours=1, minutes=20), "1 h 20 min", "4800", 4800),
        (timedelta(seconds=-90, microseconds=500_000), "-1 min", "-89.5", -89.5),
        (_ID, str(_ID), str(_ID), str(_ID)),
        (ipaddress.ip_address("203.0.113.7"), "203.0.113.7", "203.0.113.7", "203.0.113.7"),
        (ipaddress.ip_network("2001:db8::/32"), *["2001:db8::/32"] * 3),
        (b"\x00\xff", *[r"\x00ff"] * 3),
        (memoryview(b"\x01"), *[r"\x01"] * 3),
        (Colour.RED, "red", "red", "red"),
        (Word.YES, "yes", "yes", "yes"),
        (Number.TWO, "2", "2", 2),
        (["a", 1, None], "a, 1, ", '["a", 1, null]', ["a", 1, None]),
        ({"a": [1]}, '{"a": [1]}', '{"a": [1]}', {"a": [1]}),
        (
            {_ID: {math.inf}},
            f'{{"{_ID}": ["Infinity"]}}',
            f'{{"{_ID}": ["Infinity"]}}',
            {str(_ID): ["Infinity"]},
        ),
    ],
)
def test_a_value_is_written(value: object, people: str, table: str, in_json: object) -> None:
    assert for_people(value) == people
    assert for_csv(value) == table
    assert json.loads(as_json(value)) == in_json


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)  # fmt: skip


@given(PLAIN)
def test_json_loses_nothing(value: Any) -> None:
    assert json.loads(as_json(value)) == value


@given(st.decimals())
def test_a_decimal_is_a_json_number_only_where_it_is_exact(value: Decimal) -> None:
    read = json.loads(as_json(value), parse_float=Decimal)
    if isinstance(read, str):
        assert value.is_nan() or Decimal(read) == value
    else:
        assert Decimal(read) == value


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.timezones()))  # noqa: DTZ001  bounds have none
def test_a_moment_in_json_is_the_same_moment(value: datetime) -> None:
    read = datetime.fromisoformat(json.loads(as_json(value)))
    # Compared in UTC, for an hour that a clock change skips equals nothing (PEP 495).
    assert read == value.astimezone(UTC)
    assert read.utcoffset() == timedelta(0)


def test_a_bool_is_no_number_and_none_does_not_matter() -> None:
    assert not is_number(True)
    assert are_numbers([None, 1, Decimal(2), 0.5])
    assert not are_numbers([None])
    assert not are_numbers([1, "2"])
