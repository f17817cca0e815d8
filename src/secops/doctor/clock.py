"""Do this machine and the server agree on the time?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from secops.doctor.check import Patient, Result, check, ok, warn
from secops.durations import about

if TYPE_CHECKING:
    from decimal import Decimal

LARGEST: Final = 5.0
"""Seconds of difference that nobody minds; the app that compares `expires_at` should not see more."""
_TRIES: Final = 3


@check("clock", "Clocks")
def difference(patient: Patient) -> Result:
    """Compare the clocks, counting half of the round trip as the way there."""
    measured = min((_measure(patient) for _ in range(_TRIES)), key=lambda pair: pair[1])
    apart, trip = measured
    if abs(apart) <= LARGEST:
        return ok(f"{abs(apart):.3f} s apart (round trip {trip * 1000:.1f} ms)")
    from datetime import timedelta  # noqa: PLC0415

    side = "behind" if apart > 0 else "ahead of"
    return warn(
        f"this machine is {about(timedelta(seconds=abs(apart)))} {side} the database's server",
        "Set the clock that is wrong (`timedatectl set-ntp true`). secops goes by the database's; an "
        "app that compares expires_at or locked_until with its own goes wrong by the difference.",
    )


def _measure(patient: Patient) -> tuple[float, float]:
    before = patient.now()
    row = patient.conn.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
    after = patient.now()
    assert row is not None
    there: Decimal = row[0]  # type: ignore[assignment]  # PostgreSQL's numeric
    return float(there) - (before + after) / 2, after - before
