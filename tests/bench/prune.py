"""Pruning beside one raw DELETE, while an app updates tokens of the same table.

Usage: ``python tests/bench/prune.py --url URL [--rows 4000000]``; the URL names any database of a server on
which databases may be created. Half of the tokens have been expired for longer than seven days.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.measure import Section, milliseconds, tell
from support.busy_app import App, at_work, quantile
from support.databases import APP, Command
from support.servers import Connection, Server

RAW = "DELETE FROM refresh_tokens WHERE expires_at < now() - interval '7 days'"

# `plain` is what an app with the plan's own columns has; `rotated` has families of 300 tokens, of which all
# but the last are used, and every second family is alive.
SHAPES = {
    "plain": "g % 20000, false, NULL::uuid, false, (g * 2.0 / {rows} - 1) * interval '14 days'",
    "rotated": "g % 20000, g <= {rows} - {rows} / 300, md5((g % ({rows} / 300))::text)::uuid,"
    " g % 2 = 0, (g * 2.0 / {rows} - 1) * interval '14 days'",
}
UPDATES_PER_SECOND = 400
SESSIONS = 8
ROUNDS = 3


@dataclass(frozen=True)
class Place:
    """A database, by its URL."""

    url: str


@dataclass(frozen=True)
class Run:
    """One way to delete, once.

    Attributes:
        rows: How many it deleted.
        seconds: In how many seconds.
        updates: Seconds of each of the app's updates meanwhile.
        failed: What went wrong with others.
    """

    rows: int
    seconds: float
    updates: list[float]
    failed: list[str]


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
    raw, mine = (sorted(runs, key=lambda each: each.seconds)[ROUNDS // 2] for runs in (raws, ours))
    # Both are compared by rows a second: of the rotated tokens prune keeps what is evidence.
    ratio = (mine.rows / mine.seconds) / (raw.rows / raw.seconds)
    return (
        shape,
        f"{raw.rows:,} in {raw.seconds:.2f} s",
        f"{mine.rows:,} in {mine.seconds:.2f} s",
        f"{ratio:.2f}",
        *(_beside(runs) for runs in (raws, ours)),
    )


def _beside(runs: list[Run]) -> str:
    """Say how long the app's updates took beside all runs of a kind."""
    updates = [took for run in runs for took in run.updates]
    failed = sum(len(run.failed) for run in runs)
    return (
        f"{milliseconds(quantile(updates, 0.999))} / {milliseconds(max(updates))}"
        f" of {len(updates):,}, {failed} failed"
    )


def _raw(bench: Bench, built: str) -> Run:
    """Run the DELETE."""
    name = bench.create("secops_bench_raw", built)
    with bench.connect(name) as conn:
        _warm(conn)
        with app(bench, name) as beside:
            begun = time.monotonic()
            rows = conn.execute(RAW.encode()).rowcount
            ended = time.monotonic()
    # Else autovacuum would clean up after it while the next one is measured.
    bench.drop(name)
    return Run(rows, ended - begun, beside.between(begun, ended), beside.failed)


def _ours(bench: Bench, built: str, command: Command) -> Run:
    """Run the command."""
    name = bench.create("secops_bench_ours", built)
    with bench.connect(name) as conn:
        _warm(conn)
    with app(bench, name) as beside:
        begun = time.monotonic()
        done = command(
            "prune", "tokens", "--yes", "--json",
            env={"SECOPS_DATABASE_URL": bench.on(name)}, timeout=3600,
        )  # fmt: skip
        ended = time.monotonic()
    assert done.code == 0, done.err
    bench.drop(name)
    found = done.json()
    return Run(found["changed"], found["seconds"], beside.between(begun, ended), beside.failed)


def app(bench: Bench, name: str) -> contextlib.AbstractContextManager[App]:
    """Let an app update random tokens for the length of a block."""
    where = Place(bench.on(name))
    return at_work(where, sessions=SESSIONS, rate=UPDATES_PER_SECOND, work="tokens")


def _warm(conn: Connection) -> None:
    conn.execute("CHECKPOINT")
    conn.execute("SELECT count(*) FROM refresh_tokens WHERE device_info IS NULL")


def table(bench: Bench, rows: int) -> Section:
    """Compare both shapes."""
    section = Section(
        "prune tokens",
        (
            "tokens", "one DELETE", "secops prune tokens", "speed, ours / DELETE",
            "updates beside DELETE, 99.9 % within / longest", "beside ours",
        ),
        f"{rows:,} tokens, half of them expired for longer than seven days; medians of {ROUNDS} "
        "runs in turn, and the updates beside all of them: random tokens, "
        f"{UPDATES_PER_SECOND} times a second in {SESSIONS} sessions of a process of its own. "
        "`rotated`: families of 300 tokens, every second "
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
    parser.add_argument("--rows", type=int, default=4_000_000, help="tokens")
    options = parser.parse_args()
    print(table(Bench(options.url), options.rows).markdown())


if __name__ == "__main__":
    main()
