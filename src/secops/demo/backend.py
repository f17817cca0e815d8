"""The demo app's login backend: it turns attempts into the events and tokens that the plan's would.

Five wrong passwords in a row lock an account for half an hour; refresh tokens rotate, live for a week and
belong to a family; a used one that comes back revokes its family. Nothing is stored here but state: events
leave as lines for ``COPY``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from secops.demo.people import DAY, uuid

if TYPE_CHECKING:
    from random import Random

    from secops.demo.people import Person

MAX_ATTEMPTS: Final = 5
LOCKED_FOR: Final = 1_800.0
ACCESS_LIFE: Final = 900.0
REFRESH_LIFE: Final = 7 * DAY
FAMILY_LIFE: Final = 30 * DAY

EVENT_COLUMNS: Final = (
    "event_type", "event_category", "severity", "user_id", "email", "user_agent", "request_path",
    "request_method", "success", "message", "metadata", "ip_address", "created_at", "id",
)  # fmt: skip
TOKEN_COLUMNS: Final = (
    "id", "user_id", "token_hash", "device_info", "ip_address", "expires_at", "created_at", "revoked",
    "used", "used_at", "family_id", "parent_id", "family_expires_at", "revoked_at", "revoked_reason",
)  # fmt: skip
OLD_TOKEN_COLUMNS: Final = (
    "user_id", "token_hash", "device_info", "ip_address", "expires_at", "created_at", "revoked",
)  # fmt: skip
"""The plan's own columns: an app that was written before the others came fills no more."""

NULL: Final = "\\N"


def field(text: str) -> str:
    r"""Return a value as ``COPY``'s text format takes it; what breaks lines or fields is escaped."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def stamp(moment: float) -> str:
    """Return seconds since 1970 as PostgreSQL reads a time."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


def ordered_uuid(rng: Random, moment: float) -> str:
    """Return a UUID that begins with its time (version 7): half the work for an index, and always the same."""
    return f"{int(moment * 1000):012x}7{rng.getrandbits(12):03x}a{rng.getrandbits(60):015x}"


class Session:
    """A family of refresh tokens: one login on one device, and its rotations."""

    __slots__ = ("account", "agent", "ended", "family", "head", "reason", "tokens")

    def __init__(self, account: Account, family: str, agent: str, label: str) -> None:
        self.account = account
        self.family = family
        self.agent = agent
        self.tokens: list[tuple[float, str]] = []  # when and where each was issued
        self.ended = 0.0
        self.reason = ""
        self.head = _head("token_refresh", account, agent, _labelled(label, token_family=family))

    @property
    def started(self) -> float:
        """When it began."""
        return self.tokens[0][0]

    @property
    def latest(self) -> float:
        """When its newest token was issued."""
        return self.tokens[-1][0]

    def expires(self) -> float:
        """Say when its newest token expires."""
        return min(self.latest + REFRESH_LIFE, self.started + FAMILY_LIFE)

    def alive(self, moment: float) -> bool:
        """Say whether its newest token is good at a moment."""
        return not self.ended and moment < self.expires()


class Account:
    """What the app knows of a person: failures, lock, open sessions."""

    __slots__ = ("failures", "locked_until", "open", "person")

    def __init__(self, person: Person) -> None:
        self.person = person
        self.failures = 0
        self.locked_until = 0.0
        self.open: list[Session] = []


# What each kind of event always holds: category, severity, path, success, message.
_KINDS: Final = {
    "login_success": ("authentication", "info", "/auth/login", True, "Logged in."),
    "login_failed": ("authentication", "warning", "/auth/login", False, ""),
    "token_refresh": ("session", "info", "/auth/refresh", True, "Token refreshed."),
    "logout": ("session", "info", "/auth/logout", True, "Logged out."),
    "refresh_token_theft_detected": (
        "threat", "critical", "/auth/refresh", False,
        "A used refresh token came back; its family was revoked.",
    ),
    "password_changed": (
        "account", "warning", "/account/password", True,
        "Password changed; other sessions were ended.",
    ),
    "account_locked": (
        "account", "warning", "/auth/login", False,
        f"Locked for 30 minutes after {MAX_ATTEMPTS} failed logins.",
    ),
    "account_unlocked": (
        "operator", "warning", NULL, True, "Unlocked by the help desk: the caller proved who they are.",
    ),
}  # fmt: skip

