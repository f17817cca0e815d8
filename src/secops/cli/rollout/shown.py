"""Rollouts on the screen: plans, what became of them, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from secops.durations import about
from secops.errors import Findings, NotYet, OutcomeUnknown, SecopsError

if TYPE_CHECKING:
    from datetime import datetime

    from secops.cli.command import Run
    from secops.rollout.entries import Standing
    from secops.rollout.plan import Line, Plan
    from secops.rollout.rolling_back import Undoing
    from secops.rollout.ticking import Ticked

ABSENT: Final = "(absent)"
SEALED: Final = "(sealed)"


def value(text: str | None, *, hidden: bool = False) -> str:
    """Return a variable's value for people."""
    if hidden:
        return SEALED
    return ABSENT if text is None else text or '""'


def plan_rows(run: Run, plan: Plan) -> None:
    """Print a plan as a table."""
    run.output.rows(
        ("variable", "live", "new", "change", "note"),
        [
            (
                line.name,
                value(line.live, hidden=line.hidden),
                value(line.new),
                _change(plan, line),
                _note(line),
            )
            for line in plan.lines
        ],
        title=plan.title,
    )


def _change(plan: Plan, line: Line) -> str:
    """Say what a change does; what is only spelled out changes nothing."""
    if line.name not in plan.keys:
        return "SAME"
    word = line.direction.value.upper()
    return "SPELLED OUT" if word == "SAME" else word


def _note(line: Line) -> str:
    notes = []
    if line.recorded is not None:
        by = f" by {line.changed}" if line.changed else ""
        notes.append(f"was left as {value(line.recorded.value)}, changed since{by}")
    if line.reference:
        notes.append("refers to another; a rollback restores the reference")
    return "; ".join(notes)


def plan_as_dict(plan: Plan) -> dict[str, object]:
    """Return a plan as JSON holds it."""
    return {
        "title": plan.title,
        "changes": len(plan.keys),
        "variables": [
            {
                "variable": line.name,
                "live": line.live,
                "sealed": line.hidden,
                "new": line.new,
                "change": line.direction.value if line.name in plan.keys else "same",
                "recorded": line.recorded.value if line.recorded else None,
                "drifted": line.recorded is not None,
                "changed_by": line.changed or None,
                "reference": line.reference,
            }
            for line in plan.lines
        ],
        "relaxes": list(plan.relaxes),
        "soak_seconds": plan.soaking.length.total_seconds() if plan.soaking else None,
        "gates": [gate.name for gate in plan.gates],
        "warnings": list(plan.warnings),
    }


def after(plan: Plan) -> list[str]:
    """Say what follows once a plan is carried out."""
    found = []
    if plan.soaking:
        found.append(f"Soak: {plan.soaking.why}.")
    if plan.gates:
        found.append(f"Gates: {', '.join(gate.name for gate in plan.gates)}.")
    if plan.relaxes:
        found.append(
            f"Looser: {', '.join(plan.relaxes)}; that gets a date until which it may stay."
        )
    return found


def as_dict(standing: Standing) -> dict[str, object]:
    """Return a move as JSON holds it."""
    move = standing.move
    return {
        "operation": str(move.id),
        "kind": move.kind.value,
        "target": move.target,
        "rollout": move.rollout,
        "stage": move.stage,
        "state": standing.state.value,
        "over": standing.over,
        "why": standing.text("why"),
        "began": standing.began,
        "actor": move.actor,
        "host": move.host,
        "reason": move.reason,
        "ticket": move.ticket,
        "live_since": standing.moment("live_since"),
        "pure_from": standing.moment("pure_from"),
        "soak_ends": standing.moment("soak_ends"),
        "expires_at": standing.moment("expires_at"),
        "deployment": standing.text("deployment"),
        "overwritten": standing.facts.get("overwritten", []),
        "undoes": [str(each) for each in move.undoes],
        "variables": [
            {"variable": name, "before": key.before, "after": key.after, "sealed": key.hidden}
            for name, key in sorted(move.keys.items())
        ],
    }


_STATES: Final = {
    "intent": "is recorded and not known to be written",
    "applied": "is written and not deployed",
    "deploying": "is being deployed",
    "live": "is live",
    "soaking": "is at the end of its soak",
    "passed": "has passed",
    "failed": "has failed",
    "rolled_back": "is rolled back",
    "unknown": "may or may not be written",
    "conflict": "met somebody else's change",
    "held": "waits for a person",
}


