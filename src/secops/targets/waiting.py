"""How long to wait before a service is asked again."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how many seconds a service asks to wait, or ``None`` where it does not say.

    Args:
        headers: By lower-case name: ``Retry-After`` in seconds or as a date (RFC 9110, 10.2.3), else
            the ``...-Reset`` headers of Railway and Render, in seconds or as a Unix time.
        now: The time on the service's clock.
    """
    given = headers.get("retry-after", "").strip()
    if given:
        if re.fullmatch(r"[0-9]{1,12}(\.[0-9]*)?", given):
            return min(float(given), 86_400.0)
        try:
            when = parsedate_to_datetime(given)
        except (ValueError, OverflowError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - now).total_seconds())
    for name in ("x-ratelimit-reset", "ratelimit-reset"):
        reset = headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]{1,13}", reset):  # milliseconds since 1970 at most
            number = float(reset)
            if number > 1e12:  # noqa: PLR2004
                number /= 1000
            return max(0.0, number - now.timestamp()) if number > 1e9 else number  # noqa: PLR2004
    return None


def backoff(tries: int) -> float:
    """Return how many seconds to wait after so many attempts, where nobody says how long."""
    # Not cryptography: it keeps two runs from coming back at the same moment.
    return 0.5 * 2.0 ** (tries - 1) * random.uniform(0.8, 1.2)  # noqa: S311
