"""``secops serve``: the backend as a process, asked over a socket."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from support import serving as support
from support.databases import Command, Database

pytestmark = [
    pytest.mark.own_process,
    pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session"),
]

KEY = support.KEY
PERSON = {"email": "new@example.com", "password": "SecurePass123!", "firstName": "New"}


@contextmanager
def serving(
    command: Command, *arguments: str, **env: str
) -> Iterator[tuple[httpx2.Client, subprocess.Popen[str]]]:
    with support.serving(command, *arguments, **env) as there, there.client() as client:
        yield client, there.process
    assert "Traceback" not in there.err, there.err
    assert there.out == ""


def test_people_register_log_in_stay_logged_in_and_log_out(
    secops: Command, hardened: Database
) -> None:
    with serving(secops.on(hardened), SECOPS_ROLLOUT_ID="4711") as (client, _):
        assert client.get("/healthz").json() == {"status": "ok", "rollout": "4711"}
        assert client.post("/v1/auth/register", json=PERSON).status_code == 201
        answer = client.post("/v1/auth/login", json=PERSON)
        assert answer.json()["data"]["user"]["name"] == "New"
        # A client on plain HTTP keeps no Secure cookie; this one carries it by hand.
        cookie = answer.headers["set-cookie"].split(";")[0]
        answer = client.post("/v1/auth/refresh", headers={"cookie": cookie})
        assert answer.status_code == 200
        bearer = {"authorization": f"Bearer {answer.json()['data']['accessToken']}"}
        assert client.get("/v1/auth/me", headers=bearer).json()["data"]["email"] == PERSON["email"]
        assert (
            secops.on(hardened)(
                "revoke", "sessions", "--user", PERSON["email"], "--reason", "r"
            ).code
            == 0
        )
        assert client.get("/v1/auth/me", headers=bearer).status_code == 401
    kinds = [row[0] for row in hardened.execute(
        "SELECT event_type FROM security_events WHERE email = %s ORDER BY created_at", (PERSON["email"],)
    )]  # fmt: skip
    assert kinds == ["user_registered", "login_success", "token_refresh", "session_revoked"]


def test_an_account_that_the_backend_locks_is_unlocked_by_the_command(
    secops: Command, hardened: Database
) -> None:
    command = secops.on(hardened)
    with serving(command, "--workers", "2") as (client, _):
        client.post("/v1/auth/register", json=PERSON)
        for _ in range(5):
            client.post("/v1/auth/login", json={**PERSON, "password": "wrong"})
        assert client.post("/v1/auth/login", json=PERSON).status_code == 423
        shown = command("show", "user", PERSON["email"])
        assert "A login would fail now" in shown.out
        assert command("unlock", "user", PERSON["email"], "--reason", "asked").code == 0
        assert client.post("/v1/auth/login", json=PERSON).status_code == 200


def test_what_is_missing_is_said_before_anything_listens(
    secops: Command, hardened: Database, app_db: Database
) -> None:
    without = secops.on(hardened)("serve")
    assert (without.code, without.out) == (2, "")
    assert "JWT_SECRET is not set" in without.err
    short = secops.on(hardened)("serve", env={"JWT_SECRET": "hunter2"})
    assert short.code == 2
    assert "hunter2" not in short.err
    bare = secops.on(app_db)("serve", env=KEY)
    assert bare.code == 2
    assert "secops migrate" in bare.err
    none = secops("serve", "--embedded", "nothing", env=KEY)
    assert none.code == 2
    assert "secops quickstart nothing" in none.err
    weak = secops.on(app_db)("serve", env=KEY)
    assert "ENABLE_TOKEN_ROTATION is off" in weak.err
