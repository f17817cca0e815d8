"""``secops lock user``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.who import FromFile, Who, ask, count, read_names, shown, undo
from secops.durations import parse_duration
from secops.errors import UsageError

if TYPE_CHECKING:
    from secops.accounts.locking import Locking
    from secops.output.outcome import Outcome


@declare("lock user", changes=True, operator=True)
def command(
    run: Run,
    *,
    who: Who = None,
    from_file: FromFile = None,
    span: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="How long: 2h, 7d. Until unlocked if not given."
        ),
    ] = None,
    revoke_sessions: Annotated[
        bool, typer.Option("--revoke-sessions", help="End their live sessions as well.")
    ] = False,
) -> None:
    r"""Keep accounts from logging in.

    The lock is written where the app looks (locked_until) and, with your name and reason, where
    `secops show user` finds it. A lock alone ends no session: add --revoke-sessions for that. If
    one name matches nobody, nobody is locked.

    An account that is already locked for as long stays as it is; one that is locked for less gets
    the longer lock.

    \b
    Examples:
      secops lock user bob@example.com --reason "laptop stolen" --revoke-sessions
      secops lock user bob@example.com --for 2h --reason "strange logins" --ticket SEC-12
      secops lock user --from-file leaked.txt --reason "in a leak" --dry-run
    """
    from secops.accounts import locking
    from secops.accounts.patience import Patience, reading
    from secops.accounts.users import find_all

    length = parse_duration(span) if span is not None else None
    if length is not None and not length:
        raise UsageError(
            "A lock of no length locks nobody.", hint="Give --for 2h, or leave it away."
        )
    if not who and from_file is None:
        raise UsageError("Nobody is named.", hint="Name accounts, or give --from-file FILE.")
    given = read_names(who, from_file)
    operation = None if run.dry_run else run.operation()
    with run.connect() as conn:
        layout = run.layout(conn)
        with reading(conn):
            accounts = find_all(conn, layout, given.names, given.places)
            planned = locking.plan(conn, layout, accounts, length, revoke=revoke_sessions)
        run.guard(planned.matched)
        if operation is None or not planned.changed:
            run.finish(_outcome(run, planned, dry_run=run.dry_run))
            return
        more = (
            f" and end {count(sum(planned.sessions.values()), 'session')}"
            if revoke_sessions
            else ""
        )
        ask(
            run,
            f"Lock {count(planned.changed, 'account')}{more}?",
            bulk=from_file is not None and planned.matched > 1,
        )
        with run.output.progress("Locking", planned.matched, "accounts") as progress:
            done = locking.lock(
                conn,
                layout,
                operation,
                planned,
                length,
                patience=Patience.of(run.settings),
                progress=progress,
            )
    run.finish(_outcome(run, done, operation_id=str(operation.id)))


def _outcome(run: Run, found: Locking, *, dry_run: bool = False, operation_id: str = "") -> Outcome:
    from secops.accounts.revoking import ACCESS_TOKENS
    from secops.output.outcome import Outcome

    locked = [step for step in found.steps if step.result in {"locked", "prolonged"}]
    items = [
        {
            "user": step.state.account.label,
            "id": step.state.account.id,
            "result": step.result,
            "locked_until": step.until,
            "sessions": found.sessions.get(step.state.account.id, 0),
        }
        for step in found.steps
    ]
    live = sum(found.sessions.values())
    if not found.revokes and live and found.changed:
        run.output.note(
            f"{count(live, 'live session')} of theirs {'goes' if live == 1 else 'go'} on for as long "
            "as the app does not check the lock; --revoke-sessions ends them."
        )
    if found.revokes and live and not dry_run:
        run.output.note(ACCESS_TOKENS)
    return Outcome(
        action="lock user",
        dry_run=dry_run,
        matched=found.matched,
        changed=found.changed,
        items=shown(run, items),
        summary=_summary(found, dry_run=dry_run),
        undo=undo(
            run, "unlock user", [step.state.account for step in locked], operation_id=operation_id
        )
        if locked
        else "",
        operation_id=operation_id if found.changed else "",
        extra={"sessions_ended": live if found.revokes and not dry_run else 0},
    )


def _summary(found: Locking, *, dry_run: bool) -> str:
    from secops.accounts.states import until_words

    ended = sum(found.sessions.values()) if found.revokes else 0
    verb = "Would end" if dry_run else "Ended"
    more = f" {verb} {count(ended, 'live session')}." if ended else ""
    if found.matched > 1:
        locked = sum(step.result in {"locked", "prolonged"} for step in found.steps)
        already = found.matched - locked
        rest = f"; {already:,} already locked" if already else ""
        return f"{'Would lock' if dry_run else 'Locked'} {count(locked, 'account')}{rest}.{more}"
    step = found.steps[0]
    label = step.state.account.label
    if step.result.startswith("already"):
        lock = step.state.operator
        by = f" by {lock.by}" if lock is not None else ""
        end = lock.until if lock is not None else None
        plain = f"{label} is already locked{by}, {until_words(end)}."
        return f"Would change no lock: {plain}{more}" if dry_run else plain + more
    word = {"locked": "lock", "prolonged": "prolong the lock of"}[step.result]
    done = {"locked": "Locked", "prolonged": "Prolonged the lock of"}[step.result]
    return f"{f'Would {word}' if dry_run else done} {label} {until_words(step.until)}.{more}"
