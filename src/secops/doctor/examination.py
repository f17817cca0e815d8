"""All checks, in order, and running them so that one that breaks does not end the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import psycopg

from secops.database.connection import transaction, translate
from secops.database.url import mask
from secops.doctor import (
    activity,
    clock,
    connection,
    extensions,
    migrations,
    own,
    partitions,
    pooler,
    privileges,
    server,
    targets,
    users,
)
from secops.doctor.check import Check, Need, Patient, Result, Status, fail, skipped
from secops.errors import SecopsError

if TYPE_CHECKING:
    from collections.abc import Iterable

CHECKS: Final[tuple[Check, ...]] = (
    own.config_file,
    own.folders,
    own.reports,
    own.patience,
    connection.reachable,
    connection.encrypted,
    pooler.between,
    connection.for_reports,
    server.version,
    server.encoding,
    server.writable,
    clock.difference,
    privileges.role,
    users.table,
    users.owner,
    migrations.applied,
    migrations.drift,
    migrations.indexes,
    privileges.reader,
    privileges.operator,
    privileges.migrator,
    activity.long_transactions,
    activity.vacuum,
    partitions.ahead,
    extensions.statements,
    targets.described,
    targets.allowed,
)

_PATIENCE: Final = timedelta(seconds=5)


@dataclass
class Examination:
    """What all checks found.

    Attributes:
        results: Each check with its result, in order.
        unreachable: Why there is no connection, or why it was lost; ``None`` where it held.
    """

    results: list[tuple[Check, Result]] = field(default_factory=list)
    unreachable: SecopsError | None = None

    def count(self, status: Status) -> int:
        """Return how many checks went like this."""
        return sum(result.status is status for _, result in self.results)

    def as_dict(self) -> dict[str, object]:
        """Return it for ``--json``."""
        return {
            **{status.value: self.count(status) for status in Status},
            "checks": [
                {
                    "id": check.id,
                    "title": check.title,
                    "status": result.status.value,
                    "evidence": result.evidence,
                    "mend": result.mend,
                }
                for check, result in self.results
            ],
        }


def examine(patient: Patient, checks: Iterable[Check] = CHECKS) -> Examination:
    """Run the checks; each under a time limit, in a transaction that the server keeps read-only.

    Args:
        patient: What to look at; its connection is closed in the end.
        checks: In the order in which to run them.
    """
    found = Examination()
    try:
        for check in checks:
            found.results.append((check, _result(check, patient, found)))
    finally:
        patient.close()
    return found


def _result(check: Check, patient: Patient, found: Examination) -> Result:
    if not patient.has(check.needs):
        known = patient.has(Need.CONNECTION)
        return skipped("the users table is not known" if known else "there is no connection")
    try:
        return _look(check, patient)
    except psycopg.Error as error:
        told = translate(error)
        if not patient.has(Need.CONNECTION):
            found.unreachable = told
    except SecopsError as error:
        told = error
        if check is connection.reachable:
            found.unreachable = error
    except Exception as error:  # noqa: BLE001  a defect in one check must not hide what the others find
        return fail(
            f"the check itself broke: {type(error).__name__}: {mask(str(error))}",
            "This is a defect of secops; report it with this output.",
        )
    return fail(told.message.rstrip("."), told.hint)


def _look(check: Check, patient: Patient) -> Result:
    if check.needs is Need.NOTHING:
        return check.look(patient)
    with transaction(patient.conn, read_only=True, statement_timeout=_PATIENCE):
        return check.look(patient)
