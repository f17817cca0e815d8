"""``secops cron print``."""

from __future__ import annotations

import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare


class Form(StrEnum):
    """Who runs the schedule."""

    CRONTAB = "crontab"
    SYSTEMD = "systemd"
    KUBERNETES = "kubernetes"
    RAILWAY = "railway"
    PG_CRON = "pg_cron"


@declare("cron print")
def command(
    run: Run,
    *,
    form: Annotated[Form, typer.Option("--as", help="Who is to run it.")] = Form.CRONTAB,
    at: Annotated[
        str,
        typer.Option("--at", metavar="HH:MM", help="At which time of day; UTC where it says so."),
    ] = "03:17",
    image: Annotated[
        str | None,
        typer.Option(
            "--image", metavar="IMAGE", help="For kubernetes: the image with secops in it."
        ),
    ] = None,
) -> None:
    r"""Print the schedule of `cron cleanup` for crontab, systemd and others.

    Once a day, all upkeep. Nothing is installed: look at it, then put it where its first lines say. No form
    holds the database's URL; each says where it comes from.

    pg_cron runs SQL and no programs, so that form only deletes expired tokens; it asks the database how its
    tables are called.

    \b
    Examples:
      secops cron print --as systemd
      secops cron print --as kubernetes --image registry.example.com/secops:1 --at 02:40
    """
    from secops.upkeep import schedules

    time = schedules.At.read(at)
    if form is Form.CRONTAB:
        text = schedules.crontab(time, _program())
    elif form is Form.SYSTEMD:
        text = schedules.systemd(time, _program())
    elif form is Form.KUBERNETES:
        text = schedules.kubernetes(time, image)
    elif form is Form.RAILWAY:
        text = schedules.railway(time)
    else:
        with run.connect() as conn:
            text = schedules.pg_cron(time, run.layout(conn))
    run.output.document({"as": form.value, "at": at, "text": text}, text.splitlines())


def _program() -> str:
    """Return where this machine has secops."""
    beside = Path(sys.executable).parent / "secops"
    return shutil.which("secops") or (str(beside) if beside.exists() else "/usr/local/bin/secops")
