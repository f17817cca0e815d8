"""Access tokens: signed, short-lived, and dead at once where the account or the session is.

A token names its session (``sid``) and the account's epoch (``ver``). The epoch is a number and no time: a
token of the same second as a logout would otherwise die or survive by chance, for ``iat`` counts whole
seconds.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID, uuid4

import jwt
from psycopg import sql

from secops.accounts.criteria import FAMILY, LIVE
from secops.accounts.users import key_from_text
from secops.errors import ConfigurationError

if TYPE_CHECKING:
    from secops.accounts.login.sessions import Grant
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.settings import Secret

_ALGORITHM: Final = "HS256"
_TYPE: Final = "at+jwt"
_KEY_BYTES: Final = 32  # as long as the hash (RFC 7518, 3.2)
_LEEWAY: Final = 5
_REQUIRED: Final = ("exp", "iat", "sub", "aud", "iss", "sid", "jti", "ver")
_LONGEST: Final = 4_096


class Refusal(enum.Enum):
    """Why an access token opens nothing."""

    EXPIRED = "expired"
    INVALID = "invalid"
    ENDED = "ended"
    """Its session, or all of the account's, were ended."""
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    Attributes:
        subject: The user's key as a text.
        session: The session's number.
        epoch: The account's epoch when it was signed.
    """

    subject: str
    session: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a good token belongs to.

    Attributes:
        id: The key.
        email: The address.
        name: Display name, where the table has one.
        session: The session's number.
    """

    id: object
    email: str | None
    name: str | None
    session: UUID


class Signer:
    """Signs access tokens with one key, and takes those of two while a key is replaced.

    Args:
        key: Signs and verifies; 32 bytes at least.
        previous: Verifies only, until the last token that it signed has expired.
        lifetime: How long a token is good for.
        issuer: ``iss``.
        audience: ``aud``.

    Raises:
        ConfigurationError: A key is too short.
    """

    def __init__(
        self,
        key: Secret,
        *,
        previous: Secret | None = None,
        lifetime: timedelta = timedelta(minutes=15),
        issuer: str = "secops",
        audience: str = "app",
    ) -> None:
        self._keys = [each.reveal().encode() for each in (key, previous) if each is not None]
        for each in self._keys:
            if len(each) < _KEY_BYTES:
                raise ConfigurationError(
                    f"The key that signs access tokens is shorter than {_KEY_BYTES} bytes.",
                    hint="Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
                )
        self.lifetime = lifetime
        self._issuer, self._audience = issuer, audience

    def __repr__(self) -> str:
        return f"Signer(lifetime={self.lifetime!r}, issuer={self._issuer!r})"

    def sign(self, grant: Grant) -> str:
        """Return an access token of a session."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(grant.user_id),
            "sid": str(grant.session),
            "ver": grant.epoch,
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + round(self.lifetime.total_seconds()),
        }
        return jwt.encode(claims, self._keys[0], algorithm=_ALGORITHM, headers={"typ": _TYPE})

    def read(self, token: str) -> Claims | Refusal:
        """Verify signature, times and claims; asks no database.

        The algorithm is fixed and the header's ``kid``, ``jku``, ``jwk`` and ``x5u`` are not looked at: what an
        attacker writes there must choose nothing (RFC 8725, 3.1 and 3.10).
        """
        if not 0 < len(token) <= _LONGEST or not token.isascii():
            return Refusal.INVALID
        found: Claims | Refusal = Refusal.INVALID
        for key in self._keys:
            found = self._with(key, token)
            if found is not Refusal.INVALID:
                return found
        return found

    def _with(self, key: bytes, token: str) -> Claims | Refusal:
        try:
            whole = jwt.decode_complete(
                token,
                key,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY,
                options={"require": list(_REQUIRED), "enforce_minimum_key_length": True},
            )
        except jwt.ExpiredSignatureError:
            return Refusal.EXPIRED
        except (jwt.PyJWTError, ValueError, UnicodeError, RecursionError):
            return Refusal.INVALID
        if whole["header"].get("typ") != _TYPE:
            return Refusal.INVALID
        claims = cast("dict[str, Any]", whole["payload"])
        try:
            return Claims(str(claims["sub"]), UUID(str(claims["sid"])), int(claims["ver"]))
        except (ValueError, TypeError):
            return Refusal.INVALID


@dataclass(frozen=True, slots=True)
class Gatekeeper:
    """Decides whom a token lets in.

    Attributes:
        layout: The tables.
        signer: Reads tokens.
        locked_too: Whether an automatic lock closes live sessions, as the plan's middleware has it. An
            operator's lock always does.
    """

    layout: Layout
    signer: Signer
    locked_too: bool = False

    def admit(self, conn: Connection, token: str) -> Bearer | Refusal:
        """Return whom a token belongs to, or why it opens nothing."""
        claims = self.signer.read(token)
        if isinstance(claims, Refusal):
            return claims
        key = key_from_text(claims.subject, self.layout.users.id_type)
        if key is None:
            return Refusal.INVALID
        users = self.layout.users
        row = conn.execute(
            sql.SQL(
                """SELECT u.{id}, u.{email}, {name}, {active}, coalesce(a.token_epoch, 0),
                          coalesce(u.locked_until > clock_timestamp(), false),
                          a.locked_at IS NOT NULL
                              AND coalesce(a.lock_expires_at > clock_timestamp(), true),
                          EXISTS (SELECT FROM {tokens} t WHERE {family} = %(session)s
                                  AND t.user_id = u.{id} AND {live})
                   FROM {users} u LEFT JOIN {accounts} a ON a.user_id = u.{id}
                   WHERE u.{id} = %(user)s::{key}"""
            ).format(
                id=sql.Identifier(users.id),
                email=sql.Identifier(users.email),
                name=sql.SQL("u.{}::text").format(sql.Identifier(users.display_name))
                if users.display_name
                else sql.SQL("NULL::text"),
                active=sql.SQL("u.{} IS NOT FALSE").format(sql.Identifier(users.active))
                if users.active
                else sql.SQL("true"),
                tokens=self.layout.tokens,
                family=FAMILY,
                live=LIVE,
                users=users.table,
                accounts=self.layout.accounts,
                key=users.key,
            ),
            {"user": key, "session": claims.session},
        ).fetchone()
        if row is None:
            return Refusal.ENDED
        number, email, name, active, epoch, locked, operator, alive = row
        if not active or epoch != claims.epoch or not alive:
            return Refusal.ENDED
        if operator or (locked and self.locked_too):
            return Refusal.LOCKED
        return Bearer(number, cast("str | None", email), cast("str | None", name), claims.session)
