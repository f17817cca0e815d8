"""What is in the way of a login, and what else explains one that failed, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from secops.accounts.states import FOREVER
from secops.durations import about
from secops.output.values import for_people

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from secops.accounts.sessions import Session
    from secops.accounts.states import State
    from secops.database.layout import Layout


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that is in the way of a login, or that somebody should know.

    Attributes:
        code: For programs.
        text: A sentence for people.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the account's; everything in it may come from outside."""

    at: datetime | None
    type: str
    category: str
    severity: str
    success: bool
    ip: str | None
    agent: str | None
    message: str | None
    metadata: object


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an account.

    Attributes:
        asked: The name that somebody asked for.
        state: The account and its locks.
        allowed: Failed logins that lock it, as the app counts them.
        sessions: The live ones.
        events: The last ones, newest first.
        last_end: When the last session that was revoked ended, and the reason as it is stored.
    """

    asked: str
    state: State
    allowed: int
    sessions: Sequence[Session]
    events: Sequence[Event]
    last_end: tuple[datetime, str] | None


def reasons(facts: Facts, layout: Layout) -> list[Reason]:
    """Return what is in the way of a login now; nothing where the right password would do."""
    state, events = facts.state, facts.events
    found: list[Reason] = []
    lock, until = state.operator, state.locked_until
    if state.account.active is False:
        found.append(
            Reason("inactive", f"the account is switched off ({layout.users.active} is false)")
        )
    if lock is not None:
        ticket = f" for ticket {lock.ticket}" if lock.ticket else ""
        why = f": {lock.reason}" if lock.reason else ""
        found.append(
            Reason(
                "operator_lock",
                f"{lock.by} locked it on {for_people(lock.since)}{ticket}, "
                f"{_until(lock.until, state.now)}{why}",
            )
        )
    elif state.locked and until is not None and until.year == FOREVER.year:
        found.append(
            Reason(
                "lock_without_end",
                "it is locked without end, and not by secops: there is no record of who did it",
            )
        )
    elif state.locked:
        found.append(
            Reason(
                "automatic_lock",
                f"it was locked automatically after {state.failed:,} failed logins, "
                f"{_until(until, state.now)}{_from_where(events)}",
            )
        )
    return found


def _until(until: datetime | None, now: datetime) -> str:
    if until is None or until.year == FOREVER.year:
        return "until somebody unlocks it"
    return f"until {for_people(until)} (in {about(until - now)})"


def _from_where(events: Sequence[Event]) -> str:
    """Say where the failed logins came from that are still in sight."""
    places = list(
        dict.fromkeys(each.ip for each in events if each.type == "login_failed" and each.ip)
    )
    if not places:
        return ""
    if len(places) > 3:  # noqa: PLR2004  a sentence holds no more
        return f"; the last ones came from {len(places)} addresses"
    return f"; the last ones came from {', '.join(places)}"


_ENDED: Final[Mapping[str, str]] = {
    "logout": "they logged out",
    "logout_all": "they logged out everywhere",
    "admin": "an operator ended it",
    "password_change": "the password was changed",
    "reuse_detected": "a refresh token was used twice, which looks like theft",
    "account_disabled": "the account was switched off",
    "limit": "they had too many sessions",
}


def notes(facts: Facts) -> list[Reason]:
    """Return what else explains a login that failed, or should be known."""
    return [*_of_the_address(facts), *_of_the_counter(facts), *_of_the_sessions(facts)]


def _of_the_address(facts: Facts) -> Iterator[Reason]:
    asked, email = facts.asked.strip(), facts.state.account.email
    if email and email != asked and email.lower() == asked.lower():
        yield Reason(
            "address_case",
            f"The address is stored as {email}; an app that compares it exactly finds nobody for "
            f"{asked}.",
        )


def _of_the_counter(facts: Facts) -> Iterator[Reason]:
    state = facts.state
    if state.operator is not None and not state.locked:
        yield Reason(
            "lock_cleared",
            "Something cleared locked_until after the operator's lock: an app that looks at nothing "
            "else lets them in. `secops lock user` sets it again.",
        )
    if state.locked or state.operator is not None:
        return
    if state.failed >= facts.allowed:
        yield Reason(
            "attempts_exhausted",
            f"All {facts.allowed:,} attempts are used, though no lock is in force: the next wrong "
            "password may lock the account at once. `secops unlock user` gives them back.",
        )
    elif state.failed:
        left = facts.allowed - state.failed
        yield Reason(
            "attempts_used",
            f"{state.failed:,} of {facts.allowed:,} attempts are used; after {left:,} more wrong "
            f"{'password' if left == 1 else 'passwords'} the app locks the account.",
        )
    if state.locked_until is not None:
        yield Reason("lock_expired", f"A lock ended by itself at {for_people(state.locked_until)}.")


def _of_the_sessions(facts: Facts) -> Iterator[Reason]:
    state, live = facts.state, len(facts.sessions)
    theft = next(
        (each for each in facts.events if each.type == "refresh_token_theft_detected"), None
    )
    if theft is not None:
        yield Reason(
            "theft",
            f"A refresh token was used twice at {for_people(theft.at)}, which looks like theft; the "
            "app ends all sessions then, so they had to log in again.",
        )
    if not live and facts.last_end is not None:
        at, why = facts.last_end
        ended = _ENDED.get(why, why or "it was revoked")
        yield Reason("session_ended", f"The last session ended at {for_people(at)}: {ended}.")
    if live and (state.account.active is False or state.locked or state.operator is not None):
        yield Reason(
            "sessions_live",
            f"{live:,} of their sessions {'is' if live == 1 else 'are'} still live; "
            "`secops revoke sessions` ends them.",
        )
