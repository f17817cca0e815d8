"""What is imported before a command runs: Python's start-up is the latency of this product."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.databases import Command, Database

pytestmark = pytest.mark.own_process

HEAVY = ("sqlalchemy", "alembic", "jinja2", "fastapi", "pydantic", "rich", "tabulate", "yaml")

# The command's own exit is caught, then what it had imported is told on the last line.
PROBE = """
import json, sys
sys.argv = ["secops", *sys.argv[1:]]
from secops.cli.main import main
code = 0
try:
    main()
except SystemExit as exit:
    code = exit.code or 0
print()
print(json.dumps({"code": code, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def run(secops: Command, *arguments: str) -> tuple[int, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=secops.environment(),
        cwd=secops.home,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    return told["code"], set(told["modules"])


def test_version_imports_nothing_but_the_standard_library(secops: Command) -> None:
    code, modules = run(secops, "--version")
    assert code == 0
    assert not modules & {*HEAVY, "typer", "psycopg", "argparse"}


def test_version_imports_not_even_typing(secops: Command) -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "secops", "--version"],
        capture_output=True, text=True, check=True, env=secops.environment(), cwd=secops.home,
    ).stderr  # fmt: skip
    imported = {line.rsplit("|", 1)[-1].strip() for line in told.splitlines()}
    assert "secops.cli.main" in imported
    assert not imported & {"typing", "dataclasses", "enum", "re"}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["unlock", "user", "--help"], ["help", "exit-codes"]]
)
def test_help_needs_no_database_and_imports_nothing_heavy(
    secops: Command, arguments: list[str]
) -> None:
    code, modules = run(secops, *arguments)
    assert code == 0
    assert not modules & {*HEAVY, "psycopg"}


@pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")
@pytest.mark.parametrize(
    "words",
    [
        ("unlock", "user", "alice@example.com"),
        ("lock", "user", "alice@example.com", "--for", "2h"),
        ("revoke", "sessions", "--user", "alice@example.com"),
    ],
)
def test_a_change_of_one_account_imports_only_what_it_needs(
    secops: Command, hardened: Database, words: tuple[str, ...]
) -> None:
    hardened.execute(
        """WITH alice AS (
               UPDATE users SET failed_login_attempts = 5, locked_until = now() + interval '1 hour'
               WHERE email = 'alice@example.com' RETURNING id)
           INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
           SELECT id, 'a hash', now() + interval '7 days' FROM alice"""
    )
    code, modules = run(secops.on(hardened), *words, "--reason", "asked by phone")
    assert code == 0
    deeds = "SELECT count(*) FROM security_events WHERE event_category = 'operator'"
    assert hardened.value(deeds) > 0
    assert "psycopg" in modules
    assert not modules & set(HEAVY)


def test_help_works_with_a_broken_configuration(secops: Command) -> None:
    (secops.home / "secops.yaml").write_text("nonsense: [")
    assert secops("--help").code == 0
    assert secops("unlock", "user", "--help").code == 0
    assert secops("unlock", "user", "x", "--reason", "y").code == 2
