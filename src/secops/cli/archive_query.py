"""``secops archive query``: any report over the archive and the live table, or SQL over the archive alone."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from secops.cli.archive_verify import folder_of
from secops.cli.command import Run
from secops.cli.command import command as as_run
from secops.cli.report import ReportGroup, as_group
from secops.errors import UsageError

if TYPE_CHECKING:
    from typer.core import TyperGroup


class QueryGroup(ReportGroup):
    """The reports, each of which reads the archive too."""

    archived: ClassVar[bool] = True


def _query(
    run: Run,
    *,
    sql: Annotated[
        str | None,
        typer.Option(
            "--sql", metavar="SELECT", help="A query in DuckDB's SQL, of the archive alone."
        ),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive", metavar="DIR", help="The archive's folder. [default: archive.dir]"
        ),
    ] = None,
) -> None:
    r"""Run a report over the archive and the live table as one, or SQL over the archive.

    A report is the same SQL on the same server: the months of the archive that it can read are loaded into
    temporary tables, and the report sees them and the live events as one table. It changes nothing.

    With --sql, DuckDB reads the Parquet files and nothing else: no database is needed. The events are
    called security_events; metadata is text (metadata::JSON ->> 'key').

    \b
    Examples:
      secops archive query failed-logins --since 400d
      secops archive query never-logged-in-since --since 365d --json
      secops archive query --sql "SELECT event_type, count(*) FROM security_events GROUP BY 1"
    """
    from secops.archive.query import answered

    if sql is None:
        raise UsageError(
            "What is asked for?",
            hint="Name a report (`secops report` lists them), or give --sql 'SELECT ...'.",
        )
    with answered(folder_of(run, archive), sql) as (columns, rows):
        run.output.rows(columns, rows)


def _group() -> TyperGroup:
    querying = as_run("archive query", database=False, rows=True)(_query)
    return as_group(
        QueryGroup, querying, inspect.getdoc(querying) or "", lambda given: querying(**given)
    )


command = _group()
