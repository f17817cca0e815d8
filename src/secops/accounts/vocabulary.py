"""The types of event that the login layer has: the plan's names, and what each one means.

Each has its counterpart in the OWASP Logging Vocabulary, which SIEM rules are written against; it stands in
the ``metadata`` of the events that the backend writes, as ``owasp``.
https://cheatsheetseries.owasp.org/cheatsheets/Logging_Vocabulary_Cheat_Sheet.html
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type of event means.

    Attributes:
        category: ``event_category``.
        severity: ``severity``.
        success: ``success``.
        owasp: Its name in the OWASP Logging Vocabulary.
    """

    category: str
    severity: str
    success: bool
    owasp: str


class Happening(enum.Enum):
    """A type of event; its value is ``event_type``."""

    LOGIN_SUCCESS = "login_success"
    LOGIN_FAILED = "login_failed"
    ATTEMPT_WHILE_LOCKED = "lockout_attempt_while_locked"
    ACCOUNT_LOCKED = "account_locked"
    ACCOUNT_UNLOCKED = "account_unlocked"
    REGISTERED = "user_registered"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  a name, no secret; so below
    PASSWORD_REJECTED = "password_rejected"  # noqa: S105
    TOKEN_REFRESH = "token_refresh"  # noqa: S105
    TOKEN_REFRESH_REPLAYED = "token_refresh_replayed"  # noqa: S105
    TOKEN_REFRESH_FAILED = "token_refresh_failed"  # noqa: S105
    ADDRESS_CHANGED = "session_address_changed"
    LOGOUT = "logout"
    LOGOUT_ALL = "logout_all"
    SESSION_REVOKED = "session_revoked"
    THEFT_DETECTED = "refresh_token_theft_detected"
    RATE_LIMITED = "rate_limit_exceeded"
    SUSPICIOUS = "suspicious_activity"
    INVALID_TOKEN = "invalid_token"  # noqa: S105
    API_KEY_USED = "api_key_used"


KINDS: Final = {
    Happening.LOGIN_SUCCESS: Kind("authentication", "info", True, "authn_login_success"),
    Happening.LOGIN_FAILED: Kind("authentication", "warning", False, "authn_login_fail"),
    Happening.ATTEMPT_WHILE_LOCKED: Kind("authentication", "warning", False, "authn_login_fail"),
    Happening.ACCOUNT_LOCKED: Kind("account", "warning", False, "authn_login_lock"),
    Happening.ACCOUNT_UNLOCKED: Kind("account", "warning", True, "user_updated"),
    Happening.REGISTERED: Kind("account", "info", True, "user_created"),
    Happening.PASSWORD_CHANGED: Kind("account", "warning", True, "authn_password_change"),
    Happening.PASSWORD_REJECTED: Kind("account", "warning", False, "authn_password_change_fail"),
    Happening.TOKEN_REFRESH: Kind("session", "info", True, "session_renewed"),
    Happening.TOKEN_REFRESH_REPLAYED: Kind("session", "info", True, "session_renewed"),
    Happening.TOKEN_REFRESH_FAILED: Kind("session", "warning", False, "session_use_after_expire"),
    Happening.ADDRESS_CHANGED: Kind("session", "warning", True, "session_renewed"),
    Happening.LOGOUT: Kind("session", "info", True, "session_logout"),
    Happening.LOGOUT_ALL: Kind("session", "info", True, "session_logout"),
    Happening.SESSION_REVOKED: Kind("session", "warning", True, "authn_token_revoked"),
    Happening.THEFT_DETECTED: Kind("threat", "critical", False, "authn_token_reuse"),
    Happening.RATE_LIMITED: Kind("threat", "warning", False, "excess_rate_limit_exceeded"),
    Happening.SUSPICIOUS: Kind("threat", "warning", False, "malicious_direct_reference"),
    Happening.INVALID_TOKEN: Kind("threat", "warning", False, "authn_token_invalid"),
    Happening.API_KEY_USED: Kind("authentication", "info", True, "authn_login_success"),
}
