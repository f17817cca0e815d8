"""Stages that are watched, with a small running app: a gate passes, one fails, one cannot tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .conftest import Place

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

YES = ("--yes", "--reason", "day 1")

WATCHED = """\
about: Watched, in seconds.
stages:
  - {id: quick, set: {JWT_EXPIRATION: 2s}}
  - {id: quicker, set: {JWT_EXPIRATION: 1s}, soak: {min: 1s}, gates: [live, page]}
gates:
  live: {kind: live, probes: 2, deadline: 5s, grace: 1s}
  page: {kind: http, probes: 20, min_n: 20, limit: 20%, tripwire_n: 10}
"""
RULES = """\
variables:
  JWT_EXPIRATION: {min: 1s}
"""


class App:
    """An app that reads its variables at each request, and can be broken."""

    def __init__(self, env: Path) -> None:
        app = self
        self.env = env
        self.broken = False
        self.deaf = False

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = "" if app.deaf else app.env.read_text()
                self.send_response(500 if app.broken and "JWT_EXPIRATION=1s" in text else 200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/healthz"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def app(place: Place) -> Iterator[App]:
    found = App(place.folder / ".env")
    (place.folder / "profiles" / "rollouts" / "steps.yaml").write_text(WATCHED)
    (place.folder / "profiles" / "registry.yaml").write_text(RULES)
    (place.folder / "secops.yaml").write_text(
        f"targets:\n  prod: {{kind: dotenv, path: .env, probe: {found.url}}}\n"
    )
    yield found
    found.close()


@pytest.mark.usefixtures("app")
def test_a_stage_passes_its_soak_while_somebody_waits(place: Place) -> None:
    assert place("rollout", "--stage", "quick", *YES).code == 0
    done = place("rollout", "--stage", "quicker", *YES, "--wait", "--every", "1s", "--json")
    assert done.code == 0, done.err
    found = done.json()
    assert found["move"]["state"] == "passed"
    assert {each["gate"]: each["verdict"] for each in found["gates"]} == {
        "live": "pass", "page": "pass"
    }  # fmt: skip
    assert found["move"]["soak_ends"] > found["move"]["live_since"]
    plot = place("rollout", "history", found["operation_id"][:8], "--plot")
    assert plot.code == 0, plot.err
    assert "page" in plot.out


def test_a_stage_that_breaks_the_app_is_rolled_back(place: Place, app: App) -> None:
    assert place("rollout", "--stage", "quick", *YES).code == 0
    app.broken = True
    done = place("rollout", "--stage", "quicker", *YES)
    assert done.code == 0, done.err
    assert place.value("JWT_EXPIRATION") == "1s"
    ticked = place("rollout", "tick")
    assert ticked.code == 3, ticked.err
    assert "failed and was rolled back" in ticked.err
    assert place.value("JWT_EXPIRATION") == "2s"
    events = place.database.execute(
        "SELECT event_type FROM security_events WHERE event_type IN"
        " ('rollout_failed', 'rollback_passed', 'rollout_rolled_back') ORDER BY created_at, 1"
    )
    assert {row[0] for row in events} == {
        "rollout_failed", "rollback_passed", "rollout_rolled_back"
    }  # fmt: skip
    assert place("rollout", "tick").code == 0
    assert place("rollout", "--stage", "quicker", *YES, "--dry-run").code == 0


def test_an_app_that_does_not_answer_for_itself_is_held_until_somebody_says_so(
    place: Place, app: App
) -> None:
    assert place("rollout", "--stage", "quick", *YES).code == 0
    app.deaf = True
    (place.folder / "profiles" / "rollouts" / "steps.yaml").write_text(
        WATCHED.replace("deadline: 5s", "deadline: 1h").replace("grace: 1s", "grace: 1h")
    )
    assert place("rollout", "--stage", "quicker", *YES).code == 0
    early = place("rollout", "resume", "--accept", "--reason", "r")
    assert early.code == 8, early.err
    place.database.execute("SELECT pg_sleep(3.2)")
    held = place("rollout", "tick")
    assert held.code == 9, held.err
    assert "waits for a person" in held.err
    again = place("rollout", "tick")
    assert again.code == 9
    status = place("rollout", "status")
    assert "live: INCONCLUSIVE" in status.out
    assert "--accept" in status.out
    unsaid = place("rollout", "resume", "--accept")
    assert unsaid.code == 2
    done = place("rollout", "resume", "--accept", "--reason", "looked at the logs")
    assert done.code == 0, done.err
    assert "has passed: accepted by alice: looked at the logs" in done.out


@pytest.mark.usefixtures("app")
def test_a_gate_that_cannot_be_read_is_told_before_anything_is_written(place: Place) -> None:
    (place.folder / "profiles" / "rollouts" / "steps.yaml").write_text(
        WATCHED.replace("min_n: 20", "min_m: 20")
    )
    assert place("rollout", "--stage", "quick", *YES).code == 0
    done = place("rollout", "--stage", "quicker", *YES)
    assert done.code == 2, done.err
    assert "min_m" in done.err
    assert place.value("JWT_EXPIRATION") == "2s"
