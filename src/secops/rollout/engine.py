"""Making a move: one write, one deployment, and a journal that is always a step ahead.

Every step looks first at where the move is, so that a crash at any point is gone on from: what was recorded
decides what is looked at, what is live decides what is done. :func:`drive` is that, for the first run and
for every later one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from secops.durations import about
from secops.errors import NotYet, OutcomeUnknown, SecopsError
from secops.rollout.books import ROLLBACK
from secops.rollout.desk import LOOKS, Desk
from secops.rollout.entries import Standing
from secops.rollout.moves import Kind
from secops.rollout.overwritten import SKEW
from secops.rollout.recovery import Comparison, Outcome, Side, compare
from secops.rollout.states import State
from secops.rollout.writing import conflict, read_back, tell_overwritten, write
from secops.targets.target import Deployment, Progress, Snapshot


def drive(
    desk: Desk,
    standing: Standing,
    *,
    fresh: bool = False,
    snapshot: Snapshot | None = None,
    wait: bool = True,
) -> Standing:
    """Bring a move as far as it goes without a soak: until it is live, or cannot be.

    Args:
        desk: What it is made with; its books own the move.
        standing: The move as it is.
        fresh: Whether this process recorded it just now, so that nothing of it can be anywhere yet.
        snapshot: What was read just now, where the caller did.
        wait: Whether to wait for a deployment; otherwise one look is all.

    Returns:
        The move as it then is: soaking, passed, failed, held, or still deploying.

    Raises:
        Conflict: Somebody else changed what the move changes; nothing of theirs was overwritten.
        OutcomeUnknown: It cannot be known how far it is, or part of it is done: drive it again.
        Unreachable: The target was not reached, and nothing was written.
    """
    while True:
        match standing.state:
            case State.INTENT | State.UNKNOWN:
                standing, snapshot = write(desk, standing, snapshot, fresh=fresh), None
                fresh = True
            case State.APPLIED:
                standing = _deploy(desk, standing, fresh=fresh)
            case State.DEPLOYING:
                standing, over = _watch(desk, standing, wait=wait)
                if over:
                    return standing
            case State.LIVE:
                return _settle_in(desk, standing)
            case _:
                return standing


def _deploy(desk: Desk, standing: Standing, *, fresh: bool) -> Standing:
    """See that what was written is there, then have it deployed: exactly one deployment."""
    move = standing.move
    standing = tell_overwritten(desk, standing)
    found = _verified(desk, standing)
    if found.outcome is Outcome.CONFLICT and move.kind is not Kind.ROLLBACK:
        raise conflict(desk, standing, found)
    if not found.marked or _remains(found):
        # Half a write, or somebody who put it back at once: a person tells these apart.
        why = "what is there is not what was written"
        desk.books.record(standing, State.UNKNOWN, why=why, deployment="")
        left = ", ".join(name for name, side in found.sides.items() if side is Side.BEFORE)
        raise OutcomeUnknown(
            f"{move.target} took the write of {move.title}, and {left or 'the marker'} is not as written.",
            hint="`secops rollout resume` writes what is missing, `secops rollback` puts back the rest.",
            details={"move": str(move.id), "variables": found.as_rows()},
        )
    deployment = standing.text("deployment")
    if not deployment and not fresh:
        deployment = _already(desk, standing)
    if not deployment:
        desk.books.beat(standing)
        try:
            deployment = desk.target.deploy(standing.text("written"))
        except OutcomeUnknown as error:
            deployment = _already(desk, standing)
            if not deployment and desk.target.traits.deploys:
                raise _half(standing, error) from None
        except SecopsError as error:
            raise _half(standing, error) from None
    late = {"kept_late": list(found.foreign)} if found.foreign else {}
    return desk.books.record(standing, State.DEPLOYING, deployment=deployment, **late)


def _verified(desk: Desk, standing: Standing) -> Comparison:
    found = compare(standing.move, read_back(desk, standing))
    for seconds in desk.waits[:LOOKS]:
        if found.outcome in {Outcome.APPLIED, Outcome.CONFLICT}:
            break
        desk.sleep(seconds)
        found = compare(standing.move, read_back(desk, standing))
    return found


def _remains(found: Comparison) -> bool:
    change = found.remaining()
    return len(change.set) > 1 or bool(change.unset)


def _already(desk: Desk, standing: Standing) -> str:
    """Return the deployment that carries the write, where one was begun and we were not told."""
    if not desk.target.traits.deploys:
        return ""
    known = set(standing.move.deployments) | set(standing.facts.get("given_up", ()))
    for seconds in (0.0, *desk.waits[:2]):
        desk.sleep(seconds)
        there = desk.target.deployments(standing.began - SKEW)
        new = [each for each in there if each.id not in known]
        if new:
            return new[0].id
    return ""


def _half(standing: Standing, error: SecopsError) -> OutcomeUnknown:
    move = standing.move
    return OutcomeUnknown(
        f"{move.title} is written to {move.target}, and its deployment could not be begun: "
        f"{error.message}",
        hint="The service still runs with what it had. `secops rollout resume` deploys, "
        "`secops rollback` undoes.",
        details={"move": str(move.id)},
    )


def _watch(desk: Desk, standing: Standing, *, wait: bool) -> tuple[Standing, bool]:
    """Watch a deployment until it is live or cannot be; the flag says that there is no more to do now."""
    looked = 0
    while True:
        found = _status(desk, standing)
        match found.progress:
            case Progress.LIVE:
                if not desk.target.traits.deploys:
                    desk.told("Nothing is deployed here: the service has it once it is restarted.")
                return _live(desk, standing), False
            case Progress.FAILED:
                why = f"the deployment {found.id} {found.detail or 'failed'}".strip()
                desk.warn(f"{why[0].upper()}{why[1:]}.")
                return fail(desk, standing, why), True
            case Progress.HELD:
                why = f"the deployment {found.id} waits for a person ({found.detail})"
                desk.warn(f"{why[0].upper()}{why[1:]}.")
                return desk.books.record(standing, State.HELD, why=why, held="deployment"), True
            case Progress.PENDING:
                pass
        waited = desk.books.now() - standing.last.at
        if waited >= standing.move.deadline:
            why = f"the deployment {found.id} was not live within {about(standing.move.deadline)}"
            return fail(desk, standing, why), True
        if not wait:
            return standing, True
        desk.told(f"Deployment {found.id} is {found.detail or 'on its way'}.")
        desk.sleep(desk.waits[min(looked, len(desk.waits) - 1)])
        looked += 1
        desk.books.beat(standing)


def _status(desk: Desk, standing: Standing) -> Deployment:
    deployment = standing.text("deployment")
    if not deployment and not desk.target.traits.deploys:
        return Deployment("", Progress.LIVE)
    return desk.target.status(deployment)


def fail(desk: Desk, standing: Standing, why: str) -> Standing:
    """Record that a move failed after it was written; a rollback that does is held for a person."""
    if standing.move.kind is Kind.ROLLBACK:
        return desk.books.record(standing, State.HELD, why=why, held="deployment")
    if standing.move.on_fail == "hold":
        return desk.books.record(standing, State.HELD, why=why, held="failed")
    return desk.books.record(standing, State.FAILED, why=why)


def _live(desk: Desk, standing: Standing) -> Standing:
    move = standing.move
    now = desk.books.now()
    soak = move.soak or timedelta(0)
    return desk.books.record(
        standing,
        State.LIVE,
        why="",
        live_since=now.isoformat(),
        pure_from=(now + move.pure_after).isoformat(),
        soak_ends=(now + soak).isoformat(),
        **({"expires_at": (now + move.relaxed_for).isoformat()} if move.relaxed_for else {}),
    )


def _settle_in(desk: Desk, standing: Standing) -> Standing:
    """Go on from live: to the soak, or to the end where there is none."""
    move = standing.move
    if move.soak is None and not move.gates:
        if move.command == ROLLBACK:
            return desk.books.finish(standing, State.PASSED)
        return desk.books.record(standing, State.PASSED, over=True)
    return desk.books.record(standing, State.SOAKING)


def check_time(standing: Standing, now: datetime) -> None:
    """Say no where a soak is not over.

    Raises:
        NotYet: It is not.
    """
    ends = standing.moment("soak_ends")
    if standing.state in {State.SOAKING, State.HELD} and ends is not None and now < ends:
        raise NotYet(
            f"{standing.move.title} soaks on {standing.move.target} for another "
            f"{about(ends - now)}.",
            hint="`secops rollout tick` asks its gates; cron does that.",
            details={"move": str(standing.move.id), "soak_ends": ends.isoformat()},
        )