def state_words(standing: Standing) -> str:
    """Return a state for people."""
    return standing.state.value.replace("_", " ")


def headline(standing: Standing, now: datetime) -> str:
    """Say in one line where a move is."""
    move = standing.move
    ends = standing.moment("soak_ends")
    state = _STATES[standing.state.value]
    if standing.state.value == "soaking" and ends is not None and ends > now:
        state = f"is live and soaks for another {about(ends - now)}"
    why = f": {standing.text('why')}" if standing.text("why") else ""
    return f"{move.target}: {move.title} {state}{why}."


def target_option(run: Run, standing: Standing) -> str:
    """Return the option that names the target, where there are several."""
    from secops.targets.open import places

    return f" --target {standing.move.target}" if len(places(run.settings)) > 1 else ""


def undo_words(run: Run, standing: Standing) -> str:
    """Return the command that takes a move back."""
    return f"secops rollback --now{target_option(run, standing)}" if standing.applied else ""


def next_words(run: Run, standing: Standing, now: datetime) -> str:
    """Say what to do next."""
    option = target_option(run, standing)
    state = standing.state.value
    if state == "soaking":
        ends = standing.moment("soak_ends")
        when = f" from {ends:%Y-%m-%d %H:%M}Z on" if ends and ends > now else ""
        return f"secops rollout tick{option} asks the gates (cron); it can pass{when}."
    if state == "held" and standing.text("held") == "gates":
        return (
            f'Look, then: secops rollout resume{option} --accept --reason "..." lets it pass; '
            f"secops rollback{option} undoes it."
        )
    undo = f"secops rollback{option} undoes it."
    known = {
        "held": f"secops rollout resume{option} tries again; {undo}",
        "failed": undo,
        "conflict": f"secops rollback{option} puts back the rest, and keeps what they wrote.",
        "passed": f"The next stage may follow: secops rollout --stage ...{option}"
        if standing.move.kind.value == "stage"
        else "",
        "rolled_back": "",
    }
    return known.get(state, f"secops rollout resume{option} goes on; {undo}")


def undoing_rows(run: Run, undoing: Undoing) -> None:
    """Print what a rollback will do."""
    rows: list[tuple[str, str, str, str]] = [
        (name, value(key.before, hidden=key.hidden), value(key.after), "restore")
        for name, key in sorted(undoing.keys.items())
    ]
    kept = [
        (each.name, value(each.live), value(each.live), "keep: not ours") for each in undoing.kept
    ]
    rows += kept
    rows += [(name, "", "", "as it was already") for name in undoing.already]
    titles = ", ".join(each.move.title for each in undoing.undone)
    run.output.rows(("variable", "live", "becomes", "what"), rows, title=f"Roll back {titles}")


def trouble(ticked: Ticked) -> SecopsError | None:
    """Return what is wrong with where a move has come to; ``None`` where nothing is."""
    standing, back = ticked.standing, ticked.rollback
    move = standing.move
    details: dict[str, object] = {"move": str(move.id), "state": standing.state.value}
    if back is not None:
        details["rollback"] = str(back.move.id)
        if back.state.value == "passed":
            kept = [*back.move.notes.get("kept", ()), *back.facts.get("kept_late", ())]
            but = f" Kept, for somebody else wrote it: {', '.join(kept)}." if kept else ""
            return Findings(
                f"{move.title} on {move.target} failed and was rolled back: {standing.text('why')}.",
                hint=f"What it changed is as it was before.{but} `secops rollout history {move.id}` "
                "tells the rest.",
                details=details,
            )
        return OutcomeUnknown(
            f"{move.title} on {move.target} failed ({standing.text('why')}), and its rollback is "
            f"{state_words(back)}.",
            hint="`secops rollout resume` goes on with it.",
            details=details,
        )
    if standing.state.value == "held":
        if move.kind.value == "rollback":
            return OutcomeUnknown(
                f"The values are back on {move.target}, but not what runs: {standing.text('why')}.",
                hint="`secops rollout resume` deploys again.",
                details=details,
            )
        return NotYet(
            f"{move.title} on {move.target} waits for a person: {standing.text('why')}.",
            hint="`secops rollout status` shows what its gates say and what can be done.",
            details=details,
        )
    return None
