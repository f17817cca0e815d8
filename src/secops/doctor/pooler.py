"""Does a transaction pooler stand between us and the server?"""

from __future__ import annotations

from secops.database.connection import is_pooled
from secops.doctor.check import Patient, Result, check, fail, ok, warn

_MEND = "Name the server itself: direct_url in secops.yaml or SECOPS_DIRECT_URL; `secops migrate` uses it."


@check("pooler", "Transaction pooler")
def between(patient: Patient) -> Result:
    """Look for a pooler, and for a way around it."""
    if not is_pooled(patient.conn):
        return ok("none: the connection goes to the server itself")
    if patient.settings.secret("direct_url") is None:
        return warn("one stands in between; migrations need a session of their own", _MEND)
    with patient.open_connection("direct_url") as direct:
        if is_pooled(direct):
            return fail("one stands in between, and direct_url goes through one too", _MEND)
        same = "SELECT current_database(), pg_postmaster_start_time()"
        if direct.execute(same).fetchone() != patient.conn.execute(same).fetchone():
            return fail("one stands in between, and direct_url goes to another database", _MEND)
    return ok("one stands in between; direct_url goes to the server itself")
