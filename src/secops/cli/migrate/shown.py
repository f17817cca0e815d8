"""What the sub-commands of ``secops migrate`` say of a plan alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secops.cli.command import Run
    from secops.schema.migrate import Migration
    from secops.schema.versions import Plan


def refuse_differences(plan: Plan) -> None:
    """Stop where the database holds what secops would not make."""
    from secops.schema.runner import different

    if plan.different:
        raise different(plan.different)


def count(plan: Plan) -> int:
    """Return how many statements are left to run."""
    return sum(len(each.statements) for each in plan.steps)


def earlier_layer(migration: Migration, plan: Plan) -> str | None:
    """Say what is the matter with an earlier, home-grown layer: ``found`` or ``taken over``."""
    if migration.site.earlier is None:
        return None
    return "taken over" if plan.nothing_to_do else "found"


def tell_of_earlier_layer(run: Run, migration: Migration, plan: Plan) -> None:
    """Note that an earlier, home-grown layer was found, and what is left to do about it."""
    match earlier_layer(migration, plan):
        case "found":
            run.output.note(
                "There is an earlier layer with tokens in clear: `secops migrate` takes it over, and "
                "the app that made it goes on."
            )
        case "taken over":
            run.output.note(
                "An earlier layer is taken over; its app and the new one both work. When the old app "
                "has gone, `secops migrate contract` drops the clear tokens."
            )
