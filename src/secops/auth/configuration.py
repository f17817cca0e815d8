"""What the environment makes of the backend: the plan's variables and a few more, as rules for the services."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, cast

from secops.accounts.login.access import Signer
from secops.accounts.login.limits import Limit
from secops.accounts.login.password_policy import Policy, Profile
from secops.accounts.login.rules import EventRules, LockoutRules, Previous, Scope, SessionRules
from secops.errors import ConfigurationError
from secops.variables.values import Values, read

if TYPE_CHECKING:
    from collections.abc import Mapping

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST: Final = "__Host-"


@dataclass(frozen=True, slots=True)
class CookieRules:
    """The cookie that holds the refresh token.

    Attributes:
        name: Its name.
        path: The requests that it goes with.
        secure: HTTPS only.
        http_only: Out of reach for scripts.
        same_site: Which sites' pages it goes along from.
        most: How long a browser keeps it, at most.
    """

    name: str
    path: str
    secure: bool
    http_only: bool
    same_site: Literal["strict", "lax", "none"]
    most: timedelta


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that the backend goes by. Made by :func:`configure`.

    Attributes:
        prefix: Stands before ``/auth`` in every path.
        sessions: How sessions live.
        lockout: When failed logins lock.
        events: Which events are written.
        policy: What a new password must be.
        signer: Signs access tokens.
        limit: Attempts of one client.
        cookie: The refresh cookie.
        pepper: Keys the identifiers of attempts.
        notices: Whether people get a mail when their account is locked.
        origins: Origins of other pages that may call with a cookie.
        proxies: Whose ``X-Forwarded-For`` is believed.
        expires_in: The access token's lifetime as the plan writes it, ``15m``.
        marker: The rollout that wrote these variables, which ``/healthz`` echoes.
        warnings: What is weak or does not fit together, in words.
    """

    prefix: str
    sessions: SessionRules
    lockout: LockoutRules
    events: EventRules
    policy: Policy
    signer: Signer
    limit: Limit
    cookie: CookieRules
    pepper: bytes
    notices: bool
    origins: frozenset[str]
    proxies: tuple[Network, ...]
    expires_in: str
    marker: str
    warnings: tuple[str, ...]


