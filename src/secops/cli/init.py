"""``secops init``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.errors import UsageError
from secops.settings import CONFIG_NAME

if TYPE_CHECKING:
    from secops.database.layout import Layout
    from secops.doctor.first_settings import Found
    from secops.settings import Settings


@declare("init", config="tolerate")
def command(
    run: Run,
    *,
    users_table: Annotated[
        str | None,
        typer.Option(
            "--users-table",
            help="The users table, where there could be several: people, or auth.people.",
            metavar="NAME",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a file that is there; it is kept beside the new one."
        ),
    ] = False,
    print_: Annotated[
        bool, typer.Option("--print", help="Print the file instead of writing it.")
    ] = False,
    print_grants: Annotated[
        bool,
        typer.Option("--print-grants", help="Print SQL for three roles with least privilege."),
    ] = False,
) -> None:
    r"""Find the database and the users table, write secops.yaml.

    The database is the one that --database-url, SECOPS_DATABASE_URL, DATABASE_URL or PG* variables name;
    it is never guessed. The users table and its columns are detected, and shown. The file goes to the
    folder you are in (or to --config), readable for you alone. A URL with a password in it is not
    written: leave that in the environment, or the password in ~/.pgpass.

    --print-grants prints the SQL that makes three roles: secops_migrator, secops_operator,
    secops_reader. Operator and reader cannot read a password, nor the hash of a token. Look at it, then
    run it with psql as a superuser.

    \b
    Examples:
      secops init
      secops init --users-table auth.people --print
      secops init --print-grants > grants.sql
    """
    from secops.doctor import first_settings

    if print_ and print_grants:
        raise UsageError("--print and --print-grants print two things.", hint="Give one of them.")
    path = run.config or Path(os.environ.get("SECOPS_CONFIG") or CONFIG_NAME)
    if not (print_ or print_grants or force) and path.exists():
        raise first_settings.refusal(path)
    if print_ and not run.settings.names_a_server():
        _print(run, first_settings.sample())
        run.output.note("No database is configured, so this is every setting, commented out.")
        return
    if run.broken is not None:
        run.output.warn(f"It is left aside: {run.broken.message}")
    settings = run.settings
    if users_table is not None:
        settings = first_settings.with_users_table(settings, users_table)
    with run.connect() as conn:
        from secops.schema.detect import detect

        layout = detect(conn, settings)
        found = first_settings.look(conn, layout)
    if print_grants:
        from secops.schema.grants import grants

        _print(run, grants(layout), "sql")
        return
    values = first_settings.chosen(layout, settings, path)
    text = first_settings.as_yaml(values)
    if print_:
        _print(run, text)
        return
    kept = first_settings.write(path, text, overwrite=force)
    _told(run, settings=settings, layout=layout, found=found, values=values, path=path, kept=kept)


def _print(run: Run, text: str, kind: str = "yaml") -> None:
    run.output.document({kind: text}, text.splitlines())


def _told(
    run: Run,
    *,
    settings: Settings,
    layout: Layout,
    found: Found,
    values: dict[str, str],
    path: Path,
    kept: Path | None,
) -> None:
    from secops.doctor.first_settings import left_out
    from secops.output.outcome import Outcome

    people = "" if found.people is None else f", about {found.people:,} people"
    run.finish(
        Outcome(
            action="init",
            dry_run=False,
            matched=1,
            changed=1,
            items=[{"setting": key, "value": value} for key, value in values.items()],
            summary=f"Wrote {path} for database {found.database} (PostgreSQL {found.version}, role "
            f"{found.role}) with users table {layout.users.schema}.{layout.users.name}{people}.",
            undo=shlex.join(["mv", str(kept), str(path)] if kept else ["rm", str(path)]),
            extra={"path": str(path), "kept": str(kept) if kept else None},
        )
    )
    for key in left_out(settings, values):
        run.output.note(
            f"{key} ({settings.origins[key]}) holds a password and was not written; keep it there, "
            "or put the password in ~/.pgpass."
        )
    above = settings.config
    if above is not None and above.parent.resolve() != path.parent.resolve():
        run.output.note(f"{above} is not read here any more: the nearest file is.")
    run.output.note("Next: `secops doctor`, then `secops migrate plan`.")
