"""A real PgBouncer in transaction mode before a private server: a free loopback port, gone afterwards.

It refuses to run as root, as PostgreSQL does, and runs as the same user then. Where it is not installed
(Debian: ``apt-get install pgbouncer``), the tests that need it are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from support.databases import Database
from support.servers import Server, free_port

_CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
server_idle_timeout = 5
logfile = {folder}/log
"""


class PgBouncer:
    """A running PgBouncer.

    Attributes:
        server: What it stands before.
        port: Where it listens.
        size: How many connections to the server one database and user get.
    """

    def __init__(self, server: Server, program: Path, size: int) -> None:
        self.server = server
        self.port = free_port()
        self.size = size
        self._folder = Path(tempfile.mkdtemp(prefix="secops-bouncer-"))
        file = self._folder / "pgbouncer.ini"
        text = _CONFIGURATION.format(
            server=server.port, port=self.port, size=size, folder=self._folder
        )
        file.write_text(text, encoding="utf-8")
        if server.user is not None:
            os.chown(self._folder, server.user.pw_uid, server.user.pw_gid)
        self._process = subprocess.Popen(
            [program, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=server.user.pw_uid if server.user else None,
            group=server.user.pw_gid if server.user else None,
            extra_groups=[] if server.user else None,
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = (self._folder / "log").read_text(errors="replace")
                    raise RuntimeError(f"PgBouncer does not start:\n{said}") from None
                time.sleep(0.02)
            else:
                return

    def url(self, database: str | Database) -> str:
        """Return the URL of a database through it."""
        name = database if isinstance(database, str) else database.name
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}?sslmode=disable"

    def kill(self) -> None:
        """End it at once, and with it every connection."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def pgbouncer(server: Server, *, size: int = 5) -> Iterator[PgBouncer]:
    """Run a PgBouncer for the length of a block; skips the test where there is none."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    running = PgBouncer(server, Path(found), size)
    try:
        yield running
    finally:
        running.close()
