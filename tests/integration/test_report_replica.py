"""Reports on a replica, as ``report_database_url`` names one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.databases import Command, Database
from support.servers import Server, free_port

pytestmark = pytest.mark.own_process


@pytest.fixture
def replica(server: Server) -> Iterator[Server]:
    """A hot standby that streams from the server."""
    standby: Server = object.__new__(Server)
    standby.binaries, standby.user, standby.port = server.binaries, server.user, free_port()
    standby.folder = Path(tempfile.mkdtemp(prefix="secops-pg-"))
    if server.user is not None:
        os.chown(standby.folder, server.user.pw_uid, server.user.pw_gid)
    server._run(
        "pg_basebackup", "-d", server.url(), "-D", str(standby.data), "-R", "-X", "stream", "-c", "fast",
    )  # fmt: skip
    with (standby.data / "postgresql.conf").open("a") as conf:
        conf.write(f"unix_socket_directories='{standby.folder}'\n")
    standby.start()
    yield standby
    standby.stop("immediate")
    shutil.rmtree(standby.folder, ignore_errors=True)


def test_reports_run_on_a_replica_and_say_so(
    hardened: Database, replica: Server, secops: Command
) -> None:
    hardened.execute(
        """INSERT INTO security_events (event_type, event_category, severity, email, ip_address, success)
           SELECT 'login_failed', 'authentication', 'warning', 'a@x.org', '2001:db8::1', false
           FROM generate_series(1, 30)"""
    )
    position = hardened.value("SELECT pg_current_wal_lsn()::text")
    with replica.connect(hardened.name) as conn:
        for _ in range(200):
            row = conn.execute(
                "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)
            ).fetchone()
            if row == (True,):
                break
            time.sleep(0.05)
    run = secops.on(hardened, SECOPS_REPORT_DATABASE_URL=replica.url(hardened.name))
    for name, column in (("failed-logins", "attempts"), ("suspicious-ips", "attempts")):
        shown = run("report", name, "--format", "jsonl")
        assert shown.code == 0, shown.err
        assert f'"{column}":30' in shown.out.replace(" ", "")
        assert "From a replica, up to " in shown.err
    assert "replica" not in secops.on(hardened)("report", "failed-logins").err
