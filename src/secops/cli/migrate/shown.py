"""What the sub-commands of ``secops migrate`` say of a plan alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secops.schema.versions import Plan


def refuse_differences(plan: Plan) -> None:
    """Stop where the database holds what secops would not make."""
    from secops.schema.runner import different

    if plan.different:
        raise different(plan.different)


def count(plan: Plan) -> int:
    """Return how many statements are left to run."""
    return sum(len(each.statements) for each in plan.steps)
