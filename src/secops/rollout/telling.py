"""Sentences about moves: who is at one, and what it has come to."""

from __future__ import annotations

from secops.durations import about
from secops.errors import Busy
from secops.rollout.entries import Standing
from secops.rollout.owners import Hold


def busy(standing: Standing, hold: Hold) -> Busy:
    """Say who is at a move, since when and why."""
    move = standing.move
    if standing.over:
        why = f" ({text})" if (text := standing.text("why")) else ""
        return Busy(
            f"{standing.last.actor}@{standing.last.host} ended {move.title} on {move.target}: it is "
            f"{standing.state.value.replace('_', ' ')}{why}.",
            hint="Look at `secops rollout status`.",
            details={"move": str(move.id), "holder": standing.last.actor},
        )
    who = str(hold.owner) if hold.owner else f"{move.actor}@{move.host}"
    since = hold.since or standing.began
    why = f": {move.reason}" if move.reason else ""
    return Busy(
        f"{who} is at {move.title} on {move.target}, for {about(hold.now - since)}, "
        f"{standing.state}{why}.",
        hint="Wait for it. `secops rollout status` shows how far it is; if it is dead, "
        "`secops rollout resume` takes over.",
        details={
            "move": str(move.id),
            "holder": who,
            "since": since.isoformat(),
            "state": standing.state.value,
            "reason": move.reason,
            "heartbeat_age_seconds": None
            if hold.heartbeat is None
            else round((hold.now - hold.heartbeat).total_seconds(), 1),
        },
    )


def sentence(standing: Standing) -> str:
    """Say in one sentence what a move has come to."""
    move = standing.move
    changes = ", ".join(
        f"{name} {'absent' if key.before is None else key.before} to "
        f"{'absent' if key.after is None else key.after}"
        for name, key in sorted(move.keys.items())
    )
    why = standing.text("why")
    return (
        f"{move.title} on {move.target} is {standing.state.value.replace('_', ' ')}"
        f"{f' ({why})' if why else ''}: {changes or 'nothing to change'}"
    )
