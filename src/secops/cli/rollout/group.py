"""``secops rollout`` as a group: bare it moves to a stage, and behind it stand its sub-commands."""

from __future__ import annotations

from typing import Final

from secops.cli.command import command as as_run
from secops.cli.grouped import with_bare
from secops.cli.rollout.history import history
from secops.cli.rollout.plan import plan
from secops.cli.rollout.resume import abort, resume
from secops.cli.rollout.stage import roll_out
from secops.cli.rollout.status import status
from secops.cli.rollout.tick import tick

_SUBCOMMANDS: Final = {
    "plan": as_run("rollout plan")(plan),
    "status": as_run("rollout status")(status),
    "tick": as_run("rollout tick")(tick),
    "resume": as_run("rollout resume", operator=True)(resume),
    "abort": as_run("rollout abort", changes=True, operator=True)(abort),
    "history": as_run("rollout history", rows=True)(history),
}

command = with_bare(
    "rollout", as_run("rollout", changes=True, operator=True)(roll_out), _SUBCOMMANDS
)
"""``secops rollout`` and its sub-commands."""
