"""Importing events, beside psql's own COPY into the plan's table."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.measure import Section, tell, timed
from support.databases import Command, Database, create_app
from support.servers import Server

COLUMNS = "id,event_type,event_category,severity,email,ip_address,user_agent,success,created_at"


def measure(server: Server, options: argparse.Namespace) -> Section:
    """Import JSON Lines and CSV; beside them the CSV by ``\\copy``, which checks and records nothing."""
    total: int = options.import_events
    tell(f"import: {total:,} events ...")
    folder = Path(tempfile.mkdtemp(prefix="secops-bench-"))
    rows = _rows(total)
    lines, table = folder / "events.jsonl", folder / "events.csv"
    keys = COLUMNS.split(",")
    lines.write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows))
    table.write_text(COLUMNS + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    section = Section(
        "Importing events",
        ("what", "seconds", "events a second", "ratio"),
        f"{total:,} events into the hardened table, with its indexes; the whole process.",
    )
    beside = 0.0
    if shutil.which("psql"):
        database = _hardened(server, folder)
        copy = f"\\copy security_events ({COLUMNS}) FROM '{table}' WITH (FORMAT csv, HEADER)"
        env = {"PATH": os.environ["PATH"]}
        beside = timed(
            lambda: subprocess.run(
                ["psql", "-q", database.url, "-c", copy], env=env, check=True, capture_output=True
            )
        )
        section.add("`psql \\copy` of the CSV", f"{beside:.1f}", f"{total / beside:,.0f}", "")
    for path in (lines, table):
        database = _hardened(server, folder)
        command = Command(folder).on(database)
        taken = timed(lambda path=path, command=command: _import(command, path, total))  # type: ignore[misc]
        ratio = f"{beside / taken:.2f}" if beside else ""
        section.add(
            f"`secops import events` ({path.suffix[1:]})",
            f"{taken:.1f}",
            f"{total / taken:,.0f}",
            ratio,
        )
    return section


def _import(command: Command, path: Path, total: int) -> None:
    done = command("import", "events", str(path), "--yes", "--json", timeout=600)
    assert done.code == 0, done.err
    assert done.json()["changed"] == total


def _hardened(server: Server, folder: Path) -> Database:
    database = Database(server, server.create())
    create_app(database)
    done = Command(folder).on(database)("migrate", "--yes")
    assert done.code == 0, done.err
    return database


def _rows(total: int) -> list[tuple[str, ...]]:
    begun = datetime.now(UTC) - timedelta(days=30)
    step = timedelta(days=29) / total
    agent = "Mozilla/5.0 (X11; Linux x86_64) Chrome/139.0.0.0"
    return [
        (
            str(uuid.UUID(int=number * 0x9E3779B97F4A7C15 % 2**128)),
            "login_failed" if number % 7 == 0 else "login_success",
            "authentication",
            "warning" if number % 7 == 0 else "info",
            f"person{number % 20_000}@example.com",
            f"100.{64 + number % 64}.{number % 251}.{number % 13}",
            agent,
            "false" if number % 7 == 0 else "true",
            (begun + number * step).isoformat(),
        )
        for number in range(total)
    ]
