"""What commands that change the schema share: the budget for locks, and telling what the runner does."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from secops.durations import parse_duration

if TYPE_CHECKING:
    from secops.accounts.operations import Operation
    from secops.cli.command import Run
    from secops.database.locks import Holder
    from secops.output import Output
    from secops.output.progress import Progress
    from secops.schema.steps import Step

LockBudget = Annotated[
    str | None,
    typer.Option(
        "--lock-budget",
        metavar="DURATION",
        help="How long to keep retrying for locks, in all (the setting lock_budget).",
    ),
]


def budget(run: Run, given: str | None) -> timedelta:
    """Return the budget that the call gives, or the settings."""
    return parse_duration(given) if given is not None else run.settings.span("lock_budget")


def operation(run: Run) -> Operation:
    """Begin an operation that needs no reason: what it is for stands in its name."""
    from secops.accounts.operations import Operation

    return Operation.begin(
        actor=run.operator, host=socket.gethostname(), reason="", ticket="", command=run.name
    )


class Told:
    """Shows what the runner does: a bar, a note while it waits, and the list for the outcome."""

    def __init__(self, output: Output, progress: Progress) -> None:
        self._output = output
        self._progress = progress
        self._last = ""
        self.items: list[dict[str, object]] = []
        self.sql: list[str] = []

    def ran(self, step: Step, statement: str, took: timedelta) -> None:
        """Note a statement that was run."""
        self.items.append({"step": step.title, "seconds": round(took.total_seconds(), 3)})
        self.sql.append(statement)
        self._progress.advance()

    def waiting(self, why: str, holders: list[Holder]) -> None:
        """Say once for each reason and holder what is being waited for."""
        pids = ", ".join(str(holder.pid) for holder in holders)
        if (said := f"{why} {pids}") == self._last:
            return
        self._last = said
        self._output.note(f"Waiting. {why}" + "".join(f"; {holder}" for holder in holders) + ".")
