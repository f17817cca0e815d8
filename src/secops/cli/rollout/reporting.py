"""What became of a move, told in words or in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.cli.rollout.shown import as_dict, headline, next_words, trouble, undo_words, value
from secops.output.outcome import Outcome

if TYPE_CHECKING:
    from secops.cli.command import Run
    from secops.rollout.desk import Desk
    from secops.rollout.ticking import Ticked


def report(run: Run, desk: Desk, ticked: Ticked) -> None:
    """Print what a command has done to a move, and raise what is wrong with it."""
    standing = ticked.standing
    now = desk.books.now()
    wrong = trouble(ticked)
    after = "" if wrong else next_words(run, standing, now)
    summary = headline(standing, now) + (f" {after}" if after else "")
    done = ticked.rollback is None
    run.finish(
        Outcome(
            action=run.name,
            dry_run=False,
            matched=len(standing.move.keys),
            changed=len(standing.move.keys) if standing.applied and done else 0,
            items=[
                {"variable": name, "before": value(key.before), "after": value(key.after)}
                for name, key in sorted(standing.move.keys.items())
            ],
            summary=summary,
            undo=undo_words(run, standing)
            if done and standing.move.kind.value != "rollback"
            else "",
            operation_id=str(standing.move.id),
            extra={
                "move": as_dict(standing),
                "gates": [each.as_dict() for each in ticked.verdicts.readings]
                if ticked.verdicts
                else [],
                "rollback": as_dict(ticked.rollback) if ticked.rollback else None,
                "warnings": list(desk.warnings),
            },
        )
    )
    if wrong is not None:
        raise wrong
