"""What the environment says about logins, as values: one object that every service takes."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta


class Scope(enum.Enum):
    """What ends when a used refresh token comes back."""

    USER = "user"
    """Every session of the user, as the plan says."""
    FAMILY = "family"
    """The session that the token belongs to (RFC 9700 4.14.2, ASVS 5.0 10.4.5)."""


class Previous(enum.Enum):
    """Whether a used token works once more, for clients that never got the answer."""

    NEVER = "never"
    """One use, as the plan says: two tabs that refresh at once are theft."""
    GRACE = "grace"
    """For some seconds, and only the last one before the live token."""
    UNUSED = "unused"
    """As long as its successor was never presented, as FAPI 2.0 asks."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    """How sessions live.

    Attributes:
        lifetime: How long a refresh token is good for.
        family_lifetime: How long a session can be prolonged, from its login on.
        rotate: Whether a refresh token is good for one use.
        detect_theft: Whether a used token that comes back ends sessions.
        scope: Which.
        previous: Whether a used token works once more.
        grace: For how long, with :attr:`Previous.GRACE`.
        most: Sessions that a user has at most; the oldest ends. ``None`` for no limit.
        same_device: Whether a refresh from another browser or system than the login's is refused.
        watch_addresses: Whether a refresh from another network than the login's is reported.
        locked_too: Whether an automatic lock keeps live sessions from being refreshed, as the plan's
            middleware has it. Anybody can lock anybody out of a live session then, with five wrong passwords.
    """

    lifetime: timedelta = timedelta(days=7)
    family_lifetime: timedelta = timedelta(days=30)
    rotate: bool = True
    detect_theft: bool = True
    scope: Scope = Scope.USER
    previous: Previous = Previous.GRACE
    grace: timedelta = timedelta(seconds=10)
    most: int | None = None
    same_device: bool = False
    watch_addresses: bool = False
    locked_too: bool = False


@dataclass(frozen=True, slots=True)
class LockoutRules:
    """When failed logins lock an account.

    Attributes:
        attempts: Wrong passwords that lock it.
        duration: For how long.
        window: Failures longer ago than this count no more.
        patience: How long a login waits while others for the same account are being verified.
    """

    attempts: int = 5
    duration: timedelta = timedelta(minutes=30)
    window: timedelta = timedelta(minutes=30)
    patience: timedelta = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class EventRules:
    """Which events are written; the plan has a variable for each.

    Attributes:
        enabled: Whether any are.
        failed_logins: Failed logins.
        logins: Successful logins.
        refreshes: Refreshes.
        lockouts: Locks set by failed logins.
    """

    enabled: bool = True
    failed_logins: bool = True
    logins: bool = True
    refreshes: bool = True
    lockouts: bool = True
