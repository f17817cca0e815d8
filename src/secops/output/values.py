"""How one value of the database is written: for a person, for CSV, for JSON."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import singledispatch
from typing import TYPE_CHECKING, Final

from secops.durations import about

if TYPE_CHECKING:
    from collections.abc import Iterable

# What `users.locked_until` holds where a lock has no end; drivers choke on PostgreSQL's `infinity`.
_FOREVER: Final = 9999
# Beyond it Python refuses to write an integer out, and no reader of JSON holds the number either.
_LARGEST_EXPONENT: Final = 300


def is_number(value: object) -> bool:
    """Say whether a value is a number, to be aligned and exported as one (a bool is none)."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def are_numbers(values: Iterable[object]) -> bool:
    """Say whether a column holds numbers and, but for ``None``, nothing else: it is aligned to the right."""
    given = [value for value in values if value is not None]
    return bool(given) and all(map(is_number, given))


def for_people(value: object) -> str:
    """Write a value for tables, Markdown and HTML; the text is not inert yet.

    Returns:
        Times in UTC to the second (``2026-11-24 09:00:00Z``; ``forever`` in the year 9999), spans in
        words, ``yes``/``no``, lists with commas, objects as JSON, nothing for ``None``.
    """
    return value if type(value) is str else _people(value)


def for_csv(value: object) -> str:
    """Write a value for CSV; the text is not guarded yet.

    Returns:
        What JSON writes, without quotes: times as ``2026-11-24T09:00:00+00:00``, spans in seconds,
        ``true``/``false``, lists and objects as JSON, nothing for ``None``.
    """
    return value if type(value) is str else _csv(value)


@singledispatch
def for_json(value: object) -> object:
    """Turn a value that JSON does not know into one that it knows.

    Returns:
        Times as ISO 8601 in UTC, spans in seconds, a Decimal as a number where no digit is lost and as
        text otherwise, sets as lists, bytes as PostgreSQL's hex form, anything else as its text.
    """
    return str(value)


@for_json.register
def _(value: datetime) -> str:
    return _in_utc(value).isoformat()


@for_json.register
def _(value: date | time) -> str:
    return value.isoformat()


@for_json.register
def _(value: timedelta) -> int | float:
    seconds = value.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


@for_json.register
def _(value: Decimal) -> int | float | str:
    if not value.is_finite() or abs(value.adjusted()) > _LARGEST_EXPONENT:
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    near = float(value)
    return near if Decimal(repr(near)) == value else format(value, "f")


@for_json.register
def _(value: enum.Enum) -> object:
    return value.value


@for_json.register(set)
@for_json.register(frozenset)
def _(value: set[object] | frozenset[object]) -> list[object]:
    return list(value)


@for_json.register(Mapping)
def _(value: Mapping[object, object]) -> dict[object, object]:
    return dict(value)


@for_json.register
def _(value: bytes | bytearray | memoryview) -> str:
    return f"\\x{value.hex()}"


@singledispatch
def _csv(value: object) -> str:
    known = for_json(value)
    return known if isinstance(known, str) else _csv(known)


@_csv.register
def _(_value: None) -> str:
    return ""


@_csv.register
def _(value: str | int | float) -> str:
    return str(value)


@_csv.register
def _(value: bool) -> str:
    return "true" if value else "false"


@_csv.register
def _(value: Decimal) -> str:
    known = for_json(value)
    return known if isinstance(known, str) else format(value, "f")


@_csv.register(list)
@_csv.register(tuple)
@_csv.register(dict)
def _(value: object) -> str:
    return as_json(value)


@singledispatch
def _people(value: object) -> str:
    return _csv(value)


@_people.register
def _(value: bool) -> str:
    return "yes" if value else "no"


@_people.register
def _(value: enum.Enum) -> str:
    return for_people(value.value)


@_people.register
def _(value: datetime) -> str:
    moment = _in_utc(value)
    if moment.year == _FOREVER:
        return "forever"
    zone = "" if moment.tzinfo is None else "Z" if not moment.utcoffset() else f"{moment:%z}"
    return moment.replace(tzinfo=None).isoformat(" ", "seconds") + zone


@_people.register
def _(value: timedelta) -> str:
    return ("-" if value < timedelta(0) else "") + about(value)


@_people.register(list)
@_people.register(tuple)
@_people.register(set)
@_people.register(frozenset)
def _(value: Iterable[object]) -> str:
    return ", ".join(map(for_people, value))


def _in_utc(moment: datetime) -> datetime:
    """Return the moment in UTC; one without a zone, or too near the end of time to move, as it is."""
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return moment


def as_json(value: object) -> str:
    """Write any value as JSON in one line.

    Numbers that JSON has not (NaN, the infinities) become text, as PostgreSQL's own ``to_json`` writes
    them; keys become text. The text is not safe for a terminal yet.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError):  # a key that is no text, or a number that JSON has not
        return _ENCODER.encode(_plain(value))


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, default=for_json
)


def _plain(value: object) -> object:
    match value:
        case Mapping():
            return {
                key if isinstance(key, str) else str(for_json(key)): _plain(each)
                for key, each in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_plain(each) for each in value]
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case _:
            return value
