"""``secops import events``."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self, TextIO

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.who import ask, count
from secops.errors import Conflict, Findings, UsageError
from secops.output.outcome import NoUndo, Outcome

if TYPE_CHECKING:
    from datetime import tzinfo

    from secops.accounts.event_files import Kind, Source
    from secops.accounts.event_import import Imported, Reading, Rejected

# Rejected lines that are told one by one; --rejects FILE has all.
_TOLD: Final = 20
_SHOWN: Final = 200


class InputFormat(StrEnum):
    """What a file of events may be."""

    JSONL = "jsonl"
    CSV = "csv"


@declare("import events", changes=True)
def command(
    run: Run,
    *,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="JSON Lines or CSV, may be gzipped; - reads stdin."),
    ],
    input_format: Annotated[
        InputFormat | None,
        typer.Option(
            "--input-format", help="What FILE is. [default: from its name, else how it begins]"
        ),
    ] = None,
    timezone: Annotated[
        str,
        typer.Option(
            "--timezone", metavar="ZONE", help="Of times that name none: Europe/Berlin, UTC."
        ),
    ] = "UTC",
    extra_to_metadata: Annotated[
        bool,
        typer.Option(
            "--extra-to-metadata",
            help="Put keys that no column has into metadata; else they reject.",
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Import nothing if any line is rejected.")
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects", metavar="FILE", help="Write each rejected line there, with its reason."
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the audit trail.")
    ] = None,
    ticket: Annotated[
        str | None, typer.Option("--ticket", metavar="ID", help="The ticket it belongs to.")
    ] = None,
) -> None:
    r"""Load events from JSON Lines or CSV.

    Each line is an object, or in CSV a row under a header, with the columns of security_events. Only
    event_type must be there. What else is missing is filled in: category, severity and success from the
    type, the time of the import where there is no created_at.

    Importing the same file again adds nothing. An event is known by its id, or where it has none by what
    it states and how often the file states the same.

    Lines that are no events are named with the reason and left out; the exit code is 3 then. Times that
    name no zone are taken as UTC, see --timezone.

    \b
    Examples:
      secops import events app.jsonl.gz --dry-run
      secops import events app.csv --timezone Europe/Berlin --rejects bad.jsonl
      journalctl -u app -o cat | secops import events - --extra-to-metadata
    """
    from secops.accounts import event_import
    from secops.accounts.patience import Patience
    from secops.database.locks import one_runner

    zone = _zone(timezone)
    run.reason, run.ticket = reason, ticket
    operation = run.operation(upkeep=True)
    with _Told(run, rejects) as told, ExitStack() as stack:
        given = _Given(file, input_format, strict=strict, keep=stack)
        conn = stack.enter_context(run.connect())
        layout = run.layout(conn)

        @contextmanager
        def reading(doing: str, reject: Callable[[Rejected], None]) -> Iterator[Reading]:
            rows = event_import.rows_of(
                conn, layout, timezone=zone, extra_to_metadata=extra_to_metadata
            )
            with (
                given.open() as source,
                run.output.progress(doing, source.size, "bytes") as progress,
            ):
                yield event_import.Reading(source, rows, reject, progress)

        if run.dry_run:
            with reading("Checking events", told) as read:
                done = event_import.check(conn, layout, read)
            run.finish(_outcome(done, given.name, told, dry_run=True))
            told.judge(done, strict=strict)
            return
        if strict:
            with reading("Checking events", told) as read:
                told.judge(event_import.validate(read), strict=True)
        ask(run, f"Import the events of {given.name}?", bulk=False)
        with (
            one_runner(run.open, run.name) as runner,
            reading("Importing events", _changed if strict else told) as read,
        ):
            done = event_import.Importer(
                conn, layout, operation, read, Patience.of(run.settings), runner.check
            ).run()
        run.finish(
            _outcome(done, given.name, told, operation_id=str(operation.id) if done.new else "")
        )
        told.judge(done, strict=False)


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, a path, a folder
        raise UsageError(
            f"There is no time zone {name!r}.", hint="Write UTC, or a name like Europe/Berlin."
        ) from None


@dataclass
class _Given:
    """The file that the call names; stdin is kept aside where it must be read twice."""

    file: str
    input_format: InputFormat | None
    strict: bool
    keep: ExitStack
    path: str = field(init=False)

    def __post_init__(self) -> None:
        self.path = self.file
        if self.strict and self.file == "-":
            folder = self.keep.enter_context(tempfile.TemporaryDirectory(prefix="secops-"))
            kept = Path(folder) / "stdin"
            with kept.open("wb") as target:
                shutil.copyfileobj(sys.stdin.buffer, target)
            self.path = str(kept)

    @property
    def name(self) -> str:
        """What people call it."""
        return "stdin" if self.file == "-" else self.file

    def open(self) -> Source:
        """Open it, from its beginning."""
        from secops.accounts.event_files import Source

        kind: Kind | None = self.input_format.value if self.input_format else None
        return Source(self.path, kind, name=self.name)


def _changed(rejected: Rejected) -> None:
    raise Conflict(
        f"The file has changed since it was checked: line {rejected.line:,} is no event any more.",
        hint="What was imported stands. Import it again.",
    )


class _Told:
    """Tells of rejected lines: the first of them on stderr, all of them in a file if there is one."""

    def __init__(self, run: Run, path: Path | None) -> None:
        self._output = run.output
        self._path = path
        self._file: TextIO | None = None
        self.first: list[dict[str, object]] = []

    def __enter__(self) -> Self:
        if self._path is not None:
            self._file = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __call__(self, rejected: Rejected) -> None:
        """Tell of one."""
        if self._file is not None:
            # ASCII, so that what it escapes reaches no terminal either.
            self._file.write(json.dumps(rejected.as_dict()) + "\n")
        if len(self.first) < _TOLD:
            self.first.append({"line": rejected.line, "reason": rejected.reason})
            text = rejected.text
            shown = text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."
            self._output.warn(f"line {rejected.line:,}: {rejected.reason}: {shown}")

    def judge(self, done: Imported, *, strict: bool) -> None:
        """End with exit code 3 where a line was rejected.

        Raises:
            Findings: One was.
        """
        if not done.rejected:
            return
        if done.rejected > len(self.first):
            self._output.warn(f"... and {done.rejected - len(self.first):,} more")
        where = f" They are in {self._path}." if self._path is not None else ""
        rest = "nothing was imported" if strict else "the others are events"
        raise Findings(
            f"{count(done.rejected, 'line')} of {done.rejected + done.valid:,} "
            f"{'was' if done.rejected == 1 else 'were'} rejected; {rest}.",
            hint=f"Mend them and import the file again: what is there is left out.{where}",
            details={"rejected": done.rejected, "valid": done.valid},
        )


def _outcome(
    done: Imported, name: str, told: _Told, *, dry_run: bool = False, operation_id: str = ""
) -> Outcome:

    there = done.valid - done.new
    speed = ""
    if not dry_run and done.new and done.seconds:
        speed = f" in {done.seconds:.1f} s ({done.facts()['rows_per_second']:,} a second)"
    also = f" {count(there, 'event')} {'was' if there == 1 else 'were'} there already."
    undated = (
        f" {count(done.undated, 'event')} {'says' if done.undated == 1 else 'say'} no time and "
        f"{'gets' if done.undated == 1 else 'get'} that of the import."
    )
    return Outcome(
        action="import events",
        dry_run=dry_run,
        matched=done.valid,
        changed=done.new,
        summary=f"{'Would import' if dry_run else 'Imported'} {count(done.new, 'event')} from {name}"
        f"{speed}.{also if there else ''}{undated if done.undated else ''}",
        undo=NoUndo("events are evidence, and are only ever added") if done.new else "",
        operation_id=operation_id,
        extra={"file": name, **done.facts(), "rejected_lines": told.first},
    )
