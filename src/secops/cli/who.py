"""Whom a command is about, when to ask, and the command line that takes it back."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from secops.errors import NothingMatched, UsageError
from secops.output import Format
from secops.settings import CONFIG_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from secops.accounts.users import Account
    from secops.cli.command import Run

Who = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WHO]...", help="E-mail addresses, in any case, or ids.", show_default=False
    ),
]
FromFile = Annotated[
    str | None,
    typer.Option(
        "--from-file",
        metavar="FILE",
        help="Read names from a file too, one a line, # for comments; - reads stdin.",
    ),
]

# More names than a person would paste into one command line.
_PASTED: Final = 20


@dataclass(frozen=True, slots=True)
class Names:
    """Names of accounts as they were given.

    Attributes:
        names: In their order.
        places: Where those from a file stand (``people.txt:3``).
    """

    names: Sequence[str]
    places: Mapping[str, str]


def read_names(who: Sequence[str] | None, file: str | None) -> Names:
    """Gather the names from the command line and a file.

    Raises:
        UsageError: A name is empty.
        NothingMatched: The file names nobody.
        OSError: It cannot be read.
    """
    from secops.accounts.operations import storable

    names = list(who or ())
    if any(not name.strip() for name in names):
        raise UsageError("A name is empty.", hint="Is a variable of your script unset?")
    places: dict[str, str] = {}
    if file is not None:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        shown = "stdin" if file == "-" else file
        # Bytes that are no UTF-8 match nobody, and the line is named like any other.
        for number, line in enumerate(data.decode("utf-8-sig", "surrogateescape").split("\n"), 1):
            name = storable(line.strip())
            if name and not name.startswith("#"):
                names.append(name)
                places.setdefault(name, f"{shown}:{number}")
        if not names:
            raise NothingMatched(
                f"{shown} names nobody.", hint="Write one e-mail address or id a line."
            )
    return Names(names, places)


def ask(run: Run, question: str, *, bulk: bool, word: str | None = None) -> None:
    """Ask before a change that reaches further than what somebody named, and in production always.

    Raises:
        Refused: The answer was no, or nobody can be asked.
    """
    if bulk or run.settings.flag("production"):
        run.confirm(question, word=word)


def count(number: int, thing: str) -> str:
    """Write a number of things: ``1 account``, ``1,200 accounts``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def shown(run: Run, items: Sequence[Mapping[str, object]]) -> Sequence[Mapping[str, object]]:
    """Return what an outcome lists: for people nothing where its one sentence says it all."""
    return items if len(items) > 1 or run.output.format is not Format.TABLE else ()


def undo(
    run: Run,
    words: str,
    accounts: Sequence[Account],
    options: Sequence[str] = (),
    operation_id: str = "",
) -> str:
    """Return the command line that takes a change back, as it may be pasted into a shell.

    Args:
        run: Whose database it must reach again.
        words: The command that does it: ``lock user``.
        accounts: Whom it is about.
        options: What else it needs.
        operation_id: What it takes back; stands in its reason.
    """
    whom = (
        [account.argument for account in accounts]
        if len(accounts) <= _PASTED
        else ["--from-file", "FILE"]
    )
    reason = f"undo {operation_id}".strip()
    line = shlex.join([
        "secops", *words.split(), *_same_database(run), *whom, *options, "--reason", reason
    ])  # fmt: skip
    if len(accounts) <= _PASTED:
        return line
    return f"{line} (FILE with the ids that --json printed, one a line)"


def _same_database(run: Run) -> list[str]:
    """Return the options that reach the same database from the same folder."""
    given: list[str] = []
    url = run.settings.secret("database_url")
    # From the command line it holds no password: that is refused.
    if url is not None and run.settings.origins["database_url"].kind == "flag":
        given += ["--database-url", url.reveal()]
    config = run.settings.config
    if config is not None and not os.environ.get("SECOPS_CONFIG"):
        here = Path.cwd()
        found_by_itself = config.name == CONFIG_NAME and config.resolve().parent in (
            here,
            *here.parents,
        )
        if not found_by_itself:
            given += ["--config", str(config)]
    return given
