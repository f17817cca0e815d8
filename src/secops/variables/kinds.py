"""The kinds of values that environment variables hold: how they are read, and their one canonical text.

Each kind is read in two ways. *Loosely* is how people write a value down: ``yes``, ``30 minutes``, ``30m``
where the variable counts minutes. *Strictly* is what every app reads alike: an app that tests
``=== 'true'`` takes ``yes`` for false, so nothing is concluded from a live ``yes``.
"""

from __future__ import annotations

import enum
import re
from datetime import timedelta
from fractions import Fraction
from typing import Final

from secops.durations import parse_duration
from secops.errors import UsageError

Value = timedelta | int | bool | str


class Kind(enum.StrEnum):
    """What a variable holds."""

    DURATION = "duration"
    """A number with its unit: ``15m``."""
    MINUTES = "minutes"
    """A bare number of minutes."""
    SECONDS = "seconds"
    """A bare number of seconds."""
    MILLISECONDS = "milliseconds"
    """A bare number of milliseconds."""
    COUNT = "count"
    """A whole number."""
    FLAG = "flag"
    """``true`` or ``false``."""
    CHOICE = "choice"
    """One of a few words."""
    TEXT = "text"
    """Any text."""


NUMBERED: Final = {
    Kind.MINUTES: timedelta(minutes=1),
    Kind.SECONDS: timedelta(seconds=1),
    Kind.MILLISECONDS: timedelta(milliseconds=1),
}
"""The kinds that are spans of time written as bare numbers, with their unit."""

SPANS: Final = frozenset({Kind.DURATION, *NUMBERED})
"""The kinds that are spans of time."""

_LONGEST: Final = timedelta(days=36_500)
_MILLISECOND: Final = timedelta(milliseconds=1)
_WHOLE: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
# The words for units that jsonwebtoken's expiresIn takes (https://github.com/vercel/ms), but for years.
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_WORDS: Final = {
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "week", "weeks"), "w"),
}
_ONE_UNIT: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) *([a-z]+)", re.IGNORECASE | re.ASCII)
_YES_OR_NO: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def strictly(kind: Kind, text: str, choices: tuple[str, ...] = ()) -> Value | None:
    """Return what every app takes a text for, or ``None`` where apps differ or it cannot be read."""
    if kind in {Kind.TEXT, Kind.CHOICE}:
        return text if kind is Kind.TEXT or text in choices else None
    if kind is Kind.FLAG:
        return {"true": True, "false": False}.get(text)
    if kind is Kind.DURATION:
        return _one_unit(text)
    number = int(text) if _WHOLE.fullmatch(text) else None
    if number is None or kind is Kind.COUNT:
        return number
    return _bounded(number * Fraction(NUMBERED[kind] // _MILLISECOND))


def loosely(kind: Kind, text: str, choices: tuple[str, ...] = ()) -> Value:
    """Read a text as people write it.

    Raises:
        UsageError: It is no value of that kind. The text is not repeated: it may be secret.
    """
    given = text if kind is Kind.TEXT else text.strip()
    if kind is Kind.FLAG:
        flag = _YES_OR_NO.get(given.lower())
        if flag is None:
            raise UsageError("It must be true or false.")
        return flag
    if kind is Kind.CHOICE:
        found = [each for each in choices if each.lower() == given.lower()]
        if not found:
            raise UsageError(f"It must be one of {', '.join(choices)}.")
        return found[0]
    value = strictly(kind, given, choices)
    if value is None and kind in SPANS:
        value = _span(kind, given)
    if value is None:
        raise UsageError("It must be a whole number.")
    return value


def canonical(kind: Kind, value: Value) -> str:
    """Write a value as the one text that all its spellings share.

    A duration has one unit, the largest that divides it: ``90m`` and never ``1h30m``, which jsonwebtoken
    does not read.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, timedelta):
        return str(value)
    if kind in NUMBERED:
        return str(value // NUMBERED[kind])
    for unit in ("d", "h", "m", "s"):
        if value and not value % _UNITS[unit]:
            return f"{value // _UNITS[unit]}{unit}"
    return f"{value // _MILLISECOND}ms" if value else "0s"


def _one_unit(text: str) -> timedelta | None:
    found = _ONE_UNIT.fullmatch(text)
    unit = _WORDS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        return None
    return _bounded(Fraction(found[1]) * (_UNITS[unit] // _MILLISECOND))


def _bounded(milliseconds: Fraction) -> timedelta | None:
    """Return a span of whole milliseconds, or ``None`` where it is none or longer than a century."""
    if milliseconds.denominator != 1 or milliseconds > _LONGEST // _MILLISECOND:
        return None
    return int(milliseconds) * _MILLISECOND


def _span(kind: Kind, text: str) -> timedelta:
    if kind is Kind.DURATION and re.fullmatch(r"[0-9.]+", text) and text != "0":
        raise UsageError(
            "A duration needs a unit: a bare number is milliseconds to one app and seconds to another.",
            hint="Write 15m, 1h or 7d.",
        )
    span = _one_unit(text)
    if span is None:
        try:
            span = parse_duration(text)
        except UsageError:
            example = "15m, 1h or 7d" if kind is Kind.DURATION else f"a whole number of {kind}"
            raise UsageError(f"It must be a duration: {example}.") from None
    if kind in NUMBERED and span % NUMBERED[kind]:
        raise UsageError(f"It must be a whole number of {kind}.")
    return span
