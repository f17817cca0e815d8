"""The tree of commands, known by name without importing any of them.

Start-up is the latency of this product: help and completion need names and one line each, and those
stand in :data:`COMMANDS`; a command's module is imported when it is resolved. A test holds each line here
against the module that it names.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

import secops

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer._click import Command, Context, HelpFormatter

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: its words, the module whose ``command`` it is, and its line in the list."""

    words: str
    module: str
    summary: str
    section: str


_START, _MIGRATE, _LOOK, _ACT, _UPKEEP, _RUN = "Start", "Harden", "Look", "Act", "Upkeep", "Run"

COMMANDS: Final = (
    Entry("quickstart", "quickstart", "See it all work on a database that comes with it.", _START),
    Entry("init", "init", "Find the database and the users table, write secops.yaml.", _START),
    Entry("doctor", "doctor", "Say what works, what does not, and how to mend it.", _START),
    Entry(
        "migrate",
        "migrate.group",
        "Bring the database to what the plan needs, without downtime.",
        _MIGRATE,
    ),
    Entry(
        "profile list", "profile_list", "List the profiles and the rollouts there are.", _MIGRATE
    ),
    Entry(
        "profile show",
        "profile_show",
        "Show what a profile sets, with all that it builds on.",
        _MIGRATE,
    ),
    Entry(
        "profile diff",
        "profile_diff",
        "Say how a profile differs from what is live, or from another.",
        _MIGRATE,
    ),
    Entry(
        "profile lint",
        "profile_lint",
        "Examine profiles, rollouts and the registry for what is off.",
        _MIGRATE,
    ),
    Entry(
        "rollout",
        "rollout.group",
        "Move a target to a stage of a rollout: plan, confirm, one write, one deployment, watch.",
        _MIGRATE,
    ),
    Entry(
        "rollback",
        "rollback",
        "Put back exactly what a rollout changed: one write, one deployment.",
        _MIGRATE,
    ),
    Entry("drift", "drift", "Say where what is live is not what was rolled out.", _LOOK),
    Entry("report", "report", "Run a report; without a name, list them.", _LOOK),
    Entry("show user", "show_user", "Explain one account: why can't they log in?", _LOOK),
    Entry("lock user", "lock_user", "Keep accounts from logging in.", _ACT),
    Entry("unlock user", "unlock_user", "Let locked accounts log in again.", _ACT),
    Entry(
        "revoke sessions",
        "revoke_sessions",
        "End sessions: by user, address, device, age, or all.",
        _ACT,
    ),
    Entry(
        "prune tokens", "prune_tokens", "Delete expired refresh tokens in small batches.", _UPKEEP
    ),
    Entry(
        "partition",
        "partition",
        "Keep security_events in monthly partitions, and take that back.",
        _UPKEEP,
    ),
    Entry("prune events", "prune_events", "Delete events past their retention, by class.", _UPKEEP),
    Entry(
        "archive verify",
        "archive_verify",
        "Read every file of an archive and say what is not as it was written.",
        _UPKEEP,
    ),
    Entry(
        "archive query",
        "archive_query",
        "Run a report over the archive and the live table as one, or SQL over the archive.",
        _UPKEEP,
    ),
    Entry(
        "cron cleanup",
        "cron_cleanup",
        "Do all upkeep in one run, for cron: prune, partitions ahead, statistics.",
        _UPKEEP,
    ),
    Entry(
        "cron mail",
        "cron_mail",
        "Send the mails that the backend wrote down, for cron: who was locked out.",
        _UPKEEP,
    ),
    Entry(
        "cron print",
        "cron_print",
        "Print the schedule of `cron cleanup` for crontab, systemd and others.",
        _UPKEEP,
    ),
    Entry("import events", "import_events", "Load events from JSON Lines or CSV.", _UPKEEP),
    Entry("serve", "serve", "Run the reference backend: login, refresh, logout, lockout.", _RUN),
    Entry("help", "help_topics", "Read about exit codes, settings, reports.", _START),
)

