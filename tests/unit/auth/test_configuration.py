"""What the environment makes of the backend."""

from __future__ import annotations

from datetime import timedelta

import pytest

from secops.auth.configuration import configure
from secops.errors import ConfigurationError

KEY = {"JWT_SECRET": "k" * 40}


@pytest.mark.parametrize(
    ("given", "shown"), [("15m", "15m"), ("3600s", "1h"), ("90s", "90s"), ("1d", "1d")]
)
def test_a_lifetime_is_written_as_the_plan_writes_it(given: str, shown: str) -> None:
    assert configure({**KEY, "JWT_EXPIRATION": given}).expires_in == shown


def test_what_is_absent_is_as_the_plans_own_module_has_it_and_said_to_be_weak() -> None:
    found = configure(KEY)
    assert found.sessions.lifetime == timedelta(days=7)
    assert found.lockout.attempts == 5
    assert not found.sessions.rotate
    assert any("ENABLE_TOKEN_ROTATION" in each for each in found.warnings)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "JWT_SECRET"),
        ({**KEY, "AUTH_PREFIX": "v1"}, "AUTH_PREFIX"),
        ({**KEY, "COOKIE_NAME": "__Host-x"}, "COOKIE_NAME"),
        ({**KEY, "TRUSTED_PROXIES": "the proxy"}, "TRUSTED_PROXIES"),
        ({**KEY, "COOKIE_SAMESITE": "none"}, "COOKIE_SAMESITE"),
    ],
)
def test_what_cannot_work_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        configure(environ)
