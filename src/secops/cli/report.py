"""``secops report``: each file of the catalogue is a sub-command, made of its header when it is wanted."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import typer
from typer.core import TyperGroup

from secops.cli.command import Run
from secops.cli.command import command as as_run
from secops.cli.tree import CONTEXT, as_command
from secops.durations import format_duration
from secops.errors import ConfigurationError, Findings, SecopsError, UsageError
from secops.reports.catalogue import Catalogue, open_catalogue
from secops.reports.header import ROWS, Report
from secops.reports.parameters import METAVARS, Parameter, Value, read_time
from secops.settings import load

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

    from secops.reports.run import Answer, Row

_PREFIX: Final = "given_"  # keeps a parameter called `from` or `run` from being a Python word


class ReportGroup(TyperGroup):
    """A group whose commands are the reports of the catalogue.

    Attributes:
        archived: Whether each reads the archive too, also where no option says so.
    """

    archived: ClassVar[bool] = False

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of all reports."""
        return _catalogue(ctx, forgiving=True).names()

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return a report's command for help and completion; ``None`` where its file cannot be read."""
        try:
            return _build(_catalogue(ctx, forgiving=True).find(cmd_name), archived=self.archived)
        except SecopsError:
            return None

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """Find a report and make its command.

        Raises:
            NothingMatched: There is no such report.
            ConfigurationError: Its file, or the configuration, cannot be read.
        """
        name, rest = args[0], args[1:]
        if ctx.resilient_parsing:
            return name, self.get_command(ctx, name), rest
        helping = not {"-h", "--help"}.isdisjoint(rest)
        found = _catalogue(ctx, rest, forgiving=helping).find(name)
        return name, _build(found, archived=self.archived), rest

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the list of reports."""
        reports, _ = _catalogue(ctx, forgiving=True).load()
        with formatter.section("Reports"):
            formatter.write_dl([(report.name, report.title) for report in reports])


def _catalogue(ctx: Context, args: Iterable[str] = (), *, forgiving: bool) -> Catalogue:
    """Open the catalogue that the command line means.

    Args:
        ctx: Of the group.
        args: What follows the report's name; ``--config`` may stand there.
        forgiving: Whether a configuration that cannot be read only leaves out the user's own reports.
    """
    given: str | None = ctx.params.get("config")  # as it was typed: typer has not converted it yet
    for word, following in pairwise([*args, ""]):
        if word == "--config":
            given = following
        elif word.startswith("--config="):
            given = word.removeprefix("--config=")
    try:
        return open_catalogue(load(config=Path(given) if given else None))
    except ConfigurationError:
        if not forgiving:
            raise
        return open_catalogue()


def _build(report: Report, *, archived: bool = False) -> Command:
    """Make a report's command: its parameters become options."""

    def function(run: Run, **given: Any) -> None:  # noqa: ANN401  what typer parsed
        if archived:
            from secops.cli.archive_verify import folder_of

            given["archive"] = folder_of(run, given["archive"])
        _run(run, report, given)

    options: dict[str, tuple[object, object]] = {
        _PREFIX + each.name: _option(each) for each in report.parameters
    }
    if report.uses("as_of"):
        options["as_of"] = _AS_OF, None
    options |= _COMMON
    options["limit"] = _COMMON["limit"][0], report.limit
    run = inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Run)
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer reads
        [
            run,
            *(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                )
                for name, (annotation, default) in options.items()
            ),
        ]
    )
    function.__annotations__ = {"run": Run} | {name: each for name, (each, _) in options.items()}
    function.__doc__ = _help(report)
    words = "archive query" if archived else "report"
    return as_command(as_run(f"{words} {report.name}", rows=True)(function), report.name)


_AS_OF: Final = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help="The time to look back from, in ISO 8601; now, if not given.",
    ),
]
_COMMON: Final[dict[str, tuple[object, object]]] = {
    "limit": (
        Annotated[
            int, typer.Option("--limit", min=0, metavar="N", help="Rows at most; 0 for all.")
        ],
        ROWS,
    ),
    "fail_on_rows": (
        Annotated[bool, typer.Option("--fail-on-rows", help="Exit 3 where rows came back.")],
        False,
    ),
    "archive": (
        Annotated[
            Path | None,
            typer.Option(
                "--archive",
                metavar="DIR",
                help="Read the events of that archive too, with the live ones as one.",
            ),
        ],
        None,
    ),
    "show_sql": (
        Annotated[
            bool, typer.Option("--show-sql", help="Print what would run, for psql; run nothing.")
        ],
        False,
    ),
}


