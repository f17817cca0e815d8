"""Moments of the past as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from secops.durations import parse_duration
from secops.errors import UsageError


def read_past(text: str) -> datetime | timedelta:
    """Read a moment, or how long ago it was.

    Args:
        text: ``2026-11-24``, ``2026-11-24T09:00Z``, ``2026-11-24 09:00+01:00`` (UTC where no zone is
            given), or ``3d``, ``3d ago``, ``3d-ago``.

    Returns:
        The moment with its zone, or how long ago by the database's clock.

    Raises:
        UsageError: It is neither.
    """
    given = text.strip()
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        ago = given.lower().removesuffix("ago").rstrip(" -")
        try:
            return parse_duration(ago)
        except UsageError as error:
            if given[:1].isdigit() and "longer" in error.message:
                raise
            raise UsageError(
                f"{text!r} is neither a moment nor a span of time ago.",
                hint="Write 2026-11-24, 2026-11-24T09:00Z, or 3d for three days ago.",
            ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
