"""The demo's service as ``secops.yaml`` has it: a ``.env`` file, the app that reads it, and a rollout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secops.demo.crowd import Crowd
from secops.demo.home import Home
from secops.demo.people import CAST
from secops.errors import SecopsError

if TYPE_CHECKING:
    from secops.database.connection import Connection

TARGET: Final = "demo-app"
ROLLOUT: Final = "demo-lockout"

_ENV: Final = """\
# What the demo's app starts with. `secops rollout` changes it, and leaves all else in it alone.
APP_NAME="Demo app"
MAX_LOGIN_ATTEMPTS=10    # generous
LOCKOUT_DURATION_MINUTES=30
"""
_TARGETS: Final = """
state_dir: .secops/state
targets:
  {name}:
    kind: dotenv
    path: app/.env
    pid_file: .secops/app.pid
    signal: HUP
    probe: http://127.0.0.1:1/healthz
"""
_OURS: Final = "# Written by `secops quickstart`"
_ROLLOUT: Final = (
    _OURS
    + """: what `secops rollout` does there. Soaks of seconds are for demos; the one
# that ships, jwt-ttl, takes a day for each stage.
about: Lock accounts after fewer failed logins, as far as nobody notices.
stages:
  - id: five
    about: What OWASP's cheat sheet and the plan ask for.
    set: {MAX_LOGIN_ATTEMPTS: 5}
    soak: {min: 3s}
    gates: [live, demo_logins]
  - id: one
    about: Too strict, for whoever mistypes once is locked out.
    set: {MAX_LOGIN_ATTEMPTS: 1}
    soak: {min: 10s}
    gates: [live, demo_logins]
gates:
  demo_logins:
    kind: sql_ratio
    query: login-failures
    baseline: 1m
    tolerate: 1.5x
    detect: 4x
    window: 250ms
    delay: 250ms
    min_n: 100
    min_baseline: 100
"""
)
_PROBE: Final = re.compile(r"http://127\.0\.0\.1:\d+/healthz")
_STARTED: Final = 20.0


def write(home: Home, *, anew: bool) -> None:
    """Write the app's ``.env``, its rollout, and the target where ``secops.yaml`` has none.

    Args:
        home: The demo's folder; its ``secops.yaml`` is there.
        anew: Whether nothing is known of what was rolled out before: the database was made anew.
    """
    if anew:
        shutil.rmtree(home.data.parent / "state", ignore_errors=True)
    rollout = home.folder / "profiles" / "rollouts" / f"{ROLLOUT}.yaml"
    for path, text, kept in (
        (env_file(home), _ENV, not anew),
        (rollout, _ROLLOUT, rollout.exists() and not rollout.read_text().startswith(_OURS)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (kept and path.exists()):
            path.write_text(text, encoding="utf-8")
    config = home.config.read_text(encoding="utf-8")
    if not re.search(r"^targets:", config, re.MULTILINE):
        home.config.write_text(config + _TARGETS.format(name=TARGET), encoding="utf-8")


def people(conn: Connection) -> list[str]:
    """Return whose accounts are used: nobody's of whom the tour tells something else."""
    told = [person.email for person in CAST]
    query = "SELECT email FROM users WHERE is_active AND email <> ALL (%s) ORDER BY id LIMIT 2000"
    return [str(row[0]) for row in conn.execute(query, (told,)).fetchall()]


def latest_failure(conn: Connection) -> str:
    """Return the beginning of the id of the stage that failed last; empty where none did."""
    row = conn.execute(
        "SELECT left(id::text, 8) FROM secops.rollouts WHERE rollout = %s AND state = %s "
        "ORDER BY started_at DESC LIMIT 1",
        (ROLLOUT, "rolled_back"),
    ).fetchone()
    return str(row[0]) if row else ""


def env_file(home: Home) -> Path:
    """Return the app's ``.env``."""
    return home.folder / "app" / ".env"


@contextmanager
def running(home: Home, emails: list[str]) -> Iterator[Crowd]:
    """Run the app, and people who use it, for the length of a block.

    Args:
        home: The demo's folder; :func:`write` was there.
        emails: Whose accounts they use.

    Yields:
        The people; :attr:`Crowd.visits` tells how busy they were.

    Raises:
        SecopsError: The app does not start.
    """
    pid_file = home.data.parent / "app.pid"
    places = [home.folder, env_file(home), pid_file]
    command = [sys.executable, "-P", "-m", "secops.demo.app", *map(str, places)]
    with subprocess.Popen(  # noqa: S603  our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=home.folder
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port.isdigit():
                raise SecopsError(
                    "The demo's app does not start.", hint="What it said stands above this."
                )
            config = home.config.read_text(encoding="utf-8")
            config = _PROBE.sub(f"http://127.0.0.1:{port}/healthz", config, count=1)
            home.config.write_text(config, encoding="utf-8")
            with Crowd(int(port), emails) as crowd:
                yield crowd
        finally:
            process.stdin.close()
            try:
                process.wait(_STARTED)
            except subprocess.TimeoutExpired:
                process.kill()
