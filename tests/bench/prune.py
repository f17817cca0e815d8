"""Pruning beside one raw DELETE, while an app updates tokens of the same table.

Usage: ``python tests/bench/prune.py --url URL [--rows 3000000]``; the URL names any database of a server on
which databases may be created. Two thirds of the tokens have been expired for longer than seven days.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.measure import Section, milliseconds, tell
from support.databases import APP, Command
from support.servers import Connection, Server

RAW = "DELETE FROM refresh_tokens WHERE expires_at < now() - interval '7 days'"

# `plain` is what an app with the plan's own columns has; `rotated` has families of 300 tokens, of which all
# but the last are used, and every second family is alive.
SHAPES = {
    "plain": "g % 20000, false, NULL::uuid, false, (g * 3.0 / {rows} - 2) * interval '14 days'",
    "rotated": "g % 20000, g <= {rows} - {rows} / 300, md5((g % ({rows} / 300))::text)::uuid,"
    " g % 2 = 0, (g * 3.0 / {rows} - 2) * interval '14 days'",
}
UPDATES_PER_SECOND = 300
ROUNDS = 3


@dataclass
class Bench:
    """A server to make databases on."""

    url: str
    made: list[str] = field(default_factory=list)

    def on(self, database: str) -> str:
        """Return the URL of another database of the server."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=f"/{database}"))

    def connect(self, database: str) -> Connection:
        """Open a connection."""
        return psycopg.connect(self.on(database), autocommit=True)

    def create(self, name: str, template: str = "template1") -> str:
        """Create a database, instead of one that an earlier run left."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        self.made.append(name)
        return name

    def drop(self, *names: str) -> None:
        """Drop databases, or all that were made."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            for name in names or self.made:
                conn.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
                )


@dataclass
class Waits:
    """How long a concurrent update took."""

    longest: float = 0.0
    count: int = 0


@contextlib.contextmanager
def app(url: str) -> Iterator[Waits]:
    """Update random tokens for the length of a block, as an app does."""
    waits = Waits()
    stop = threading.Event()
    with psycopg.connect(url, autocommit=True) as conn:
        ids = [
            row[0]
            for row in conn.execute("SELECT id FROM refresh_tokens TABLESAMPLE BERNOULLI (0.5)")
        ]
        rng = random.Random(7)

        def update() -> None:
            while not stop.is_set():
                begun = time.perf_counter()
                conn.execute(
                    "UPDATE refresh_tokens SET device_info = 'seen' WHERE id = %s",
                    (rng.choice(ids),),
                )
                waits.longest = max(waits.longest, time.perf_counter() - begun)
                waits.count += 1
                stop.wait(1 / UPDATES_PER_SECOND)

        thread = threading.Thread(target=update)
        thread.start()
        try:
            yield waits
        finally:
            stop.set()
            thread.join()


def build(bench: Bench, shape: str, rows: int) -> str:
    """Build a database with tokens and return its name."""
    name = bench.create(f"secops_bench_{shape}")
    with bench.connect(name) as conn:
        conn.execute(APP.encode())
        conn.execute(
            "INSERT INTO users (email, password_hash)"
            " SELECT 'p' || g || '@example.com', '' FROM generate_series(0, 19999) g"
        )
    command = Command(Path(tempfile.mkdtemp(prefix="secops-bench-")))
    done = command("migrate", "--yes", env={"SECOPS_DATABASE_URL": bench.on(name)})
    assert done.code == 0, done.err
    with bench.connect(name) as conn:
        # Checking three million references to users would be most of what building takes.
        conn.execute("SET session_replication_role = replica")
        conn.execute(
            f"""
            INSERT INTO refresh_tokens (user_id, used, family_id, revoked, expires_at, token_hash,
                                        device_info, ip_address)
            SELECT u.ids[1 + n.place], n.used, n.family, n.revoked,
                   now() - interval '7 days' + n.away,
                   encode(sha256(n.g::text::bytea), 'hex'),
                   'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
                   '198.51.100.' || n.g % 250
            FROM (SELECT array_agg(id) AS ids FROM users) u,
                 (SELECT g, {SHAPES[shape].format(rows=rows)} FROM generate_series(1, {rows}) g)
                     AS n (g, place, used, family, revoked, away)
            """.encode()
        )
        conn.execute("VACUUM (ANALYZE) refresh_tokens")
    return name


