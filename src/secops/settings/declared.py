"""Every setting there is, declared once.

``secops doctor --settings``, the documentation and the check of ``secops.yaml`` all read this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from secops.durations import parse_duration
from secops.settings.values import Declared


def _count(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        # Longer digits than any allowed number has would be refused by int() in its own words.
        digits = text.strip()
        if not re.fullmatch(r"[0-9]{1,18}", digits) or not least <= int(digits) <= most:
            raise ValueError(f"must be a whole number from {least:,} to {most:,}")
        return int(digits)

    return read


def _yes_or_no(text: str) -> bool:
    known = {"true": True, "yes": True, "on": True, "1": True}
    known |= {"false": False, "no": False, "off": False, "0": False}
    try:
        return known[text.strip().lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _name(text: str) -> str:
    if not text or "\x00" in text or len(text.encode()) > 63:  # noqa: PLR2004  PostgreSQL's limit
        raise ValueError("must be a name of 1 to 63 bytes")
    return text


def _path(kind: str) -> Callable[[str], Path]:
    def read(text: str) -> Path:
        if not text or "\x00" in text:
            raise ValueError(f"must name a {kind}")
        try:
            return Path(text).expanduser()
        except RuntimeError:
            raise ValueError("names a home folder that is not there") from None

    return read


_folder: Final = _path("folder")


def _retention(text: str) -> timedelta:
    span = parse_duration(text)
    if span < timedelta(days=1):
        raise ValueError("must be a day at least")
    return span


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.strip().lower() not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return text.strip().lower()

    return read


DECLARED: Final[tuple[Declared, ...]] = (
    Declared(
        "database_url",
        ("SECOPS_DATABASE_URL", "DATABASE_URL"),
        str,
        None,
        "The database to work on. PG* variables, ~/.pgpass and service files are honoured beside it.",
        secret=True,
    ),
    Declared(
        "report_database_url",
        ("SECOPS_REPORT_DATABASE_URL",),
        str,
        None,
        "A replica, or the reader's login, for reports; they use database_url where this is unset.",
        secret=True,
    ),
    Declared(
        "direct_url",
        ("SECOPS_DIRECT_URL",),
        str,
        None,
        "The server itself, where database_url goes through a transaction pooler; migrations need it.",
        secret=True,
    ),
    Declared(
        "schema",
        ("SECOPS_SCHEMA",),
        _name,
        None,
        "PostgreSQL schema of refresh_tokens and security_events; that of the users table where unset.",
    ),
    Declared(
        "users.schema", (), _name, None, "PostgreSQL schema of the app's users table; detected."
    ),
    Declared(
        "users.table", ("SECOPS_USERS_TABLE",), _name, None, "The app's users table; detected."
    ),
    Declared("users.id", (), _name, None, "Its key column; detected."),
    Declared(
        "users.email",
        (),
        _name,
        None,
        "Its column with the e-mail address or login name; detected.",
    ),
    Declared("users.name", (), _name, None, "Its column with a person's name, if any; detected."),
    Declared(
        "users.active",
        (),
        _name,
        None,
        "Its boolean column that says who may log in, if any; detected.",
    ),
    Declared(
        "users.password",
        (),
        _name,
        None,
        "Its column with the password hash, which secops never reads; detected.",
    ),
    Declared(
        "queries",
        ("SECOPS_QUERIES",),
        _folder,
        None,
        "A folder with reports of your own (.sql files).",
    ),
    Declared(
        "state_dir",
        ("SECOPS_STATE_DIR",),
        _folder,
        None,
        "Where this machine keeps its copy of the rollout journal, enough to roll back while the database is "
        "down; ~/.local/state/secops where unset.",
    ),
    Declared(
        "profiles",
        ("SECOPS_PROFILES",),
        _folder,
        None,
        "A folder with profiles, rollouts and variables of your own (.yaml files); "
        "`profiles` beside secops.yaml where unset.",
    ),
    Declared(
        "operator",
        ("SECOPS_OPERATOR",),
        str,
        None,
        "Who acts, as the audit trail names them; the system user where unset.",
    ),
    Declared(
        "require_reason",
        ("SECOPS_REQUIRE_REASON",),
        _yes_or_no,
        True,
        "Whether account commands refuse to act without --reason.",
    ),
    Declared(
        "production",
        ("SECOPS_PRODUCTION",),
        _yes_or_no,
        False,
        "Whether every change asks first, single ones too.",
    ),
    Declared(
        "max_login_attempts",
        ("MAX_LOGIN_ATTEMPTS",),
        _count(1, 10_000),
        5,
        "Failed logins that lock an account, as the app counts them.",
    ),
    Declared(
        "lockout_duration",
        ("SECOPS_LOCKOUT_DURATION",),
        parse_duration,
        timedelta(minutes=30),
        "How long an automatic lock lasts in the app.",
    ),
    Declared(
        "connect_timeout",
        ("SECOPS_CONNECT_TIMEOUT",),
        parse_duration,
        timedelta(seconds=5),
        "How long to wait for a connection.",
    ),
    Declared(
        "lock_timeout",
        ("SECOPS_LOCK_TIMEOUT",),
        parse_duration,
        timedelta(milliseconds=100),
        "The longest that the app ever waits for a lock of ours.",
    ),
    Declared(
        "lock_budget",
        ("SECOPS_LOCK_BUDGET",),
        parse_duration,
        timedelta(minutes=10),
        "How long migrations keep retrying for a lock, in all.",
    ),
    Declared(
        "report_timeout",
        ("SECOPS_REPORT_TIMEOUT",),
        parse_duration,
        timedelta(seconds=30),
        "The longest that one report may run.",
    ),
    Declared(
        "ping_url",
        ("SECOPS_PING_URL",),
        str,
        None,
        "Where `secops cron cleanup` tells a monitor that it began, ended or failed.",
        secret=True,
    ),
    Declared(
        "mail.smtp_url",
        ("SECOPS_SMTP_URL",),
        str,
        None,
        "The mail server of `secops cron mail`: smtp://USER:PASSWORD@HOST:587 (STARTTLS) or smtps://HOST:465.",
        secret=True,
    ),
    Declared(
        "mail.from",
        ("SECOPS_MAIL_FROM",),
        str,
        None,
        "Whom mails to your people come from: Example <no-reply@example.com>.",
    ),
    Declared(
        "mail.templates",
        ("SECOPS_MAIL_TEMPLATES",),
        _folder,
        None,
        "A folder with mails in your own words (account_locked.txt); the shipped ones where unset.",
    ),
    Declared(
        "retention.preset",
        ("SECOPS_RETENTION_PRESET",),
        _one_of("soc2", "hipaa", "pci", "gdpr"),
        None,
        "How long events stay where the next three say nothing: soc2, hipaa, pci or gdpr. Not legal advice.",
    ),
    Declared(
        "retention.information",
        ("SECOPS_RETENTION_INFORMATION",),
        _retention,
        None,
        "How long routine events stay (logins, refreshes); for ever where unset.",
    ),
    Declared(
        "retention.security",
        ("SECOPS_RETENTION_SECURITY",),
        _retention,
        None,
        "How long warnings, lockouts, theft and changes of access stay; for ever where unset.",
    ),
    Declared(
        "retention.operator",
        ("SECOPS_RETENTION_OPERATOR",),
        _retention,
        None,
        "How long the audit of operators' acts stays, no shorter than the others; for ever where unset.",
    ),
    Declared(
        "retention.holds_file",
        ("SECOPS_RETENTION_HOLDS_FILE",),
        _path("file"),
        None,
        "A file with e-mail addresses or user ids, one a line, whose events are never deleted.",
    ),
    Declared(
        "archive.dir",
        ("SECOPS_ARCHIVE_DIR",),
        _folder,
        None,
        "A folder that events past their retention go to as Parquet before they are deleted.",
    ),
    Declared(
        "throttle.max_lag",
        ("SECOPS_THROTTLE_MAX_LAG",),
        parse_duration,
        None,
        "Pruning waits while a replica is further behind than that; read again while it runs.",
    ),
    Declared(
        "throttle.pause_file",
        ("SECOPS_THROTTLE_PAUSE_FILE",),
        _path("file"),
        None,
        "Pruning waits while that file is there; read again while it runs.",
    ),
    Declared(
        "throttle.pause_query",
        ("SECOPS_THROTTLE_PAUSE_QUERY",),
        str,
        None,
        "Pruning waits while that query gives true or more than 0; read again while it runs.",
    ),
)

STRUCTURED: Final = {
    "targets": "The places where your services' environment variables live, by name; docs/targets.md."
}
"""What ``secops.yaml`` holds beside settings: mappings that are checked by who reads them."""

BY_KEY: Final = {setting.key: setting for setting in DECLARED}
