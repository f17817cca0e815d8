"""``secops drift``."""

from __future__ import annotations

from typing import Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.rollout.options import Target, at
from secops.errors import Conflict


@declare("drift", rows=True)
def command(
    run: Run,
    *,
    target: Target = None,
    since: Annotated[
        bool, typer.Option("--who/--no-who", help="Ask the target's history who it was.")
    ] = True,
) -> None:
    r"""Say where what is live is not what was rolled out.

    Compares every variable that rollouts changed with what they left it as: changed, missing, appeared,
    sealed since, a reference replaced by a text, or all of it gone back with the platform's own rollback;
    and who it was, where the target knows. Nothing is changed. Exit 5 where anything differs.

    \b
    Examples:
      secops drift
      secops drift --target prod --json
    """
    from secops.cli.rollout.shown import value
    from secops.rollout.drift import find
    from secops.rollout.opening import named_places
    from secops.rollout.plan import history, recorded

    rows: list[tuple[object, ...]] = []
    names: list[str] = []
    for place in named_places(run.settings, target):
        with at(run, place, offline=True) as desk:
            standings = desk.books.standings()
            snapshot = desk.target.read()
            wanted = frozenset(recorded(standings))
            edits = history(desk.target, standings, snapshot, wanted) if since else ()
            for each in find(standings, snapshot, edits):
                names.append(f"{each.name} on {place.name}")
                rows.append(
                    (
                        place.name,
                        each.name,
                        each.way.value,
                        value(each.recorded),
                        value(each.live, hidden=each.way.value == "sealed"),
                        each.who,
                        each.at,
                        each.move.move.title,
                    )
                )
    run.output.rows(
        ("target", "variable", "what", "recorded", "live", "by", "at", "left by"),
        rows,
        empty="What is live is what was rolled out.",
    )
    if names:
        raise Conflict(
            f"{len(names)} {'variables are' if len(names) > 1 else 'variable is'} not as rolled out: "
            f"{', '.join(names)}.",
            hint="Put them back by hand, or go over them with a stage and --force; nothing was touched.",
            details={"variables": names},
        )
