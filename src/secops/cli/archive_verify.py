"""``secops archive verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.errors import Findings, UsageError

Folder = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="The archive's folder. [default: archive.dir]"),
]


def folder_of(run: Run, given: Path | None) -> Path:
    """Return the archive that the call names, or the settings.

    Raises:
        UsageError: Neither names one.
    """
    found = given or run.settings.folder("archive.dir")
    if found is None:
        raise UsageError(
            "No archive is named.",
            hint="Give its folder, or set archive.dir in secops.yaml (SECOPS_ARCHIVE_DIR).",
        )
    return found


@declare("archive verify", database=False, rows=True)
def command(run: Run, *, folder: Folder = None) -> None:
    r"""Read every file of an archive and say what is not as it was written.

    A file that is missing, was changed, cut short or added, a manifest of which one byte is another, and
    an event that is there twice all end it with exit code 3, and each is named.

    It needs no database.

    \b
    Examples:
      secops archive verify /var/lib/secops/archive
      secops archive verify --json
    """
    from secops.archive.verify import verify

    where = folder_of(run, folder)
    with run.output.progress("Reading the archive", unit="files") as progress:
        found = verify(where, progress)
    problems = found.problems
    run.output.rows(
        ("file", "problem"),
        ((each.file, each.what) for each in problems),
        title=f"Archive {where}",
        empty="Everything is as it was written.",
    )
    span = f", from {found.first:%Y-%m-%d} to {found.last:%Y-%m-%d}" if found.first else ""
    run.output.note(
        f"{found.files:,} {'file' if found.files == 1 else 'files'} are whole: {found.rows:,} events, "
        f"{found.bytes:,} bytes{span}."
    )
    if found.unfinished:
        run.output.note(
            f"Events of {found.unfinished:,} of them are still being deleted from the database, or a run "
            "died while it did so; the next `secops prune events` ends that."
        )
    if problems:
        count = "1 problem was" if len(problems) == 1 else f"{len(problems):,} problems were"
        raise Findings(
            f"{count} found in the archive {where}.",
            hint="Put the files back from a backup of the archive. What was deleted is nowhere else.",
            details={"problems": [{"file": each.file, "problem": each.what} for each in problems]},
        )
