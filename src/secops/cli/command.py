"""What every command has in common: its shared options, its settings, its way to ask.

A command is a function whose first parameter is a :class:`Run`; :func:`command` adds the options that
stand the same everywhere, so that none is declared twice::

    @command("unlock user", changes=True)
    def command(run: Run, who: Annotated[list[str], typer.Argument()]) -> None:
        \"\"\"Let locked accounts log in again.\"\"\"
"""

from __future__ import annotations

import getpass
import inspect
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_type_hints

import typer

from secops.errors import ConfigurationError, Refused, UsageError
from secops.output import Format, Output
from secops.settings import Settings, load

if TYPE_CHECKING:
    from secops.accounts.operations import Operation
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.output.outcome import Outcome

Config = Literal["read", "tolerate", "ignore"]


class ReaderLeft(Exception):  # noqa: N818  no error
    """Who reads our output has seen enough (``| head``)."""


@dataclass(frozen=True, slots=True)
class _Shared:
    """One shared option: how typer declares it, and its default."""

    annotation: object
    default: object


def _option(kind: object, *names: str, help: str, default: object = None, **more: Any) -> _Shared:  # noqa: A002, ANN401
    return _Shared(Annotated[kind, typer.Option(*names, help=help, **more)], default)


_ALWAYS: Final[dict[str, _Shared]] = {
    "config": _option(Path | None, "--config", help="The secops.yaml to read.", metavar="FILE"),
    "json": _option(bool, "--json", help="Print JSON: short for --format json.", default=False),
    "quiet": _option(
        bool, "--quiet", "-q", help="No notes and no progress on stderr.", default=False
    ),
    "no_color": _option(
        bool, "--no-color", help="No colours; NO_COLOR does the same.", default=False
    ),
    "debug": _option(bool, "--debug", help="On a failure, show where it happened.", default=False),
}
_DATABASE: Final[dict[str, _Shared]] = {
    "database_url": _option(
        str | None,
        "--database-url",
        help="The database, without a password in it (that is for ~/.pgpass or SECOPS_DATABASE_URL).",
        metavar="URL",
    ),
}
_ROWS: Final[dict[str, _Shared]] = {
    "format": _option(Format, "--format", "-f", help="How to print.", default=Format.TABLE),
}
_CHANGES: Final[dict[str, _Shared]] = {
    "dry_run": _option(
        bool, "--dry-run", help="Show what would change; change nothing.", default=False
    ),
    "yes": _option(bool, "--yes", "-y", help="Do not ask.", default=False),
}
_OPERATOR: Final[dict[str, _Shared]] = {
    "reason": _option(str | None, "--reason", help="Why, for the audit trail.", metavar="TEXT"),
    "ticket": _option(str | None, "--ticket", help="The ticket it belongs to.", metavar="ID"),
    "expect": _option(
        int | None, "--expect", help="Refuse unless exactly this many match.", metavar="N", min=0
    ),
}


@dataclass
class Run:
    """One run of one command: its settings, where its output goes, and what it may do.

    Attributes:
        name: The command's words.
        settings: Flags over environment over file.
        output: Where results, notes, progress and questions go.
        dry_run: Whether to change nothing.
        yes: Whether not to ask.
        reason: Why, as the operator gave it.
        ticket: The ticket it belongs to.
        expect: The number that must match, or ``None``.
        config: The ``secops.yaml`` that the call names.
        broken: Why ``secops.yaml`` could not be read, where the command works without.
    """

    name: str
    settings: Settings
    output: Output
    dry_run: bool = False
    yes: bool = False
    reason: str | None = None
    ticket: str | None = None
    expect: int | None = None
    config: Path | None = None
    broken: ConfigurationError | None = None

    @contextmanager
    def connect(self, use: str = "database_url") -> Iterator[Connection]:
        """Open a connection for the length of a block; see :func:`secops.database.connection.connect`."""
        with self.open(use) as conn:
            yield conn

    def open(self, use: str = "database_url") -> Connection:
        """Open a connection; the caller closes it."""
        from secops.database.connection import connect

        return connect(self.settings, self.name, use=use)

    def layout(self, conn: Connection) -> Layout:
        """Find out what the tables are called; see :func:`secops.schema.detect.detect`."""
        from secops.schema.detect import detect

        return detect(conn, self.settings)

    @property
    def operator(self) -> str:
        """Who acts, as the audit trail names them."""
        return self.settings.text("operator") or os.environ.get("SUDO_USER") or _system_user()

    def operation(self, *, upkeep: bool = False) -> Operation:
        """Begin an operation with its actor, host, reason and ticket.

        Args:
            upkeep: Whether it is what cron does, for which nobody has to give a reason.

        Raises:
            UsageError: No reason was given and the settings demand one.
        """
        from secops.accounts.operations import Operation

        needed = not upkeep and self.settings.flag("require_reason")
        if needed and not (self.reason and self.reason.strip()):
            raise UsageError(
                f"`secops {self.name}` needs a reason for the audit trail.",
                hint='Add --reason "why". `require_reason: false` in secops.yaml lifts the duty.',
            )
        return Operation.begin(
            actor=self.operator,
            host=socket.gethostname(),
            reason=self.reason or "",
            ticket=self.ticket or "",
            command=self.name,
        )

    def guard(self, matched: int) -> None:
        """Refuse where ``--expect`` says another number than what matches.

        Raises:
            Refused: It does.
        """
        if self.expect is not None and self.expect != matched:
            raise Refused(
                f"--expect {self.expect:,} does not hold: {matched:,} match.",
                hint="Nothing was changed. Look at --dry-run, then give the number that it shows.",
                details={"expected": self.expect, "matched": matched},
            )

    def confirm(self, question: str, *, word: str | None = None) -> None:
        """Ask before a change; returns only where the answer is yes.

        Args:
            question: What would happen, with its count.
            word: For the severe: what must be typed instead of ``y``.

        Raises:
            Refused: The answer was no, or nobody can be asked and ``--yes`` was not given.
        """
        if self.yes or self.dry_run:
            return
        if not self.output.can_ask:
            raise Refused(
                f"{question} Nobody can be asked here.",
                hint="Look at it with --dry-run, then add --yes.",
            )
        if not self.output.ask(question, word=word):
            raise Refused("Not confirmed.", hint="Nothing was changed.")

    def finish(self, outcome: Outcome) -> None:
        """Print what an action did, or would do."""
        self.output.outcome(outcome)


