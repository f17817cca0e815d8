"""Importing the package costs nothing, and printing without a terminal imports nothing that draws."""

from __future__ import annotations

import subprocess
import sys

HEAVY = [
    "rich",
    "tabulate",
    "wcwidth",
    "csv",
    "json",
    "html",
    "decimal",
    "psycopg",
    "typer",
    "sqlalchemy",
]


def loaded_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return set(done.stderr.split())


def test_the_import_is_cheap() -> None:
    loaded = loaded_after("from secops.output import Format, Output, wanted_format")
    assert not loaded & set(HEAVY)
    assert "secops.output.writer" in loaded


def test_an_outcome_needs_nothing_that_draws() -> None:
    loaded = loaded_after(
        "from secops.output import Output\n"
        "from secops.output.outcome import Outcome\n"
        "Output().outcome(Outcome('unlock user', False, 1, 1, [{'email': 'a@example.com'}], undo='x'))"
    )
    assert "secops.output.as_table" in loaded
    assert not loaded & {
        "rich",
        "tabulate",
        "wcwidth",
        "csv",
        "psycopg",
        "typer",
        "sqlalchemy",
        "pydantic",
    }


def test_short_work_on_a_terminal_needs_nothing_that_draws_either() -> None:
    loaded = loaded_after(
        "import io\n"
        "from secops.output import Output\n"
        "class Tty(io.StringIO):\n"
        "    def isatty(self): return True\n"
        "output = Output(stdout=Tty(), stderr=Tty())\n"
        "with output.progress('Unlocking', 1) as progress: progress.advance()\n"
        "output.rows(['email', 'severity'], [['alice@example.com', 'high']], severity='severity')\n"
    )
    assert "secops.output.late_progress" in loaded
    assert not loaded & {"rich", "tabulate", "wcwidth"}
