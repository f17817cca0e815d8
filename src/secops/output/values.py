"""How one value of the database is written: for a person, for CSV, for JSON."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from secops.durations import about

# What `users.locked_until` holds where a lock has no end; drivers choke on PostgreSQL's `infinity`.
_FOREVER: Final = 9999


def in_utc(moment: datetime) -> datetime:
    """Return the moment in UTC; one without a zone, or too near the end of time to move, as it is."""
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return moment


def is_number(value: object) -> bool:
    """Say whether a value is a number, to be aligned and exported as one (a bool is none)."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def for_people(value: object) -> str:
    """Write a value for tables, Markdown and HTML; the text is not inert yet.

    Returns:
        Times in UTC to the second (``2026-11-24 09:00:00Z``; ``forever`` in the year 9999), spans in
        words, ``yes``/``no``, lists with commas, objects as JSON, nothing for ``None``.
    """
    match value:
        case None:
            return ""
        case enum.Enum():
            return for_people(value.value)
        case str():
            return value
        case bool():
            return "yes" if value else "no"
        case datetime():
            return _moment(value)
        case timedelta():
            return ("-" if value < timedelta(0) else "") + about(value)
        case list() | tuple() | set() | frozenset():
            return ", ".join(for_people(each) for each in value)
        case _:
            return _common(value)


def for_csv(value: object) -> str:
    """Write a value for CSV; the text is not guarded yet.

    Returns:
        As in JSON, without quotes: times as ``2026-11-24T09:00:00+00:00``, spans in seconds,
        ``true``/``false``, lists and objects as JSON, nothing for ``None``.
    """
    match value:
        case None:
            return ""
        case enum.Enum():
            return for_csv(value.value)
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case timedelta():
            return str(_seconds(value))
        case list() | tuple() | set() | frozenset():
            from secops.output.as_json import encode

            return encode(value)
        case _:
            return _common(value)


def for_json(value: object) -> object:
    """Turn a value that JSON does not know into one that it knows.

    Returns:
        Times as ISO 8601 in UTC, spans in seconds, a Decimal as a number where no digit is lost and as
        text otherwise, sets as lists, bytes as PostgreSQL's hex form, anything else as its text.
    """
    match value:
        case datetime():
            return in_utc(value).isoformat()
        case timedelta():
            return _seconds(value)
        case Decimal():
            return _decimal(value)
        case enum.Enum():
            return value.value
        case set() | frozenset():
            return list(value)
        case Mapping():
            return dict(value)
        case _:
            return _common(value)


def _common(value: object) -> str:
    match value:
        case datetime():
            return in_utc(value).isoformat()
        case date() | time():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case bytes() | bytearray() | memoryview():
            return f"\\x{value.hex()}"
        case Mapping():
            from secops.output.as_json import encode

            return encode(value)
        case _:
            return str(value)


def _moment(value: datetime) -> str:
    moment = in_utc(value)
    if moment.year == _FOREVER:
        return "forever"
    shown = moment.replace(tzinfo=None).isoformat(" ", "seconds")
    return (
        shown if moment.tzinfo is None else f"{shown}Z" if not moment.utcoffset() else str(moment)
    )


def _seconds(span: timedelta) -> int | float:
    seconds = span.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def _decimal(value: Decimal) -> int | float | str:
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    near = float(value)
    return near if Decimal(repr(near)) == value else format(value, "f")
