"""Whether there is a place for one more attempt: the arithmetic of the lockout, without a database."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Count:
    """The attempts on one identifier.

    Attributes:
        failed: Wrong passwords that count.
        open: Passwords that are being verified.
    """

    failed: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is found when somebody wants a place.

    Attributes:
        count: As it was left.
        window_over: Whether the first failure is so long ago that all are forgotten.
        lost: Whether what is being verified was begun so long ago that it never ends.
        locked_for: How long a lock still lasts.
        lock_over: Whether there was one, and it is over.
    """

    count: Count
    window_over: bool = False
    lost: bool = False
    locked_for: timedelta | None = None
    lock_over: bool = False


class Answer(enum.Enum):
    """What somebody who wants a place is told."""

    PLACE = "place"
    FULL = "full"
    LOCKED = "locked"
    LOCKS = "locks"
    """Locked from now on: passwords were begun to be verified, and never were."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is answered, and what the count is from now on.

    Attributes:
        answer: What.
        count: From now on.
        restarted: Whether the window begins anew.
    """

    answer: Answer
    count: Count
    restarted: bool = False


def decide(seen: Seen, most: int) -> Decision:
    """Decide whether there is a place for one more attempt.

    Args:
        seen: What is found.
        most: Wrong passwords that lock.
    """
    if seen.locked_for is not None:
        return Decision(Answer.LOCKED, seen.count)
    failed, being_verified = seen.count.failed, seen.count.open
    if seen.lost:
        # Who kills a process in the middle of a guess must not gain another guess by it.
        failed, being_verified = failed + being_verified, 0
    restarted = seen.lock_over or seen.window_over
    if restarted:
        failed = 0
    if failed >= most:
        return Decision(Answer.LOCKS, Count(most), restarted)
    if failed + being_verified >= most:
        return Decision(Answer.FULL, Count(failed, being_verified), restarted)
    return Decision(Answer.PLACE, Count(failed, being_verified + 1), restarted)
