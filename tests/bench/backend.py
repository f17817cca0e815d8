"""The reference backend under load: refreshes and logins, with the client on the same machine.

What a refresh costs beyond its statements is told by a bare FastAPI endpoint that sends as many of them:
both are one uvicorn process with a pool of ten, asked by the same threads in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2

from bench.measure import Section, milliseconds
from secops.accounts.login.hashing import Hasher
from support.databases import Command, Database, create_app
from support.servers import Server, free_port
from support.serving import serving

_CLIENTS: Final = 4
_SECONDS: Final = 10.0
_ROUNDS: Final = 3
_REFRESHES: Final = 20
_LOGINS: Final = 4
"""A second: what 2 cores carry beside the client that asks."""
PASSWORD: Final = "SecurePass123!"


def measure(server: Server, _: argparse.Namespace) -> Section:
    """Serve, ask, and compare."""
    section = Section(
        "The reference backend",
        ("what", "secops serve", "a bare endpoint", "ratio"),
        about=f"One uvicorn process each, {_CLIENTS} clients on the same machine. The bare endpoint sends as "
        "many statements in its transaction as a refresh does, two of them writes, and looks at its "
        "connection first, as ours does. Logins verify argon2id (19 MiB, 2 passes).",
    )
    database = Database(server, server.create())
    create_app(database)
    with tempfile.TemporaryDirectory() as folder:
        command = Command(Path(folder)).on(database)
        assert command("migrate", "--yes").code == 0
        database.execute(
            "INSERT INTO users (email, password_hash) SELECT 'p' || g || '@example.com', %s"
            " FROM generate_series(1, 50) g", (Hasher().hash(PASSWORD),),
        )  # fmt: skip
        database.execute(
            "CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text)"
        )
        with (
            serving(command, RATE_LIMIT_LOGIN_ATTEMPTS="100000") as there,
            _bare(database) as bare,
        ):
            _measured(section, there.url, bare)
    server.drop(database.name)
    return section


def _measured(section: Section, url: str, bare: str) -> None:
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        ours.append(_throughput(lambda number: _refresher(url, number)))
        theirs.append(_throughput(lambda _: _plain(bare)))
    mine, other = statistics.median(ours), statistics.median(theirs)
    section.add("refreshes a second", f"{mine:,.0f}", f"{other:,.0f}", f"{mine / other:.2f}")
    refreshes = _paced(_refresher(url, 40), _REFRESHES)
    plain = _paced(_plain(bare), _REFRESHES)
    section.add(
        f"refresh, 95th percentile at {_REFRESHES} a second",
        milliseconds(refreshes), milliseconds(plain), f"{refreshes / plain:.2f}",
    )  # fmt: skip
    logins = _paced(_logger(url), _LOGINS)
    section.add(f"login, 95th percentile at {_LOGINS} a second", milliseconds(logins), "-", "-")


def _login(client: httpx2.Client, number: int) -> str:
    answer = client.post(
        "/v1/auth/login", json={"email": f"p{number + 1}@example.com", "password": PASSWORD}
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["set-cookie"].split(";")[0]


def _refresher(url: str, number: int) -> Callable[[], None]:
    client = httpx2.Client(base_url=url, timeout=30)
    cookie = _login(client, number)

    def once() -> None:
        nonlocal cookie
        answer = client.post("/v1/auth/refresh", headers={"cookie": cookie})
        assert answer.status_code == 200, answer.text
        cookie = answer.headers["set-cookie"].split(";")[0]

    return once


def _logger(url: str) -> Callable[[], None]:
    client = httpx2.Client(base_url=url, timeout=30)
    numbers = iter(range(10_000))
    return lambda: _discard(_login(client, next(numbers) % 50))


def _discard(_: object) -> None:
    return None


def _plain(url: str) -> Callable[[], None]:
    client = httpx2.Client(base_url=url, timeout=30)

    def once() -> None:
        assert client.post("/refresh").status_code == 200

    return once


def _throughput(made: Callable[[int], Callable[[], None]]) -> float:
    """Return how many a second the clients get through, each asking as soon as it is answered."""
    workers = [made(number) for number in range(_CLIENTS)]
    counts = [0] * _CLIENTS
    until = time.monotonic() + _SECONDS

    def work(number: int) -> None:
        while time.monotonic() < until:
            workers[number]()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / _SECONDS


def _paced(once: Callable[[], None], rate: int) -> float:
    """Return the 95th percentile of the time from when a request was due, at a rate, to its answer."""
    for _ in range(5):
        once()
    taken, began = [], time.monotonic()
    for number in range(round(rate * _SECONDS)):
        due = began + number / rate
        time.sleep(max(0.0, due - time.monotonic()))
        once()
        taken.append(time.monotonic() - due)
    return statistics.quantiles(taken, n=20)[-1]


@contextmanager
def _bare(database: Database) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "bench.bare:app", "--port", str(port), "--no-access-log",
         "--log-level", "error"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
             "BARE_DATABASE_URL": database.url},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx2.Client(base_url=url) as client:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    if client.get("/healthz").status_code == 200:
                        break
                except httpx2.TransportError:
                    time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()
