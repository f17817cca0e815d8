"""Start-up: the latency that an operator feels."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from bench.measure import Section, interleaved, milliseconds, tell
from support.databases import Command, Database, create_app
from support.servers import Server

EMPTY_TYPER = """
import typer
app = typer.Typer()
@app.command()
def main() -> None: ...
app()
"""

BARE_PSYCOPG = """
import os, psycopg
with psycopg.connect(os.environ["SECOPS_DATABASE_URL"]) as conn:
    conn.execute("UPDATE users SET failed_login_attempts = 0, locked_until = NULL WHERE email = %s",
                 ("alice@example.com",))
"""


def measure(server: Server, options: argparse.Namespace) -> Section:
    """Time whole processes, interleaved; medians."""
    tell("start-up ...")
    folder = Path(tempfile.mkdtemp(prefix="secops-bench-"))
    database = Database(server, server.create())
    create_app(database)
    command = Command(folder).on(database)
    migrated = command("migrate", "--yes")
    assert migrated.code == 0, migrated.err
    (folder / "empty.py").write_text(EMPTY_TYPER)
    (folder / "bare.py").write_text(BARE_PSYCOPG)
    secops = str(Path(sys.executable).parent / "secops")
    unlock = ("unlock", "user", "alice@example.com", "--reason", "bench")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "secops --version": [secops, "--version"],
        "an empty typer app, --help": [sys.executable, str(folder / "empty.py"), "--help"],
        "secops --help": [secops, "--help"],
        "bare psycopg: connect and UPDATE": [sys.executable, str(folder / "bare.py")],
        "secops unlock user": [secops, *unlock],
        "secops show user": [secops, "show", "user", "alice@example.com"],
        "secops report lockouts": [secops, "report", "lockouts"],
    }
    psql = shutil.which("psql")
    if psql:
        commands["psql -c SELECT"] = [psql, database.url, "-c", "SELECT 1"]
    # Bytecode is compiled once, as an installed package's is.
    env = command.environment() | {"PYTHONDONTWRITEBYTECODE": ""}
    env.pop("PYTHONWARNINGS", None)
    taken = interleaved(commands, env | {"PATH": os.environ["PATH"]}, options.runs)
    section = Section(
        "Start-up",
        ("command", "median", "beside", "ratio"),
        f"Whole processes, {options.runs} interleaved runs each.",
    )
    beside = {
        "secops --version": "python -c pass",
        "secops --help": "an empty typer app, --help",
        "secops unlock user": "bare psycopg: connect and UPDATE",
        "secops show user": "bare psycopg: connect and UPDATE",
        "secops report lockouts": "bare psycopg: connect and UPDATE",
    }
    for name, seconds in taken.items():
        other = beside.get(name, "")
        ratio = f"{seconds / taken[other]:.2f}" if other else ""
        section.add(f"`{name}`", milliseconds(seconds), other, ratio)
    return section
