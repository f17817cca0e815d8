"""The Python client against the real backend: one refresh, however many threads find the token expired."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import jwt
import pytest
import uvicorn

from secops.accounts.login.hashing import Hasher
from secops.auth.app import create_app
from secops.auth.client import RefreshingAuth
from secops.auth.configuration import configure
from secops.auth.services import assemble, open_pool
from secops.errors import Refused
from secops.schema.detect import detect
from secops.settings import Secret
from support.databases import Database
from support.logins import at_once
from support.servers import free_port

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

PASSWORD = "SecurePass123!"
ENV = {
    "JWT_SECRET": "k" * 40, "ENABLE_TOKEN_ROTATION": "true", "ENABLE_THEFT_DETECTION": "true",
    "ENABLE_SECURITY_EVENT_LOGGING": "true", "LOG_TOKEN_REFRESH": "true", "LOG_SUCCESSFUL_LOGINS": "true",
    "COOKIE_SECURE": "true", "COOKIE_HTTPONLY": "true",
}  # fmt: skip


@contextmanager
def listening(database: Database, **env: str) -> Iterator[str]:
    """Serve the backend on a loopback port."""
    with database.connect() as conn:
        layout = detect(conn, database.settings())
    pool = open_pool(Secret(database.url), size=5)
    app = create_app(assemble(configure({**ENV, **env}), layout, pool))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def people(hardened: Database) -> Database:
    hardened.execute("UPDATE users SET password_hash = %s", (Hasher().hash(PASSWORD),))
    return hardened


def test_threads_that_find_the_token_expired_refresh_once_between_them(people: Database) -> None:
    with listening(people, REFRESH_PREVIOUS_TOKEN="never") as base:
        auth = RefreshingAuth(base)
        with httpx2.Client(auth=auth, timeout=30) as client:
            auth.login(client, "alice@example.com", PASSWORD)
            for _ in range(3):
                auth._access = expired_from(auth._access)
                found = at_once(12, lambda _: client.get(f"{base}/auth/me").status_code)
                assert found == [200] * 12
    events = people.execute("SELECT event_type, count(*)::int FROM security_events GROUP BY 1")
    kinds = dict(events)
    # With one use and no grace, a second refresh with the same token would have been a theft.
    assert "refresh_token_theft_detected" not in kinds
    assert kinds["token_refresh"] == 3


def test_one_refresh_serves_everybody_and_the_request_itself_is_answered(people: Database) -> None:
    with listening(people) as base:
        auth = RefreshingAuth(base)
        with httpx2.Client(auth=auth, timeout=30) as client:
            auth.login(client, "alice@example.com", PASSWORD)
            people.execute("TRUNCATE security_events")
            auth._access = expired_from(auth._access)
            found = at_once(12, lambda _: client.get(f"{base}/auth/me").json()["data"]["email"])
            assert found == ["alice@example.com"] * 12
            assert (
                people.value(
                    "SELECT count(*) FROM security_events WHERE event_type = 'token_refresh'"
                )
                == 1
            )
            answer = client.post(f"{base}/auth/logout-all")
            assert answer.status_code == 200
            over = client.get(f"{base}/auth/me")
            assert (over.status_code, over.json()["error"]["code"]) == (401, "INVALID_TOKEN")
            auth._access = expired_from(auth._access)
            over = client.get(f"{base}/auth/me")
            assert over.url.path == "/v1/auth/me"
            assert over.status_code == 401
            assert not auth.logged_in


def expired_from(token: str | None) -> str:
    """Return the same access token, expired."""
    assert token is not None
    claims = jwt.decode(token, ENV["JWT_SECRET"], ["HS256"], audience="app")
    claims["exp"] -= 10_000
    return jwt.encode(claims, ENV["JWT_SECRET"], "HS256", headers={"typ": "at+jwt"})


def test_a_refusal_says_why_and_a_session_goes_on_in_another_run(people: Database) -> None:
    with listening(people) as base, httpx2.Client(timeout=30) as client:
        auth = RefreshingAuth(base)
        with pytest.raises(Refused, match="4 attempts remaining") as refused:
            auth.login(client, "alice@example.com", "wrong")
        assert refused.value.details["code"] == "INVALID_CREDENTIALS"
        auth.login(client, "alice@example.com", PASSWORD)
        assert auth._refresh is not None
        later = RefreshingAuth(base, refresh_token=Secret(auth._refresh))
        assert client.get(f"{base}/auth/me", auth=later).status_code == 200
        for text in (repr(later), repr(auth)):
            assert "srt_" not in text
        later.logout(client)
        assert not later.logged_in
