"""The demo's running app: a small login service that reads its ``.env`` and writes ``security_events``.

It runs in a process of its own and knows nothing of rollouts but what any app may know: it echoes
``SECOPS_ROLLOUT_ID`` on its health page. SIGHUP makes it read its ``.env`` again, as a restart would; what it
holds in memory, sessions and lockouts, is gone then. It ends when its standard input does, so that it never
outlives who started it.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from secops.targets import dotenv_text
from secops.targets.target import MARKER

if TYPE_CHECKING:
    from secops.database.connection import Connection

PASSWORD: Final = "correct horse battery staple"  # noqa: S105  everybody's, in a demo
EVENT: Final = """
    INSERT INTO {} (event_type, event_category, severity, user_id, email, ip_address, user_agent,
                    request_path, request_method, success, message, metadata)
    VALUES (%s, %s, %s, %s, %s, %s, 'demo app', %s, 'POST', %s, %s, '{{"demo_app": true}}')
"""
_LARGEST: Final = 4_096
_OK, _BAD, _REFUSED, _LOCKED, _UNKNOWN, _BROKEN = 200, 400, 401, 423, 404, 503

_KINDS: Final[Mapping[str, tuple[str, str, str, bool, str]]] = {
    "login_success": ("authentication", "info", "/auth/login", True, "Logged in."),
    "login_failed": (
        "authentication",
        "warning",
        "/auth/login",
        False,
        "Wrong password or locked.",
    ),
    "account_locked": ("account", "warning", "/auth/login", False, "Locked after failed logins."),
    "token_refresh": ("session", "info", "/auth/refresh", True, "Token refreshed."),
    "token_refresh_failed": ("session", "warning", "/auth/refresh", False, "Unknown token."),
}

Record = Callable[[str, str, str], None]
"""Writes an event: its type, whose, from where."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the app takes from its ``.env``.

    Attributes:
        attempts: Failed logins that lock an account.
        lockout: For how many seconds.
        rollout: What the health page echoes.
    """

    attempts: int
    lockout: float
    rollout: str

    @classmethod
    def read(cls, path: Path) -> Configuration:
        """Read a ``.env`` file.

        Raises:
            ValueError: A number is none.
        """
        found = dotenv_text.values(dotenv_text.parse(path.read_text(encoding="utf-8")))
        return cls(
            int(found.get("MAX_LOGIN_ATTEMPTS", "5")),
            60.0 * int(found.get("LOCKOUT_DURATION_MINUTES", "30")),
            found.get(MARKER, ""),
        )


@dataclass
class App:
    """The service behind its pages.

    Attributes:
        path: Its ``.env``.
        record: Where events go.
        configuration: What it runs with.
        problem: Why its ``.env`` could not be read the last time.
    """

    path: Path
    record: Record
    configuration: Configuration = field(init=False)
    problem: str = ""
    _failures: dict[str, int] = field(default_factory=dict)
    _locked: dict[str, float] = field(default_factory=dict)
    _sessions: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.configuration = Configuration.read(self.path)

    def reload(self) -> None:
        """Read the ``.env`` again and start afresh; keep to what was there where it cannot be read."""
        try:
            fresh = Configuration.read(self.path)
        except (OSError, ValueError) as error:
            self.problem = str(error)
            return
        with self._lock:
            self.configuration, self.problem = fresh, ""
            for memory in (self._failures, self._locked, self._sessions):
                memory.clear()

    def health(self) -> tuple[int, dict[str, Any]]:
        """Answer ``/healthz``."""
        if self.problem:
            return _BROKEN, {"status": "misconfigured"}
        return _OK, {"status": "ok", "rollout": self.configuration.rollout}

    def login(self, email: str, password: str, ip: str) -> tuple[int, dict[str, Any]]:
        """Answer ``/auth/login``: so many wrong passwords in a row lock the account."""
        now = time.monotonic()
        with self._lock:
            if self._locked.get(email, 0.0) > now:
                kinds, answer = ["login_failed"], (_LOCKED, {"error": "locked"})
            elif password == PASSWORD:
                self._failures.pop(email, None)
                token = secrets.token_urlsafe(16)
                self._sessions[token] = email
                kinds, answer = ["login_success"], (_OK, {"refresh_token": token})
            else:
                kinds, answer = ["login_failed"], (_REFUSED, {"error": "wrong password"})
                self._failures[email] = self._failures.get(email, 0) + 1
                if self._failures[email] >= self.configuration.attempts:
                    self._locked[email] = now + self.configuration.lockout
                    del self._failures[email]
                    kinds.append("account_locked")
        for kind in kinds:
            self.record(kind, email, ip)
        return answer

    def refresh(self, token: str, ip: str) -> tuple[int, dict[str, Any]]:
        """Answer ``/auth/refresh``: each token is good once."""
        fresh = secrets.token_urlsafe(16)
        with self._lock:
            email = self._sessions.pop(token, None)
            if email is not None:
                self._sessions[fresh] = email
        if email is None:
            self.record("token_refresh_failed", "", ip)
            return _REFUSED, {"error": "unknown token"}
        self.record("token_refresh", email, ip)
        return _OK, {"refresh_token": fresh}


def writer(conn: Connection, layout: Any) -> Record:  # noqa: ANN401  imported late
    """Return what writes events into a database, one by one as they happen."""
    from psycopg import sql  # noqa: PLC0415

    # An app would not do so for its audit trail; a demo need not wait for the disk.
    conn.execute("SET synchronous_commit = off")
    statement = sql.SQL(EVENT).format(layout.events)
    users = sql.SQL("SELECT lower({}), {} FROM {}").format(
        sql.Identifier(layout.users.email), sql.Identifier(layout.users.id), layout.users.table
    )
    known = {str(email): key for email, key in conn.execute(users).fetchall()}
    lock = threading.Lock()

    def record(kind: str, email: str, ip: str) -> None:
        category, severity, path, success, message = _KINDS[kind]
        values = (
            kind, category, severity, known.get(email.lower()), email or None, ip, path, success, message,
        )  # fmt: skip
        with lock:
            conn.execute(statement, values)

    return record


def served(app: App) -> ThreadingHTTPServer:
    """Return a server on a free port of this machine; it does not run yet."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 30

        def do_GET(self) -> None:
            self._answer(*(app.health() if self.path == "/healthz" else (_UNKNOWN, {})))

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            try:
                given = json.loads(self.rfile.read(min(size, _LARGEST)))
                ip = str(self.headers.get("X-Forwarded-For", "127.0.0.1"))
                if self.path == "/auth/login":
                    answer = app.login(str(given["email"]), str(given["password"]), ip)
                elif self.path == "/auth/refresh":
                    answer = app.refresh(str(given["refresh_token"]), ip)
                else:
                    answer = _UNKNOWN, {}
            except (ValueError, KeyError, TypeError):
                answer = _BAD, {"error": "not understood"}
            self._answer(*answer)

        def _answer(self, status: int, page: dict[str, Any]) -> None:
            body = json.dumps(page).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the interface's
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    return server


def main(folder: Path, env_file: Path, pid_file: Path) -> None:
    """Run the app until its standard input ends.

    Args:
        folder: Where the ``secops.yaml`` stands that names the database.
        env_file: Its ``.env``.
        pid_file: Where its process number goes, for who wants to send it SIGHUP.
    """
    from secops.database.connection import connect  # noqa: PLC0415
    from secops.schema.detect import detect  # noqa: PLC0415
    from secops.settings import load  # noqa: PLC0415

    settings = load({}, environ={}, folder=folder)
    with connect(settings, "demo app") as conn:
        app = App(env_file, writer(conn, detect(conn, settings)))
        signal.signal(signal.SIGHUP, lambda *_: app.reload())
        server = served(app)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        print(server.server_address[1], flush=True)  # noqa: T201  whom it may concern
        try:
            sys.stdin.read()
        finally:
            pid_file.unlink(missing_ok=True)
            server.shutdown()


if __name__ == "__main__":
    main(*(Path(each) for each in sys.argv[1:4]))
