"""Importing events beside a COPY of the same rows by hand.

Usage: ``python tests/bench/imports.py --url URL [--rows 500000]``; the URL names any database of a server on
which databases may be created.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.measure import Section, tell
from bench.prune import Bench
from support.databases import APP, Command
from support.servers import Server

AGENTS = [
    f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{n}.0" for n in range(100, 130)
]
KINDS = [
    "login_success",
    "login_failed",
    "token_refresh",
    "token_refresh",
    "token_refresh",
    "logout",
]


def write(path: Path, rows: int, *, ids: bool) -> None:
    """Write events as an app logs them, over the last thirty days."""
    rng = random.Random(3)
    begun = datetime.now(UTC) - timedelta(days=30)
    people = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(20_000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            kind = rng.choice(KINDS)
            person = rng.randrange(20_000)
            event = {
                "event_type": kind,
                "event_category": "authentication",
                "severity": "warning" if kind == "login_failed" else "info",
                "user_id": people[person],
                "email": f"person{person}@example.com",
                "ip_address": f"198.51.{person % 250}.{rng.randrange(250)}",
                "user_agent": rng.choice(AGENTS),
                "request_path": "/auth/login",
                "request_method": "POST",
                "success": kind != "login_failed",
                "message": "Wrong password." if kind == "login_failed" else None,
                "metadata": {"request_id": f"{number:08x}", "region": "eu"},
                "created_at": (begun + timedelta(days=30) * (number / rows)).isoformat(),
            }
            if ids:
                event["id"] = str(uuid.UUID(int=rng.getrandbits(128)))
            file.write(json.dumps(event) + "\n")


def prepared(bench: Bench, name: str) -> tuple[str, Command]:
    """Make a hardened database and the command on it."""
    made = bench.create(name)
    with bench.connect(made) as conn:
        conn.execute(APP.encode())
    url = bench.on(made)
    command = Command(Path(tempfile.mkdtemp(prefix="secops-bench-")), {"SECOPS_DATABASE_URL": url})
    done = command("migrate", "--yes")
    assert done.code == 0, done.err
    return made, command


def copied(bench: Bench, path: Path) -> float:
    """Load the events with COPY, as one would who has them as PostgreSQL wants them."""
    made, command = prepared(bench, "secops_bench_copy")
    assert command("import", "events", str(path)).code == 0
    with bench.connect(made) as conn:
        conn.execute("DELETE FROM security_events WHERE event_category = 'operator'")
        with conn.cursor() as cursor, cursor.copy("COPY security_events TO STDOUT") as copy:
            data = b"".join(copy)
        conn.execute("TRUNCATE security_events")
        conn.execute("CHECKPOINT")
        begun = time.perf_counter()
        with conn.cursor() as cursor, cursor.copy("COPY security_events FROM STDIN") as copy:
            for start in range(0, len(data), 1 << 17):
                copy.write(data[start : start + (1 << 17)])
        return time.perf_counter() - begun


def table(bench: Bench, rows: int) -> Section:
    """Measure each way."""
    section = Section(
        "import events",
        ("what", "time", "events a second"),
        f"{rows:,} events, about 450 bytes of JSON each, into an empty table with all its indexes; the whole "
        "command, with start-up. COPY gets them ready made, checks nothing and cannot be repeated.",
    )

    def add(what: str, seconds: float) -> None:
        section.add(what, f"{seconds:.2f} s", f"{rows / seconds:,.0f}")

    with tempfile.TemporaryDirectory(prefix="secops-bench-") as folder:
        with_ids, without = Path(folder, "ids.jsonl"), Path(folder, "events.jsonl")
        tell(f"import: {rows:,} events ...")
        write(with_ids, rows, ids=True)
        write(without, rows, ids=False)
        try:
            add("COPY by hand", copied(bench, with_ids))
            for what, path in (("events with ids", with_ids), ("events without", without)):
                _, command = prepared(bench, "secops_bench_import")
                for again in ("", ", again"):
                    begun = time.perf_counter()
                    done = command("import", "events", str(path), "--json", timeout=3600)
                    seconds = time.perf_counter() - begun
                    assert done.code == 0, done.err
                    assert done.json()["changed"] == (0 if again else rows)
                    add(what + again, seconds)
            begun = time.perf_counter()
            done = command("import", "events", str(without), "--dry-run", timeout=3600)
            assert done.code == 0, done.err
            add("--dry-run", time.perf_counter() - begun)
        finally:
            bench.drop()
    return section


def measure(server: Server, options: argparse.Namespace) -> Section:
    """Run it on the server of ``make bench``."""
    return table(Bench(server.url()), options.import_events)


def main() -> None:
    """Run it on a server that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True, help="any database of the server")
    parser.add_argument("--rows", type=int, default=500_000, help="events")
    options = parser.parse_args()
    print(table(Bench(options.url), options.rows).markdown())


if __name__ == "__main__":
    main()
