"""What was made looser for a time, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from secops.rollout.books import taken_back
from secops.rollout.entries import Standing


def relaxations(standings: Sequence[Standing]) -> dict[str, datetime]:
    """Return the variables that are looser for a time, and until when they may be.

    A later move of the same variable ends it, and so does taking back the one that relaxed it.
    """
    undone = taken_back(standings)
    found: dict[str, datetime] = {}
    for each in standings:
        if not each.applied:
            continue
        until = each.moment("expires_at")
        for name in each.move.keys:
            found.pop(name, None)
            if name in each.move.relaxes and until is not None and each.move.id not in undone:
                found[name] = until
    return found