def _option(parameter: Parameter) -> tuple[object, object]:
    """Declare a parameter's option; its value is read by the parameter itself, as text."""
    bounds = parameter.bounds or ", ".join(parameter.choices)
    metavar = METAVARS[parameter.type]

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in parameter.choices if choice.startswith(incomplete)]

    option = typer.Option(
        parameter.option,
        metavar=metavar,
        help=f"{parameter.help} ({bounds})" if bounds else parameter.help,
        autocompletion=complete if parameter.choices else None,
    )
    kind = str if parameter.default is not None else str | None
    default = inspect.Parameter.empty if parameter.required else parameter.default
    return Annotated[kind, option], default


def _help(report: Report) -> str:
    """Write the text above a report's options."""
    parts = [report.title + ".", report.description]
    if report.every:
        parts.append(f"Worth running every {format_duration(report.every)}.")
    if report.order:
        parts.append(f"Order: {report.order}.")
    if report.requires:
        parts.append(f"Needs the extension {report.requires.extension}.")
    if report.columns:
        width = max(map(len, report.columns))
        lines = [f"  {name.ljust(width)}  {text}" for name, text in report.columns.items()]
        parts.append("\b\nColumns:\n" + "\n".join(lines))
    if report.examples:
        parts.append("\b\nExamples:\n" + "\n".join(f"  {each}" for each in report.examples))
    return "\n\n".join(part for part in parts if part)


def _run(run: Run, report: Report, given: Mapping[str, Any]) -> None:
    """Run a report and print it."""
    from secops.reports.run import RequirementMissing, running
    from secops.reports.statement import for_psql

    values: dict[str, Value | None] = {
        each.name: None if text is None else each.read(text)
        for each in report.parameters
        for text in [given[_PREFIX + each.name]]
    }
    as_of, limit = _as_of(given.get("as_of")), int(given["limit"])
    # What is named on the command line is meant, whatever else is configured for reports.
    flag = run.settings.origins["database_url"].kind == "flag"
    with run.connect("database_url" if flag else "report_database_url") as conn:
        layout = run.layout(conn)
        if given["show_sql"]:
            lines = for_psql(report, layout, values, as_of=as_of, limit=limit)
            run.output.document({"report": report.name, "sql": "\n".join(lines)}, lines)
            return
        timeout, archive = run.settings.span("report_timeout"), given["archive"]
        try:
            with ExitStack() as stack:
                if archive is None:
                    answer = stack.enter_context(
                        running(
                            conn, layout, report, values, as_of=as_of, limit=limit, timeout=timeout
                        )
                    )
                else:
                    from secops.reports.archived import running_over

                    answer, joined = stack.enter_context(
                        running_over(
                            conn, layout, report, values, archive,
                            as_of=as_of, limit=limit, timeout=timeout,
                        )
                    )  # fmt: skip
                    run.output.note(
                        f"With {joined.events:,} events of {joined.months:,} "
                        f"{'month' if joined.months == 1 else 'months'} of the archive {archive}."
                    )
                count = _print(run, report, values, answer)
        except RequirementMissing as missing:
            run.output.rows(tuple(report.columns), [], title=report.title, empty=missing.message)
            run.output.warn(f"{missing.message} {missing.hint}")
            return
    if given["fail_on_rows"] and count:
        raise Findings(
            f"{report.name}: {_rows(count)} came back.",
            hint="--fail-on-rows asked for exit code 3.",
            details={"report": report.name, "rows": count},
        )


def _as_of(text: str | None) -> datetime | None:
    try:
        return None if text is None else read_time(text)
    except UsageError as error:
        raise UsageError(f"--as-of: {error.message}", hint=error.hint) from None


def _print(run: Run, report: Report, values: Mapping[str, Value | None], answer: Answer) -> int:
    lines: dict[str, list[float]] = {name: [] for name in report.sparkline}
    count = run.output.rows(
        answer.columns, _watched(answer, lines), title=report.title, severity=report.severity
    )
    _draw(run, lines)
    run.output.note(_headline(report, values, answer, count))
    if answer.more:
        run.output.warn(f"{_left_out(count, answer)} --limit 0 shows all.")
    return count


