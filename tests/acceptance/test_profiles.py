"""``secops profile`` as people and CI use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.databases import Command
from support.screens import HOSTILE, steering

LIVE = "# app\nJWT_EXPIRATION=3600s\nMAX_LOGIN_ATTEMPTS=50\nCOOKIE_SECURE=true\nAPI_TOKEN=c4n4ry\n"


@pytest.fixture
def home(secops: Command) -> Path:
    """A folder with a secops.yaml that names a .env file, and a folder of profiles."""
    folder = secops.home
    (folder / "secops.yaml").write_text(
        "targets:\n  local: {kind: dotenv, path: app/.env}\n  sh: {kind: shell}\n"
    )
    (folder / "app").mkdir()
    (folder / "app" / ".env").write_text(LIVE)
    (folder / "profiles" / "rollouts").mkdir(parents=True)
    return folder


def test_what_ships_is_listed_shown_and_without_a_fault(secops: Command) -> None:
    listed = secops("profile", "list", "--json").json()
    assert {(each["kind"], each["name"], each["source"]) for each in listed} == {
        ("profile", "features-off", "secops"),
        ("profile", "owasp-2024", "secops"),
        ("profile", "owasp-2024-complete", "secops"),
        ("profile", "quick-win", "secops"),
        ("profile", "relaxed", "secops"),
        ("rollout", "jwt-ttl", "secops"),
    }
    jwt = next(each for each in listed if each["name"] == "jwt-ttl")
    assert jwt["stages"] == "1h, 30m, 15m"
    shown = secops("profile", "show", "owasp-2024-complete", "--json").json()
    assert len(shown) == 22
    assert {each["from"] for each in shown} == {"owasp-2024", "owasp-2024-complete"}
    relaxed = secops("profile", "show", "relaxed")
    assert "4h" in relaxed.err
    clean = secops("profile", "lint")
    assert (clean.code, clean.out.strip()) == (0, "All is well.")


def test_a_profile_is_printed_for_a_file_and_for_a_shell(secops: Command, home: Path) -> None:
    dotenv = secops("profile", "show", "quick-win", "--as", "dotenv").out
    assert dotenv == "JWT_EXPIRATION=1h\nMAX_LOGIN_ATTEMPTS=5\nLOCKOUT_DURATION_MINUTES=30\n"
    (home / "profiles" / "mine.yaml").write_text(
        "about: m\nset: {COOKIE_SAMESITE: Lax}\nunset: LOG_TOKEN_REFRESH\n"
    )
    shell = secops("profile", "show", "mine", "--as", "shell", cwd=home).out
    assert shell == "export COOKIE_SAMESITE=lax\nunset LOG_TOKEN_REFRESH\n"


def test_live_variables_are_compared_and_left_alone(secops: Command, home: Path) -> None:
    done = secops("profile", "diff", "quick-win", "--target", "local", "--json", cwd=home)
    assert done.code == 0
    assert done.json() == [
        {"variable": "LOCKOUT_DURATION_MINUTES", "live": None, "profile": "30", "change": "same"},
        {"variable": "MAX_LOGIN_ATTEMPTS", "live": "50", "profile": "5", "change": "tighten"},
    ]
    every = secops("profile", "diff", "quick-win", "--target", "local", "--all", "--json", cwd=home)
    assert {each["variable"]: each["change"] for each in every.json()}["JWT_EXPIRATION"] == "same"
    found = secops("profile", "diff", "quick-win", "--target", "local", "--exit-code", cwd=home)
    assert found.code == 3
    assert "c4n4ry" not in found.out + found.err + every.out
    assert (home / "app" / ".env").read_text() == LIVE
    same = ["profile", "diff", "quick-win", "quick-win", "--exit-code"]
    assert secops(*same).code == 0


def test_what_an_environment_would_break_is_said(secops: Command, home: Path) -> None:
    (home / "app" / ".env").write_text("COOKIE_SECURE=false\n")
    (home / "profiles" / "site.yaml").write_text("about: s\nset: {COOKIE_SAMESITE: none}\n")
    done = secops("profile", "diff", "site", "--target", "local", cwd=home)
    assert "COOKIE_SAMESITE=none needs COOKIE_SECURE=true" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["profile", "show", "owasp"], 4, "owasp-2024"),
        (["profile", "lint", "jwt"], 4, "jwt-ttl"),
        (["profile", "diff", "relaxed"], 2, "--target local"),
        (["profile", "diff", "relaxed", "--target", "lokal"], 4, "local"),
        (["profile", "diff", "relaxed", "--target", "sh"], 8, "cannot be read back"),
        (["profile", "diff", "relaxed", "quick-win", "--target", "local"], 2, "without a target"),
        (["profile", "show"], 2, "NAME"),
    ],
)
def test_what_is_asked_wrongly_is_answered(
    secops: Command, home: Path, arguments: list[str], code: int, words: str
) -> None:
    done = secops(*arguments, cwd=home)
    assert done.code == code
    assert words in done.err
    assert secops(*arguments, "--json", cwd=home).error()["exit"] == code


def test_faults_are_listed_with_file_and_line_and_exit_three(secops: Command, home: Path) -> None:
    (home / "profiles" / "bad.yaml").write_text("about: x\nset:\n  MAX_LOGIN_ATTEMPT: 5\n")
    (home / "profiles" / "rollouts" / "mine.yaml").write_text(
        "about: x\nstages:\n  - {id: a, set: {JWT_EXPIRATION: 1h}}\n"
    )
    done = secops("profile", "lint", "--json", cwd=home)
    assert done.code == 3
    assert [(each["severity"], each["name"], each["where"]) for each in done.json()] == [
        ("error", "bad", "profiles/bad.yaml:3"),
        ("warning", "mine", "profiles/rollouts/mine.yaml:3"),
    ]
    assert "MAX_LOGIN_ATTEMPTS" in done.json()[0]["hint"]
    assert secops("profile", "lint", "mine", cwd=home).code == 0
    assert secops("profile", "lint", "mine", "--strict", cwd=home).code == 3
    # The others go on working.
    listed = secops("profile", "list", "--json", cwd=home)
    assert "mine" in {each["name"] for each in listed.json()}
    assert "profiles/bad.yaml:3" in listed.err


def test_what_stands_in_a_file_steers_no_terminal(secops: Command, home: Path) -> None:
    hostile = " ".join(each for each in HOSTILE.values() if "'" not in each)
    quoted = '"' + "".join(f"\\U{ord(each):08X}" for each in hostile) + '"'
    (home / "profiles" / "odd.yaml").write_text(f"about: {quoted}\nset: {{JWT_EXPIRATION: 1h}}\n")
    (home / "app" / ".env").write_text(f"JWT_EXPIRATION='{hostile}'\n", errors="surrogatepass")
    for arguments in (["list"], ["show", "odd"], ["diff", "odd", "--target", "local"]):
        done = secops("profile", *arguments, cwd=home)
        assert done.code == 0, done.err
        assert not steering(done.out + done.err)


def test_names_are_completed(secops: Command, home: Path) -> None:
    (home / "profiles" / "mine.yaml").write_text("about: m\nset: {JWT_EXPIRATION: 1h}\n")

    def completed(*words: str) -> str:
        line = {"_SECOPS_COMPLETE": "complete_bash", "COMP_CWORD": str(len(words))}
        return secops(env={**line, "COMP_WORDS": " ".join(["secops", *words])}, cwd=home).out

    assert "mine" in completed("profile", "show", "mi")
    assert "owasp-2024" in completed("profile", "diff", "ow")
    assert "jwt-ttl" in completed("profile", "lint", "j")
    assert "local" in completed("profile", "diff", "x", "--target", "lo")
    (home / "secops.yaml").write_text("nonsense: 1\n")
    assert "owasp-2024" in completed("profile", "show", "ow")


def test_targets_in_secops_yaml_cost_other_commands_no_import(home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from secops.settings import load;"
        f"assert load(environ={{}}, folder=Path({str(home)!r})).structured;"
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
