"""``secops help``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.errors import EXIT_CODES, NothingMatched


@dataclass(frozen=True, slots=True)
class _Topic:
    """One thing to read about.

    Attributes:
        summary: Its line in the list.
        show: Prints it.
    """

    summary: str
    show: Callable[[Run], None]


def _exit_codes(run: Run) -> None:
    run.output.document(
        {str(code): meaning for code, meaning in EXIT_CODES.items()},
        [f"{code:>4}  {meaning}" for code, meaning in EXIT_CODES.items()],
    )


def _settings(run: Run) -> None:
    from secops.durations import format_duration
    from secops.settings import DECLARED

    def default(value: object) -> object:
        from datetime import timedelta

        return format_duration(value) if isinstance(value, timedelta) else value

    def lines() -> Iterator[str]:
        yield "Flags win over the environment, the environment over secops.yaml, that over defaults."
        yield "`secops doctor --settings` shows the values that hold here and where each came from."
        for each in DECLARED:
            yield ""
            given = default(each.default)
            shown = str(given).lower() if isinstance(given, bool) else given
            yield f"{each.key}{'' if given is None else f' (default: {shown})'}"
            yield f"    {each.help}"
            if each.env:
                yield f"    Environment: {', '.join(each.env)}"

    run.output.document(
        [
            {
                "setting": each.key,
                "environment": list(each.env),
                "default": default(each.default),
                "secret": each.secret,
                "help": each.help,
            }
            for each in DECLARED
        ],
        lines(),
    )


_FORMATS: Final = {
    "table": "for people; folded to a terminal's width, never cut off anywhere else",
    "json": "one array of objects, named by the columns; one object for an action",
    "jsonl": "one object a line, as rows arrive",
    "csv": "with a header; what a spreadsheet would take for a formula gets an apostrophe before it",
    "markdown": "a table to paste into an issue or a page",
    "html": "a page that needs nothing else",
}


def _formats(run: Run) -> None:
    run.output.document(
        _FORMATS,
        [
            "--format NAME, or -f NAME, where there are rows; --json is short for --format json.",
            "",
            *(f"  {name:<10}{meaning}" for name, meaning in _FORMATS.items()),
            "",
            "Results go to stdout, everything else to stderr. Times are UTC. Text from outside is made",
            "inert in every format; JSON holds it unchanged. With --json a failure is one object on",
            'stderr: {"error": {"code", "exit", "message", "hint"}}.',
        ],
    )


TOPICS: Final = {
    "exit-codes": _Topic("What each exit code means.", _exit_codes),
    "settings": _Topic("Every setting, its variables and its default.", _settings),
    "formats": _Topic("How results are printed, for people and for programs.", _formats),
}


def _complete(incomplete: str) -> list[tuple[str, str]]:
    return [(name, topic.summary) for name, topic in TOPICS.items() if name.startswith(incomplete)]


@declare("help", database=False, config="ignore")
def command(
    run: Run,
    topic: Annotated[
        str | None,
        typer.Argument(help="exit-codes, settings or formats.", autocompletion=_complete),
    ] = None,
) -> None:
    r"""Read about exit codes, settings, reports.

    Without a topic it lists them. What a command does, its own --help says.

    \b
    Examples:
      secops help exit-codes
      secops help settings
      secops help formats
    """
    if topic is None:
        run.output.document(
            {name: each.summary for name, each in TOPICS.items()},
            [
                *(f"secops help {name:<13}{each.summary}" for name, each in TOPICS.items()),
                "secops report           The reports there are, each with its own --help.",
                "secops COMMAND --help   What a command does, with examples.",
            ],
        )
        return
    found = TOPICS.get(topic.strip().lower())
    if found is None:
        near = difflib.get_close_matches(topic, TOPICS, n=1, cutoff=0.4)
        raise NothingMatched(
            f"There is no help on {topic!r}.",
            hint=(f"Did you mean `secops help {near[0]}`? " if near else "")
            + f"The topics are: {', '.join(TOPICS)}.",
        )
    found.show(run)
