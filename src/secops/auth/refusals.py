"""What the services refuse, in the plan's words."""

from __future__ import annotations

from datetime import timedelta

from secops.accounts.login.attempts import Crowded, Locked, minutes
from secops.accounts.login.passwords import Weak
from secops.auth.answers import Refused


def wrong_password(left: int) -> Refused:
    """Return the answer to a password that is not right."""
    word = "attempt" if left == 1 else "attempts"
    return Refused(401, "INVALID_CREDENTIALS", f"Invalid password. {left} {word} remaining.")


def weak(found: Weak) -> Refused:
    """Return the answer to a new password that is not good enough."""
    return Refused(400, "WEAK_PASSWORD", ". ".join(found.faults) + ".")


def no_place(found: Locked | Crowded, duration: timedelta) -> Refused:
    """Return the answer where nothing was verified; a lock is never said to last longer than one lasts."""
    if isinstance(found, Locked):
        return Refused(
            423,
            "ACCOUNT_LOCKED",
            f"Account locked for {minutes(min(found.retry_after, duration))}",
            retry_after=found.retry_after,
        )
    return Refused(
        503,
        "SERVICE_UNAVAILABLE",
        "Too many logins of this account at once.",
        retry_after=timedelta(seconds=1),
    )
