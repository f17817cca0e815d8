"""Spans of time as people write them: ``90s``, ``15m``, ``24h``, ``7d``, ``2w``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from secops.errors import UsageError

_UNITS: Final[dict[str, timedelta]] = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PART: Final = re.compile(r"(\d+)(ms|[smhdw])", re.ASCII)
_WHOLE: Final = re.compile(r"(?:\d+(?:ms|[smhdw]))+", re.ASCII)
_LONGEST: Final = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta:
    """Read a span of time.

    Args:
        text: Numbers with a unit each: ``ms``, ``s``, ``m`` (minutes), ``h``, ``d``, ``w``; several
            may follow one another (``1h30m``). ``0`` needs no unit; any other bare number is refused,
            for it could mean seconds or days.

    Returns:
        The span; never negative, at most a hundred years.

    Raises:
        UsageError: The text is no such span.
    """
    given = text.strip().lower()
    if given == "0":
        return timedelta(0)
    if not _WHOLE.fullmatch(given):
        raise UsageError(
            f"{text!r} is not a duration.",
            hint="Write a number and a unit: 90s, 15m, 24h, 7d, 2w, 1h30m.",
        )
    total = timedelta(0)
    for number, unit in _PART.findall(given):
        try:
            total += int(number) * _UNITS[unit]
        except (OverflowError, ValueError):  # more than a timedelta, or than int() reads
            total = timedelta.max
        if total > _LONGEST:
            raise UsageError(f"{text!r} is longer than 100 years.", hint="Use a shorter duration.")
    return total


def format_duration(span: timedelta) -> str:
    """Write a span exactly, so that :func:`parse_duration` reads the same one back.

    Args:
        span: Not negative, in whole milliseconds.

    Returns:
        ``7d``, ``1h30m``, ``250ms``, ``0s``.
    """
    left = round(span / _UNITS["ms"])
    parts: list[str] = []
    for unit in ("d", "h", "m", "s", "ms"):
        size = _UNITS[unit] // _UNITS["ms"]
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def about(span: timedelta) -> str:
    """Write a span for a person to read, with its largest unit or two: ``3 days``, ``1 h 20 min``."""
    seconds = abs(round(span.total_seconds()))
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    if days < 3 and hours % 24:  # noqa: PLR2004
        return f"{days} d {hours % 24} h"
    return "1 day" if days == 1 else f"{days} days"
