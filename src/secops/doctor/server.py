"""The server: its version, its encoding, whether it takes writes."""

from __future__ import annotations

from typing import Final

from secops.doctor.check import Patient, Result, check, fail, ok, warn

SUPPORTED: Final = range(14, 19)
"""The PostgreSQL majors that secops supports."""


@check("server-version", "PostgreSQL version")
def version(patient: Patient) -> Result:
    """Compare the server's version with what is supported."""
    row = patient.conn.execute("SELECT current_setting('server_version')").fetchone()
    assert row is not None
    major = patient.conn.info.server_version // 10_000
    supported = f"{SUPPORTED[0]} to {SUPPORTED[-1]}"
    if major < SUPPORTED[0]:
        return fail(
            f"{row[0]}; supported are {supported}", f"Upgrade to PostgreSQL {SUPPORTED[0]}."
        )
    if major > SUPPORTED[-1]:
        return warn(f"{row[0]}; secops was tested with {supported}", "Look for a newer secops.")
    return ok(f"{row[0]}; supported are {supported}")


@check("encoding", "Encoding")
def encoding(patient: Patient) -> Result:
    """Make sure that any e-mail address can travel."""
    row = patient.conn.execute(
        "SELECT current_setting('server_encoding'), current_setting('client_encoding')"
    ).fetchone()
    assert row is not None
    if row[1] == "UTF8":
        return ok(f"{row[0]} in the database, UTF8 on the way")
    return warn(
        f"{row[0]} in the database, {row[1]} on the way: not every text can be read or written",
        "Set PGCLIENTENCODING=UTF8.",
    )


@check("writable", "Takes changes")
def writable(patient: Patient) -> Result:
    """Look for a replica, or a default that refuses writes."""
    row = patient.conn.execute(
        "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')"
    ).fetchone()
    assert row is not None
    if row[0]:
        return warn(
            "this is a replica: reports work, changes do not",
            "Point database_url at the primary; reports may use this one as report_database_url.",
        )
    if row[1] == "on":
        return warn(
            "default_transaction_read_only is on: reports work, changes do not",
            "ALTER ROLE … RESET default_transaction_read_only; or the same with ALTER DATABASE.",
        )
    return ok("it is a primary")