GROUPS: Final = {
    "show": "Look at one thing closely.",
    "lock": "Keep accounts from logging in.",
    "unlock": "Let accounts log in again.",
    "revoke": "End sessions.",
    "prune": "Delete what has expired.",
    "archive": "Look at events that were deleted and kept.",
    "profile": "Sets of environment variables, and the stages of a rollout.",
    "import": "Bring data in.",
    "cron": "Do upkeep on a schedule.",
}


class Stub(TyperCommand):
    """A command that is not imported yet."""

    def __init__(self, entry: Entry, name: str) -> None:
        super().__init__(name, help=entry.summary, rich_markup_mode=None)
        self.entry = entry

    def load(self) -> Command:
        """Import the command."""
        found: Command | Any = importlib.import_module(f"secops.cli.{self.entry.module}").command
        if isinstance(found, (TyperCommand, TyperGroup)):
            found.name = self.name
            return found
        return as_command(found, self.name or "")


def as_command(function: Any, name: str) -> Command:  # noqa: ANN401  typer reads its signature
    """Turn a function into a command."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    app.command(name=name, context_settings=CONTEXT)(function)
    return typer.main.get_command(app)


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are resolved, listed under headings."""

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """Find a command and import it."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found.load() if isinstance(found, Stub) else found, rest

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the list of commands, by section where there are several."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            shown = self.get_command(ctx, name)
            if shown is None or shown.hidden:
                continue
            for words, summary, section in _lines(name, shown):
                sections.setdefault(section, []).append((words, summary))
        width = max((len(words) for rows in sections.values() for words, _ in rows), default=0)
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl([(words.ljust(width), summary) for words, summary in rows])


def _lines(name: str, found: Command) -> list[tuple[str, str, str]]:
    """Return the lines that stand for a command in its group's list; a group's commands stand by words."""
    if isinstance(found, LazyGroup):
        return [
            (f"{name} {sub}", stub.entry.summary, stub.entry.section)
            for sub, stub in found.commands.items()
            if isinstance(stub, Stub)
        ]
    if isinstance(found, Stub):
        section = found.entry.section if " " not in found.entry.words else "Commands"
        return [(name, found.entry.summary, section)]
    return [(name, found.get_short_help_str(80), "Commands")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"secops {secops.__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    _version: bool = typer.Option(
        False,
        "--version",
        "-V",
        callback=_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Harden the login layer of a live, PostgreSQL-backed web application, and keep it there.

    New here? `secops quickstart` shows everything on a database of its own, in a minute.

    With a database of your own: `secops init`, `secops doctor`, `secops migrate plan`.
    """
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    """Print a group's help where no command follows; asking what there is is no mistake."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def make_group(
    name: str, callback: Callable[..., None], *, summary: str = "", completion: bool = False
) -> LazyGroup:
    """Make a group of a function that runs before its commands, or without one.

    Args:
        name: Its word.
        callback: The function; its docstring is the help, unless there is a summary.
        summary: Its help.
        completion: Whether it installs completion for shells.
    """
    app = typer.Typer(
        name=name,
        cls=LazyGroup,
        rich_markup_mode=None,
        add_completion=completion,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings=CONTEXT,
    )
    app.callback(help=summary or inspect.getdoc(callback))(callback)
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    return group


def root() -> Command:
    """Build the tree; no command's module is imported."""
    group = make_group("secops", _root, completion=True)
    for entry in COMMANDS:
        first, _, second = entry.words.partition(" ")
        if not second:
            group.add_command(Stub(entry, first))
            continue
        inner = group.commands.get(first)
        if not isinstance(inner, LazyGroup):
            inner = make_group(first, _help_without_command, summary=GROUPS[first])
            group.add_command(inner)
        inner.add_command(Stub(entry, second))
    return group
