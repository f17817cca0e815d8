"""``secops doctor``."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Annotated, Final

import typer

import secops
from secops.cli.command import Run
from secops.cli.command import command as declare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secops.doctor.examination import Examination

_MARKS: Final = {"ok": "✓", "warn": "!", "fail": "✗", "skipped": "-"}


@declare("doctor")
def command(
    run: Run,
    settings: Annotated[
        bool,
        typer.Option("--settings", help="Show every setting and where it came from, and stop."),
    ] = False,
) -> None:
    r"""Say what works, what does not, and how to mend it.

    Each check prints what it saw and, where something is amiss, the command or the SQL that mends it.
    It changes nothing. It shows no password, no host and no row of a table, so that it can be pasted into
    an issue; names of roles, of the database and of the users table it does show.

    Exits 0 where nothing failed (warnings are no failure), 3 where a check failed, 10 where there is no
    connection to the database.

    \b
    Examples:
      secops doctor
      secops doctor --json | jq '.checks[] | select(.status == "fail")'
      secops doctor --settings
    """
    from secops.doctor import own

    if settings:
        run.output.rows(("setting", "value", "from", "help"), own.rows(run.settings))
        return
    from secops.doctor.check import Patient, Status
    from secops.doctor.examination import examine
    from secops.errors import Findings

    found = examine(Patient(run.settings, run.open))
    about = {"secops": secops.__version__, "python": platform.python_version()}
    run.output.document({**about, **found.as_dict()}, _lines(found, about))
    if found.unreachable is not None:
        raise found.unreachable
    if failed := found.count(Status.FAIL):
        raise Findings(
            f"{failed} {'check' if failed == 1 else 'checks'} failed.",
            hint="Under each ✗ stands what mends it.",
        )


def _lines(found: Examination, about: dict[str, str]) -> Iterator[str]:
    for check, result in found.results:
        yield f"{_MARKS[result.status]} {check.title}: {result.evidence}"
        for line in result.mend.splitlines():
            yield f"    {line}"
    yield ""
    counts = found.as_dict()
    yield (
        f"{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed, "
        f"{counts['skipped']} skipped (secops {about['secops']}, Python {about['python']})"
    )
