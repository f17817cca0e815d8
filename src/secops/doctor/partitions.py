"""The partitions of security_events: months that run out, and work that was cut short."""

from __future__ import annotations

from secops.doctor.check import Need, Patient, Result, check, fail, ok, skipped, warn
from secops.schema.partitions.findings import Finding, findings
from secops.schema.partitions.picture import look
from secops.schema.partitions.retire import marked


@check("partitions", "Partitions of security_events", needs=Need.USERS)
def ahead(patient: Patient) -> Result:
    """An event that no partition takes fails, and with it what the app was doing."""
    there = look(patient.conn, patient.layout)
    if there.kind is None:
        return skipped("security_events is not there yet")
    found = list(findings(there))
    found += [
        Finding(
            f"{each.name} was detached to be dropped, and the run that did so has not ended",
            "secops cron cleanup   # drops it, or attaches it again",
        )
        for each in marked(patient.conn)
        if not each.attached
    ]
    if found:
        tell = fail if any(each.urgent for each in found) else warn
        mends = dict.fromkeys(each.mend for each in found)
        return tell("; ".join(each.what for each in found), "\n".join(mends))
    if not there.monthly:
        return ok(f"it is one plain table of about {there.rows:,} rows")
    return ok(
        f"there are {len(there.partitions)}, and {there.months_ahead} whole months ahead have theirs"
    )
