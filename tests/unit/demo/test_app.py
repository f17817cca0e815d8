"""The demo's small app: what it refuses, what it writes, and what a restart forgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from secops.demo.app import PASSWORD, App

ALICE = "alice@example.com"


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def app(tmp_path: Path, events: list[str]) -> App:
    path = tmp_path / ".env"
    path.write_text('MAX_LOGIN_ATTEMPTS=3    # strict\nSECOPS_ROLLOUT_ID="op-1"\n')
    return App(path, lambda kind, _email, _ip: events.append(kind))


def test_it_echoes_the_rollout_that_it_runs_with(app: App) -> None:
    assert app.health() == (200, {"status": "ok", "rollout": "op-1"})
    app.path.write_text("SECOPS_ROLLOUT_ID=op-2\n")
    assert app.health()[1]["rollout"] == "op-1"
    app.reload()
    assert app.health()[1]["rollout"] == "op-2"


def test_so_many_wrong_passwords_in_a_row_lock_an_account(app: App, events: list[str]) -> None:
    assert [app.login(ALICE, "wrong", "::1")[0] for _ in range(3)] == [401, 401, 401]
    assert app.login(ALICE, PASSWORD, "::1")[0] == 423
    assert app.login("bob@example.com", PASSWORD, "::1")[0] == 200
    assert events == [*["login_failed"] * 3, "account_locked", "login_failed", "login_success"]


def test_a_right_password_between_them_begins_anew(app: App) -> None:
    for password in ("wrong", "wrong", PASSWORD, "wrong", "wrong"):
        app.login(ALICE, password, "::1")
    assert app.login(ALICE, PASSWORD, "::1")[0] == 200


def test_a_refresh_token_is_good_once(app: App, events: list[str]) -> None:
    token = app.login(ALICE, PASSWORD, "::1")[1]["refresh_token"]
    status, page = app.refresh(token, "::1")
    assert status == 200
    assert app.refresh(token, "::1")[0] == 401
    assert app.refresh(page["refresh_token"], "::1")[0] == 200
    assert events[-3:] == ["token_refresh", "token_refresh_failed", "token_refresh"]


def test_a_restart_forgets_lockouts_and_sessions(app: App) -> None:
    for _ in range(3):
        app.login(ALICE, "wrong", "::1")
    app.reload()
    assert app.login(ALICE, PASSWORD, "::1")[0] == 200


def test_what_it_cannot_read_it_says_and_goes_on_as_before(app: App) -> None:
    app.path.write_text("MAX_LOGIN_ATTEMPTS=many\nSECOPS_ROLLOUT_ID=op-2\n")
    app.reload()
    assert app.health()[0] == 503
    assert app.login(ALICE, PASSWORD, "::1")[0] == 200
    app.path.write_text("MAX_LOGIN_ATTEMPTS=4\nSECOPS_ROLLOUT_ID=op-3\n")
    app.reload()
    assert app.health() == (200, {"status": "ok", "rollout": "op-3"})
