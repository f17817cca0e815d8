"""The documentation is true: generated pages are current, and each command line in it is run.

In a ``console`` block every line that begins with ``$ secops`` is run by bash, in the order of the page,
in one empty folder with the demo app's hardened database. ``# exit 3`` at a line's end says which exit
code it has. Lines with other programs (pip, make, psql ...) are for reading.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.databases import Command, Database

pytestmark = pytest.mark.own_process

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (?P<line>(?:.*\\\n)*.*)", re.MULTILINE)
EXIT = re.compile(r"#\s*exit (\d+)\s*$")
# Starts servers of its own, or waits for a person; acceptance tests of its own run it.
ELSEWHERE = ("secops quickstart",)


def commands(page: Path) -> Iterator[str]:
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        for found in COMMAND.finditer(block[1]):
            yield found["line"]


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_stands_only_where_it_is_run(page: Path) -> None:
    if page.name == "commands.md":  # generated from the commands themselves
        return
    for kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if kind != "console":
            assert not re.search(r"^\s*(\$ )?secops \w", text, re.MULTILINE), text


@pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_line_of_a_page_works(
    page: Path, hardened: Database, secops: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    env = secops.on(hardened).environment()
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    hardened.execute(
        "INSERT INTO security_events"
        " (event_type, event_category, severity, email, ip_address, success)"
        " SELECT 'login_failed', 'authentication', 'warning', 'alice@example.com', '203.0.113.7', false"
        " FROM generate_series(1, 12)"
    )
    # Somebody is locked out, and everybody is logged in, once from where the attack comes from.
    hardened.execute(
        "UPDATE users SET failed_login_attempts = 5, locked_until = now() + interval '30 min'"
        " WHERE email IN ('alice@example.com', 'carol@example.com')"
    )
    hardened.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, device_info, ip_address, expires_at)"
        " SELECT id, gen_random_uuid()::text, 'HeadlessChrome/126.0', ip, now() + interval '7 d'"
        " FROM users, unnest(ARRAY['203.0.113.7', '198.51.100.4']) AS ip"
    )
    hardened.execute(
        "INSERT INTO security_events"
        " (event_type, event_category, severity, user_id, ip_address, success)"
        " SELECT 'account_locked', 'authentication', 'error', id, '203.0.113.7', false"
        " FROM users WHERE email = 'carol@example.com'"
    )
    for line in commands(page):
        if not line.startswith(("secops ", "cat ", "printf ", "mkdir ")) or line.startswith(
            ELSEWHERE
        ):
            continue
        expected = EXIT.search(line)
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == (int(expected[1]) if expected else 0), f"{line}\n{done.stderr}"