_REFUSALS: Final = {
    "unknown_user": "No such account.",
    "disabled": "The account is disabled.",
    "locked": "The account is locked.",
    "bad_password": "Wrong password.",
}


def _head(
    kind: str,
    account: Account | None,
    agent: str,
    details: Mapping[str, object],
    *,
    email: str = "",
    message: str = "",
) -> str:
    """Return an event's line but for where and when."""
    category, severity, path, success, usual = _KINDS[kind]
    return "\t".join(
        (
            kind,
            category,
            severity,
            account.person.id if account else NULL,
            field(account.person.email if account else email),
            field(agent),
            path,
            NULL if path == NULL else "POST",
            "t" if success else "f",
            message or usual,
            field(json.dumps(details)) if details else NULL,
            "",
        )
    )


def _labelled(label: str, **details: object) -> dict[str, object]:
    """Return an event's metadata, with the attack that it belongs to, if any."""
    return {**details, "demo_attack": label} if label else details


class Backend:
    """The app's login endpoints over simulated time; calls come in the order of time.

    Attributes:
        lines: Events so far, as lines of :data:`EVENT_COLUMNS`; who takes them clears the list.
        sessions: Every session that ever was.
    """

    def __init__(self, rng: Random, until: float) -> None:
        self._rng = rng
        self._until = until
        self.lines: list[str] = []
        self.sessions: list[Session] = []

    def login(
        self,
        moment: float,
        account: Account | None,
        ip: str,
        agent: str,
        *,
        right: bool,
        email: str = "",
        label: str = "",
    ) -> Session | None:
        """Somebody sends an e-mail address and a password.

        Args:
            moment: When.
            account: Whose address it is, or ``None``: nobody's.
            ip: Where from.
            agent: With what.
            right: Whether the password is.
            email: The address where ``account`` is ``None``.
            label: The attack that this belongs to, or ``""``.

        Returns:
            The session that it opened, or ``None``.
        """
        reason = self._refusal(moment, account, right=right)
        if account is None or reason:
            head = _head(
                "login_failed",
                account,
                agent,
                _labelled(label, reason=reason),
                email=email,
                message=_REFUSALS[reason],
            )
            self._write(moment, ip, head)
            if account is not None and reason == "bad_password":
                self._count_failure(moment, account, ip, agent, label)
            return None
        account.failures, account.locked_until = 0, 0.0
        session = self.open(moment, account, ip, agent, label)
        details = _labelled(label, token_family=session.family)
        self._write(moment, ip, _head("login_success", account, agent, details))
        return session

    def open(
        self, moment: float, account: Account, ip: str, agent: str, label: str = ""
    ) -> Session:
        """Begin a session without an event: it is older than the events."""
        session = Session(account, uuid(self._rng), agent, label)
        session.tokens.append((moment, ip))
        self.sessions.append(session)
        account.open.append(session)
        return session

    def refresh(self, moment: float, session: Session, ip: str) -> None:
        """A client sends its newest refresh token and gets the next one."""
        session.tokens.append((moment, ip))
        self._write(moment, ip, session.head)

    def refresh_elsewhere(
        self, moment: float, session: Session, ip: str, agent: str, label: str
    ) -> None:
        """Somebody else's client sends the session's newest refresh token, and is believed."""
        session.tokens.append((moment, ip))
        details = _labelled(label, token_family=session.family)
        self._write(moment, ip, _head("token_refresh", session.account, agent, details))

    def replay(self, moment: float, session: Session, ip: str, agent: str, label: str) -> None:
        """A client sends a token that was used before: one of the two who hold it stole it."""
        issued, issued_to = session.tokens[-1]
        details = _labelled(
            label,
            token_family=session.family,
            used_by=issued_to,
            used_seconds_before=round(moment - issued),
            generations=len(session.tokens),
        )
        head = _head("refresh_token_theft_detected", session.account, agent, details)
        self._write(moment, ip, head)
        self._end(moment, session, "reuse_detected")

    def logout(self, moment: float, session: Session, ip: str) -> None:
        """Somebody logs out."""
        details = {"token_family": session.family}
        self._write(moment, ip, _head("logout", session.account, session.agent, details))
        self._end(moment, session, "logout")

    def change_password(self, moment: float, session: Session, ip: str, label: str = "") -> None:
        """Somebody sets a new password; every other session of theirs ends."""
        head = _head("password_changed", session.account, session.agent, _labelled(label))
        self._write(moment, ip, head)
        for other in list(session.account.open):
            if other is not session and other.alive(moment):
                self._end(moment, other, "password_change")

    def unlock(self, moment: float, account: Account) -> None:
        """The help desk unlocks an account, as ``secops unlock user`` records it."""
        details = {"actor": "helpdesk", "reason": "caller identified"}
        self._write(moment, NULL, _head("account_unlocked", account, "secops", details))
        account.failures, account.locked_until = 0, 0.0

    def _write(self, moment: float, ip: str, head: str) -> None:
        key = ordered_uuid(self._rng, moment)
        self.lines.append(f"{head}{ip}\t{stamp(moment)}\t{key}\n")

    def _refusal(self, moment: float, account: Account | None, *, right: bool) -> str:
        if account is None:
            return "unknown_user"
        if not account.person.active:
            return "disabled"
        if moment < account.locked_until:
            return "locked"
        return "" if right else "bad_password"

    def _count_failure(
        self, moment: float, account: Account, ip: str, agent: str, label: str
    ) -> None:
        if account.locked_until:  # and over: the count begins anew
            account.failures, account.locked_until = 0, 0.0
        account.failures += 1
        if account.failures < MAX_ATTEMPTS:
            return
        account.locked_until = moment + LOCKED_FOR
        details = _labelled(label, attempts=account.failures)
        self._write(moment, ip, _head("account_locked", account, agent, details))

    def _end(self, moment: float, session: Session, reason: str) -> None:
        session.ended, session.reason = moment, reason
        session.account.open.remove(session)

    def token_lines(self) -> Iterator[str]:
        """Yield the refresh tokens that are left, as lines of :data:`TOKEN_COLUMNS`.

        Of a live family, and of one that ended otherwise than by logout or age, every token is there,
        for the used ones are what theft is detected by; of the others the app kept the last.
        """
        for session in self.sessions:
            kept = session.alive(self._until) or session.reason not in ("", "logout")
            yield from self._family(session, len(session.tokens) if kept else 1)

    def _family(self, session: Session, last: int) -> Iterator[str]:
        rng = self._rng
        family_ends = session.started + FAMILY_LIFE
        whole = session.reason not in ("", "logout")
        parent = NULL if last == len(session.tokens) else uuid(rng)
        first = len(session.tokens) - last
        for place in range(first, len(session.tokens)):
            issued, ip = session.tokens[place]
            leaf = place == len(session.tokens) - 1
            revoked = bool(session.ended) and (leaf or whole)
            key = ordered_uuid(rng, issued)
            yield "\t".join(
                (
                    key,
                    session.account.person.id,
                    sha256(rng.randbytes(16)).hexdigest(),
                    field(session.agent),
                    ip,
                    stamp(min(issued + REFRESH_LIFE, family_ends)),
                    stamp(issued),
                    "t" if revoked else "f",
                    "f" if leaf else "t",
                    NULL if leaf else stamp(session.tokens[place + 1][0]),
                    session.family,
                    parent,
                    stamp(family_ends),
                    stamp(session.ended) if revoked else NULL,
                    f"{session.reason}\n" if revoked else f"{NULL}\n",
                )
            )
            parent = key


def old_token_lines(rng: Random, people: list[Person], until: float, count: int) -> Iterator[str]:
    """Yield refresh tokens that expired more than a week ago, as lines of :data:`OLD_TOKEN_COLUMNS`.

    Args:
        rng: Chance.
        people: Whose.
        until: Now.
        count: How many.
    """
    owners = rng.choices(people, [person.activity for person in people], k=count)
    for person in owners:
        issued = until - (15 + 29 * rng.random()) * DAY
        yield "\t".join(
            (
                person.id,
                sha256(rng.randbytes(16)).hexdigest(),
                field(person.devices[0].agent),
                person.home,
                stamp(issued + REFRESH_LIFE),
                stamp(issued),
                "t\n" if rng.random() < 0.8 else "f\n",
            )
        )
