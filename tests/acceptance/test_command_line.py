"""What holds for every command: streams, exit codes, help, typos."""

from __future__ import annotations

import json
import subprocess

import pytest

from secops.cli.tree import COMMANDS
from support.databases import Command, Database

pytestmark = pytest.mark.own_process


def test_without_arguments_help_is_shown_and_it_is_no_error(secops: Command) -> None:
    shown = secops()
    assert (shown.code, shown.err) == (0, "")
    for entry in COMMANDS:
        assert entry.words in shown.out


@pytest.mark.parametrize("short", ["-h", "--help"])
@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.words)
def test_every_command_has_help_without_a_database(
    secops: Command, entry: object, short: str
) -> None:
    words: str = entry.words  # type: ignore[attr-defined]
    shown = secops(*words.split(), short)
    assert shown.code == 0
    assert shown.err == ""
    assert f"Usage: secops {words}" in shown.out


def test_a_typo_is_answered_with_the_nearest_command(secops: Command) -> None:
    said = secops("unlok", "user", "x")
    assert said.code == 2
    assert said.out == ""
    assert "Did you mean 'unlock'" in said.err


def test_an_abbreviation_is_not_accepted(secops: Command) -> None:
    assert secops("unl", "user", "x").code == 2


def test_an_unknown_option_is_a_usage_error_in_json_too(secops: Command) -> None:
    said = secops("unlock", "user", "x", "--resaon", "y", "--json")
    assert said.code == 2
    assert said.error()["code"] == "usage"
    assert "--reason" in said.error()["message"]


def test_nothing_configured_says_how_to_configure(secops: Command) -> None:
    said = secops("report", "failed-logins", "--json")
    assert said.code == 2
    assert "SECOPS_DATABASE_URL" in said.error()["hint"]


def test_a_password_on_the_command_line_is_refused(secops: Command) -> None:
    said = secops(
        "unlock", "user", "x", "--reason", "y",
        "--database-url", "postgresql://u:canary-7f3a@127.0.0.1:1/db",
    )  # fmt: skip
    assert said.code == 2
    assert "canary-7f3a" not in said.out + said.err


def test_a_reader_that_leaves_early_is_no_failure(secops: Command, hardened: Database) -> None:
    hardened.execute(
        "INSERT INTO security_events (event_type, event_category, severity, email, success)"
        " SELECT 'account_locked', 'authentication', 'error', 'x' || n || '@example.com', false"
        " FROM generate_series(1, 20000) n"
    )
    command = secops.on(hardened)
    piped = subprocess.run(
        ["bash", "-c", '"$0" "$@" | head -1; exit ${PIPESTATUS[0]}',
         *command.argv("report", "lockouts", "--limit", "0", "--format", "csv")],
        capture_output=True, text=True, env=command.environment(), cwd=command.home, check=False,
    )  # fmt: skip
    assert piped.returncode == 0
    assert piped.stderr.count("Traceback") == 0
    assert len(piped.stdout.splitlines()) == 1


def test_json_on_stdout_is_not_mixed_with_notes(secops: Command, hardened: Database) -> None:
    shown = secops.on(hardened)("report", "lockouts", "--json")
    assert shown.code == 0
    assert json.loads(shown.out) == []


def test_completion_lists_the_commands_and_imports_none(secops: Command) -> None:
    listed = secops(
        env={
            "_SECOPS_COMPLETE": "complete_bash",
            "COMP_WORDS": "secops un",
            "COMP_CWORD": "1",
        }
    )
    assert "unlock" in listed.out
