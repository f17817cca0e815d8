"""``secops migrate`` as a group: bare it applies, and behind it stand its sub-commands."""

from __future__ import annotations

from secops.cli.command import command as as_run
from secops.cli.grouped import with_bare
from secops.cli.migrate.apply import apply
from secops.cli.migrate.contract import contract
from secops.cli.migrate.down import down
from secops.cli.migrate.plan import plan
from secops.cli.migrate.status import check, status

command = with_bare(
    "migrate",
    as_run("migrate", changes=True)(apply),
    {
        "plan": as_run("migrate plan")(plan),
        "status": as_run("migrate status", rows=True)(status),
        "check": as_run("migrate check", rows=True)(check),
        "contract": as_run("migrate contract", changes=True)(contract),
        "down": as_run("migrate down", changes=True)(down),
    },
)