def command(
    name: str,
    *,
    database: bool = True,
    rows: bool = False,
    changes: bool = False,
    operator: bool = False,
    config: Config = "read",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function: add the shared options and hand it a :class:`Run`.

    Args:
        name: The command's words, as the tree lists them.
        database: Whether it takes ``--database-url``.
        rows: Whether it takes ``--format`` (``--json`` it always takes).
        changes: Whether it takes ``--dry-run`` and ``--yes``.
        operator: Whether it takes ``--reason``, ``--ticket`` and ``--expect``.
        config: What it does with ``secops.yaml``: reads it, reads it unless it is broken (the error is
            then in ``Run.broken``), or works without
            any configuration at all.
    """
    shared = (
        (_OPERATOR if operator else {})
        | (_CHANGES if changes else {})
        | (_ROWS if rows else {})
        | (_DATABASE if database else {})
        | _ALWAYS
    )

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]
        hints = get_type_hints(function, include_extras=True)

        def wrapped(**given: Any) -> None:  # noqa: ANN401  what typer parsed
            mine = {key: given.pop(key) for key in shared}
            try:
                function(_begin(name, mine, config), **given)
            except BrokenPipeError:
                # typer would make a failure of it before the way out hears of it.
                raise ReaderLeft from None

        parameters = [
            inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=each.default,
                annotation=hints[each.name],
            )
            for each in own
        ] + [
            inspect.Parameter(
                key,
                inspect.Parameter.KEYWORD_ONLY,
                default=option.default,
                annotation=option.annotation,
            )
            for key, option in shared.items()
        ]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
        wrapped.__name__ = function.__name__
        # A raw docstring writes the mark that keeps line breaks as two characters; help wants one.
        wrapped.__doc__ = (function.__doc__ or "").replace("\\b\n", "\b\n")
        wrapped.__module__ = function.__module__
        return wrapped

    return decorate


def _begin(name: str, shared: dict[str, Any], config: Config) -> Run:
    url: str | None = shared.get("database_url")
    if url is not None:
        from secops.database.url import holds_password

        if holds_password(url):
            raise UsageError(
                "--database-url holds a password, and every user of this machine can read it there.",
                hint="Put the password in ~/.pgpass, or the URL in SECOPS_DATABASE_URL.",
            )
    flags = {"database_url": url}
    broken: ConfigurationError | None = None
    try:
        if config == "ignore":
            settings = load(environ={}, read_file=False)
        else:
            settings = load(flags, config=shared["config"])
    except ConfigurationError as error:
        if config != "tolerate":
            raise
        broken = error
        settings = load(flags, read_file=False)
    chosen: Format = Format.JSON if shared["json"] else shared.get("format", Format.TABLE)
    return Run(
        name=name,
        settings=settings,
        output=Output(chosen, quiet=shared["quiet"], no_color=shared["no_color"]),
        dry_run=shared.get("dry_run", False),
        yes=shared.get("yes", False),
        reason=shared.get("reason"),
        ticket=shared.get("ticket"),
        expect=shared.get("expect"),
        config=shared["config"],
        broken=broken,
    )


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}" if sys.platform != "win32" else "unknown"