def _left_out(count: int, answer: Answer) -> str:
    """Say that the limit kept rows back, and how many."""
    first = "row is" if count == 1 else f"{_rows(count)} are"
    than = "more than " if answer.many_more else ""
    more = f"{answer.more:,} more {'is' if answer.more == 1 else 'are'} there"
    return f"Only the first {first} shown; {than}{more}."


def _watched(answer: Answer, lines: Mapping[str, list[float]]) -> Iterator[Row]:
    """Pass on rows, and remember the numbers that are drawn as lines."""
    places = [(answer.columns.index(name), found) for name, found in lines.items()]
    for row in answer.rows:
        for place, found in places:
            value = row[place]
            found.append(float(value) if isinstance(value, (int, float)) else 0)
        yield row


def _draw(run: Run, lines: Mapping[str, list[float]]) -> None:
    from secops.reports.sparkline import draw

    width = max(map(len, lines), default=0)
    for name, values in lines.items():
        if values:
            run.output.line(f"{name.ljust(width)}  {draw(values)}  most {max(values):,.0f}")


def _headline(
    report: Report, values: Mapping[str, Value | None], answer: Answer, count: int
) -> str:
    """Write one line about a run: what it was, of when, how much and how long."""
    when = f"{answer.as_of:%Y-%m-%d %H:%M:%SZ}"
    since = values.get("since")
    if isinstance(since, timedelta) and report.uses("as_of"):
        when = f"{format_duration(since)} to {when}"
    text = f"{report.title}, {when}: {_rows(count)}, {answer.elapsed / _MILLISECOND:,.0f} ms in the database."
    if answer.replica_lag is not None:
        text += f" From a replica, up to {format_duration(answer.replica_lag)} behind."
    return text


_MILLISECOND: Final = timedelta(milliseconds=1)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _list(run: Run) -> None:
    r"""Run a report; without a name, list them.

    Each report is a command with options of its own: `secops report failed-logins --help`.

    \b
    Examples:
      secops report
      secops report failed-logins --since 1h
      secops report suspicious-ips --json
      secops report theft --fail-on-rows

    A report is one .sql file. Your own join from the folder that `queries` in secops.yaml names.
    """
    catalogue = open_catalogue(run.settings)
    reports, problems = catalogue.load()
    run.output.rows(
        ("name", "title", "every", "source"),
        (
            (
                report.name,
                report.title,
                format_duration(report.every) if report.every else None,
                str(report.path) if catalogue.is_own(report) else "secops",
            )
            for report in reports
        ),
    )
    for problem in problems:
        run.output.warn(f"{problem.message} {problem.hint}")


def as_group(
    kind: type[ReportGroup],
    bare: Callable[..., None],
    text: str,
    run: Callable[[dict[str, Any]], None],
) -> TyperGroup:
    """Make a group whose commands are the reports.

    Args:
        kind: Its class.
        bare: What it does without a report's name; its options are the group's.
        text: Its help.
        run: Does that, given the options.
    """

    def callback(context: typer.Context, **given: Any) -> None:  # noqa: ANN401  what typer parsed
        if context.invoked_subcommand is None:
            run(given)
            return
        # `secops report --json NAME` means the same as `secops report NAME --json`.
        chosen = {
            name: value
            for name, value in given.items()
            if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
        }
        context.default_map = {context.invoked_subcommand: chosen}

    first = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = list(inspect.signature(bare).parameters.values())
    callback.__signature__ = inspect.Signature([first, *parameters])  # type: ignore[attr-defined]  # what typer reads
    callback.__annotations__ = {"context": typer.Context} | {
        each.name: each.annotation for each in parameters
    }
    app = typer.Typer(
        cls=kind,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings=CONTEXT,
    )
    app.callback(help=text)(callback)
    group = typer.main.get_command(app)
    assert isinstance(group, ReportGroup)
    return group


def _group() -> TyperGroup:
    listing = as_run("report", database=False, rows=True)(_list)
    return as_group(
        ReportGroup, listing, inspect.getdoc(listing) or "", lambda given: listing(**given)
    )


command = _group()