def compare(bench: Bench, shape: str, rows: int) -> tuple[str, ...]:
    """Delete the same tokens both ways; return the cells of a row."""
    tell(f"prune: {rows:,} {shape} tokens ...")
    built = build(bench, shape, rows)
    command = Command(Path(tempfile.mkdtemp(prefix="secops-bench-")))

    raws, ours = [], []
    for _ in range(ROUNDS):
        raws.append(_raw(bench, built))
        ours.append(_ours(bench, built, command))
    raw_rows, raw, _ = sorted(raws, key=lambda each: each[1])[ROUNDS // 2]
    changed, seconds, _ = sorted(ours, key=lambda each: each[1])[ROUNDS // 2]
    raw_wait, wait = (max(each[2] for each in runs) for runs in (raws, ours))
    # Both are compared by rows a second: of the rotated tokens prune keeps what is evidence.
    ratio = (changed / seconds) / (raw_rows / raw)
    return (
        shape,
        f"{raw_rows:,} in {raw:.2f} s",
        f"{changed:,} in {seconds:.2f} s",
        f"{ratio:.2f}",
        milliseconds(raw_wait),
        milliseconds(wait),
    )


def _raw(bench: Bench, built: str) -> tuple[int, float, float]:
    """Run the DELETE; return its rows, its seconds, and the longest update beside it."""
    name = bench.create("secops_bench_raw", built)
    with bench.connect(name) as conn:
        _warm(conn)
        with app(bench.on(name)) as waits:
            begun = time.perf_counter()
            rows = conn.execute(RAW.encode()).rowcount
            seconds = time.perf_counter() - begun
    # Else autovacuum would clean up after it while the next one is measured.
    bench.drop(name)
    return rows, seconds, waits.longest


def _ours(bench: Bench, built: str, command: Command) -> tuple[int, float, float]:
    """Run the command; return the same."""
    name = bench.create("secops_bench_ours", built)
    with bench.connect(name) as conn:
        _warm(conn)
    with app(bench.on(name)) as waits:
        done = command(
            "prune", "tokens", "--yes", "--json",
            env={"SECOPS_DATABASE_URL": bench.on(name)}, timeout=3600,
        )  # fmt: skip
    assert done.code == 0, done.err
    bench.drop(name)
    found = done.json()
    return found["changed"], found["seconds"], waits.longest


def _warm(conn: Connection) -> None:
    conn.execute("CHECKPOINT")
    conn.execute("SELECT count(*) FROM refresh_tokens WHERE device_info IS NULL")


def table(bench: Bench, rows: int) -> Section:
    """Compare both shapes."""
    section = Section(
        "prune tokens",
        (
            "tokens", "one DELETE", "secops prune tokens", "speed, ours / DELETE",
            "longest update beside DELETE", "longest update beside ours",
        ),
        f"{rows:,} tokens, two thirds of them expired for longer than seven days; medians of {ROUNDS} "
        "runs in turn, and the longest update of all; meanwhile random tokens "
        f"are updated, {UPDATES_PER_SECOND} times a second. `rotated`: families of 300 tokens, every second "
        "one alive, of which prune keeps the used tokens as evidence and the DELETE does not.",
    )  # fmt: skip
    try:
        for shape in SHAPES:
            section.add(*compare(bench, shape, rows))
    finally:
        bench.drop()
    return section


def measure(server: Server, options: argparse.Namespace) -> Section:
    """Run it on the server of ``make bench``."""
    return table(Bench(server.url()), options.tokens)


def main() -> None:
    """Run it on a server that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True, help="any database of the server")
    parser.add_argument("--rows", type=int, default=3_000_000, help="tokens")
    options = parser.parse_args()
    print(table(Bench(options.url), options.rows).markdown())


if __name__ == "__main__":
    main()
