"""``secops profile lint``."""

from __future__ import annotations

from typing import Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.profiles import complete_profile_or_rollout
from secops.errors import Findings, NothingMatched


@declare("profile lint", database=False, rows=True)
def command(
    run: Run,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", autocompletion=complete_profile_or_rollout),
    ] = None,
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 3 where there are warnings, too.")
    ] = False,
) -> None:
    r"""Examine profiles, rollouts and the registry for what is off.

    Every file is read whole: unknown variables, values out of bounds, secrets, circles, rules across variables,
    stages that nothing watches. Exits 3 where there are errors.

    \b
    Examples:
      secops profile lint
      secops profile lint owasp-2024 jwt-ttl --strict
    """
    from secops.rollout.lint import Severity, lint

    wanted = frozenset(names or ())
    if wanted:
        _known(run, wanted)
    found = lint(run.settings, wanted)
    run.output.rows(
        ("severity", "kind", "name", "where", "message", "hint"),
        [
            (each.severity.value, each.kind, each.name, each.where, each.message, each.hint)
            for each in found
        ],
        severity="severity",
        empty="All is well.",
    )
    bad = [each for each in found if strict or each.severity is Severity.ERROR]
    if bad:
        raise Findings(
            f"{len(bad)} things are off." if len(bad) > 1 else "One thing is off.",
            hint="Each stands above, with its file and line.",
        )


def _known(run: Run, wanted: frozenset[str]) -> None:
    from secops.forms import nearest
    from secops.rollout.profiles import load_profiles
    from secops.rollout.rollouts import load_rollouts

    profiles = load_profiles(run.settings)
    there = sorted({*profiles.names(), *load_rollouts(run.settings, profiles).names()})
    for name in sorted(wanted - set(there)):
        raise NothingMatched(
            f"There is no profile or rollout {name!r}.", hint=nearest(name, there, "There are")
        )
