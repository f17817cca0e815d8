"""Can we reach the database, and can anybody listen on the way?"""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING, Final

from secops.doctor.check import Need, Patient, Result, check, ok, skipped, warn

if TYPE_CHECKING:
    from secops.database.connection import Connection

# What libpq's documentation of sslmode says that each gives.
_CHECKED: Final = {
    "verify-full": "the server's certificate and name are checked",
    "verify-ca": "the server's certificate is checked, its name is not",
    "require": "the server's certificate is not checked",
}


@check("connection", "Connection", needs=Need.NOTHING)
def reachable(patient: Patient) -> Result:
    """Connect, and ask for nothing."""
    began = time.monotonic()
    conn = patient.connect()
    conn.execute("SELECT 1")
    took = (time.monotonic() - began) * 1000
    info = conn.info
    return ok(f"database {info.dbname} as role {info.user}, {_way(conn)}, in {took:.0f} ms")


@check("tls", "Encryption on the way")
def encrypted(patient: Patient) -> Result:
    """Look at whether TLS protects the connection where somebody could listen."""
    conn = patient.conn
    if _is_local(conn):
        return ok(f"not needed {_way(conn)}")
    mode = conn.info.get_parameters().get("sslmode", "prefer")
    mend = (
        "Add sslmode=verify-full to the database URL (and sslrootcert=FILE for a CA of your own); "
        "sslmode=require at the very least."
    )
    if not conn.pgconn.ssl_in_use:
        return warn(
            "plain TCP to another machine: passwords and hashes can be read on the way", mend
        )
    # Behind a pooler this describes the pooler's own connection to the server.
    row = conn.execute(
        "SELECT version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl"
    ).fetchone()
    what = f"{row[0]}, {row[1]}" if row else "TLS"
    if mode in _CHECKED:
        return ok(f"{what}; {_CHECKED[mode]}")
    return warn(f"{what}, but sslmode={mode} would go on without it where the server refuses", mend)


@check("reports-connection", "Connection for reports", needs=Need.NOTHING)
def for_reports(patient: Patient) -> Result:
    """Connect to ``report_database_url``, if there is one."""
    if patient.settings.secret("report_database_url") is None:
        return skipped("report_database_url is not set; reports use database_url")
    with patient.open_connection("report_database_url") as conn:
        row = conn.execute(
            """SELECT pg_is_in_recovery(), current_user::text,
                      (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"""
        ).fetchone()
        assert row is not None
        replica, role, superuser = row
        what = f"{'a replica' if replica else 'a primary'}, as role {role}, {_way(conn)}"
    if superuser:
        return warn(
            f"{what}: a superuser",
            "Reports need no more than the reader role of `secops init --print-grants`.",
        )
    return ok(what)


def _is_local(conn: Connection) -> bool:
    info = conn.info
    if info.host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(info.hostaddr or info.host).is_loopback
    except ValueError:
        return False


def _way(conn: Connection) -> str:
    """Say how the connection goes; the host's name stays out, for people paste this in public."""
    if conn.info.host.startswith(("/", "@")):
        return "over a Unix socket"
    if _is_local(conn):
        return f"on this machine, port {conn.info.port}"
    return f"on another machine, port {conn.info.port}"
