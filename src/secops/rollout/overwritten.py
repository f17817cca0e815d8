"""Edits that a write of ours overwrote, on targets that cannot refuse the later of two writes.

Between the last look and the write somebody else may write. Where the target compares and sets, it refuses;
where it does not but keeps a history, that names the edit afterwards, and a person is told. What was in the
history before is kept with the move, so that this works after a crash too.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from secops.rollout.entries import Standing
from secops.targets.target import MARKER, Edit, Target

SKEW: Final = timedelta(minutes=10)
"""How far the target's clock may be from the database's."""


def edits_before(target: Target, now: datetime) -> dict[str, object]:
    """Return what a move's notes keep of the target's history, to tell later what is new in it."""
    if not _watched(target):
        return {}
    since = now - SKEW
    return {
        "edits_since": since.isoformat(),
        "edits": [as_list(edit) for edit in target.edits(since)],
    }


def _watched(target: Target) -> bool:
    """Whether an overwritten edit can be seen afterwards, and could not be refused."""
    return target.traits.dated and not target.traits.compare_and_set


def as_list(edit: Edit) -> list[object]:
    """Return an edit as the journal keeps it."""
    at = edit.at.isoformat() if edit.at else None
    return [edit.who, at, edit.message, sorted(edit.names)]


def overwritten(target: Target, standing: Standing) -> list[Edit]:
    """Return the edits of the move's variables that its write overwrote.

    Raises:
        SecopsError: The history could not be read.
    """
    move = standing.move
    since = move.notes.get("edits_since")
    if since is None:
        return []
    later = target.edits(datetime.fromisoformat(since))
    known = list(move.notes["edits"])
    # Newest first: what stands before our newest write came after it, and is there still.
    newer: list[Edit] = []
    older: list[Edit] = []
    ours = False
    for edit in later:
        if as_list(edit) in known:
            known.remove(as_list(edit))
        elif str(move.id) in edit.message or MARKER in edit.names:
            ours = True
        elif not edit.names or edit.names & set(move.keys):
            (older if ours else newer).append(edit)
    return older if ours else newer