def configure(environ: Mapping[str, str]) -> Configuration:
    """Read the environment.

    Args:
        environ: The process's environment.

    Raises:
        ConfigurationError: A variable cannot be read, rules across them are broken, or JWT_SECRET is missing.
    """
    values = read(environ)
    secret = values.secret("JWT_SECRET")
    if secret is None:
        raise ConfigurationError(
            "JWT_SECRET is not set, and without it nobody's access token can be told from a forged one.",
            hint="Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
        )
    prefix = values.text("AUTH_PREFIX").rstrip("/")
    if prefix and not prefix.startswith("/"):
        raise ConfigurationError(
            "AUTH_PREFIX must begin with a slash.",
            hint="The plan's is /v1; an empty one is allowed.",
        )
    lifetime = values.span("JWT_EXPIRATION")
    pepper = values.secret("IDENTIFIER_PEPPER")
    return Configuration(
        prefix=prefix,
        sessions=SessionRules(
            lifetime=values.span("REFRESH_TOKEN_EXPIRATION"),
            family_lifetime=values.span("REFRESH_SESSION_EXPIRATION"),
            rotate=values.flag("ENABLE_TOKEN_ROTATION"),
            detect_theft=values.flag("ENABLE_THEFT_DETECTION"),
            scope=Scope(values.text("REFRESH_REUSE_ENDS")),
            previous=Previous(values.text("REFRESH_PREVIOUS_TOKEN")),
            grace=values.span("REFRESH_GRACE"),
            most=cast("int | None", values.values["MAX_SESSIONS"]),
            same_device=values.flag("ENABLE_DEVICE_FINGERPRINT_CHECK"),
            watch_addresses=values.flag("ENABLE_IP_ANOMALY_DETECTION"),
            locked_too=values.flag("LOCKOUT_ENDS_SESSIONS"),
        ),
        lockout=LockoutRules(
            attempts=values.count("MAX_LOGIN_ATTEMPTS"),
            duration=values.span("LOCKOUT_DURATION_MINUTES"),
            window=values.span("LOGIN_ATTEMPT_WINDOW_MINUTES"),
        ),
        events=EventRules(
            enabled=values.flag("ENABLE_SECURITY_EVENT_LOGGING"),
            failed_logins=values.flag("LOG_FAILED_LOGIN_ATTEMPTS"),
            logins=values.flag("LOG_SUCCESSFUL_LOGINS"),
            refreshes=values.flag("LOG_TOKEN_REFRESH"),
            lockouts=values.flag("LOG_ACCOUNT_LOCKOUTS"),
        ),
        policy=Policy(
            profile=Profile(values.text("PASSWORD_POLICY")),
            least=values.count("MIN_PASSWORD_LENGTH"),
            upper=values.flag("REQUIRE_UPPERCASE"),
            lower=values.flag("REQUIRE_LOWERCASE"),
            number=values.flag("REQUIRE_NUMBER"),
            special=values.flag("REQUIRE_SPECIAL_CHAR"),
        ),
        signer=Signer(
            secret,
            previous=values.secret("JWT_PREVIOUS_SECRET"),
            lifetime=lifetime,
            issuer=values.text("JWT_ISSUER"),
            audience=values.text("JWT_AUDIENCE"),
        ),
        limit=Limit(
            "login",
            values.count("RATE_LIMIT_LOGIN_ATTEMPTS"),
            values.span("RATE_LIMIT_LOGIN_WINDOW_MS"),
        ),
        cookie=_cookie(values, prefix),
        pepper=pepper.reveal().encode()
        if pepper is not None
        else hmac.digest(secret.reveal().encode(), b"secops identifier pepper", hashlib.sha256),
        notices=values.flag("ENABLE_EMAIL_LOGIN_NOTIFICATIONS"),
        origins=frozenset(each.rstrip("/").lower() for each in _listed(values, "ALLOWED_ORIGINS")),
        proxies=tuple(_network(each) for each in _listed(values, "TRUSTED_PROXIES")),
        expires_in=_plans(lifetime),
        marker=environ.get("SECOPS_ROLLOUT_ID", ""),
        warnings=(*values.warnings, *_weak(values)),
    )


def _cookie(values: Values, prefix: str) -> CookieRules:
    name = values.text("COOKIE_NAME")
    secure = values.flag("COOKIE_SECURE")
    if name.startswith(_HOST) and not secure:
        raise ConfigurationError(
            f"COOKIE_NAME begins with {_HOST}, and browsers drop such a cookie that is not Secure.",
            hint="Set COOKIE_SECURE=true.",
        )
    return CookieRules(
        name=name,
        # What begins with __Host- belongs to the whole host (RFC 6265bis, 4.1.3.2).
        path="/" if name.startswith(_HOST) else f"{prefix}/auth",
        secure=secure,
        http_only=values.flag("COOKIE_HTTPONLY"),
        same_site=cast("Literal['strict', 'lax', 'none']", values.text("COOKIE_SAMESITE")),
        most=values.span("COOKIE_MAX_AGE"),
    )


def _listed(values: Values, name: str) -> list[str]:
    return [each.strip() for each in values.text(name).split(",") if each.strip()]


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationError(
            f"TRUSTED_PROXIES: {text!r} is no address and no network.", hint="Such as 10.0.0.0/8."
        ) from None


def _plans(span: timedelta) -> str:
    """Write a lifetime as the plan's answers do: in the greatest unit that goes into it."""
    seconds = round(span.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _weak(values: Values) -> list[str]:
    """Say what is switched off that the plan wants on; its own module defaults to off."""
    off = [
        name
        for name in (
            "ENABLE_TOKEN_ROTATION",
            "ENABLE_THEFT_DETECTION",
            "ENABLE_SECURITY_EVENT_LOGGING",
            "COOKIE_SECURE",
            "COOKIE_HTTPONLY",
        )
        if not values.flag(name)
    ]
    return [f"{name} is off, which is its default; the profile owasp-2024 sets it" for name in off]
