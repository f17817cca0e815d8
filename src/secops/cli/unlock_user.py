"""``secops unlock user``."""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Annotated, Final

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.who import FromFile, Who, ask, count, read_names, shown, undo
from secops.durations import format_duration
from secops.errors import NothingMatched, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secops.accounts.steps import Step
    from secops.accounts.unlocking import Filter, Unlocking
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.output.outcome import Outcome

# Failed logins that still explain a lock may be older than the lock itself.
_BEFORE_THE_LOCK: Final = timedelta(hours=24)


@declare("unlock user", changes=True, operator=True)
def command(
    run: Run,
    *,
    who: Who = None,
    from_file: FromFile = None,
    all_locked: Annotated[
        bool,
        typer.Option("--all-locked", help="Everybody whom the app locked after failed logins."),
    ] = False,
    locked_by_ip: Annotated[
        list[str] | None,
        typer.Option(
            "--locked-by-ip",
            metavar="IP/CIDR",
            help="Everybody whom failed logins from there locked; may be given several times.",
        ),
    ] = None,
    operator_locks: Annotated[
        bool,
        typer.Option("--operator-locks", help="With the two above: what operators locked as well."),
    ] = False,
) -> None:
    r"""Let locked accounts log in again.

    Clears the lock and the counter of failed logins. Accounts that are named are unlocked whoever
    locked them; --all-locked and --locked-by-ip leave alone what operators locked, unless
    --operator-locks is given. If one name matches nobody, nobody is unlocked.

    \b
    Examples:
      secops unlock user bob@example.com --reason "called the help desk"
      secops unlock user --locked-by-ip 203.0.113.0/24 --reason "our own office" --dry-run
      secops unlock user --all-locked --expect 120 --yes --reason "attack is over" --ticket SEC-12
    """
    from secops.accounts import unlocking
    from secops.accounts.patience import Patience, reading

    by_filter = all_locked or bool(locked_by_ip)
    named = bool(who) or from_file is not None
    if named == by_filter:
        raise UsageError(
            "Give names or --all-locked or --locked-by-ip, not both."
            if named
            else "Nobody is named.",
            hint="Name accounts, give --from-file FILE, --all-locked or --locked-by-ip IP/CIDR.",
        )
    if operator_locks and named:
        raise UsageError(
            "--operator-locks goes with --all-locked and --locked-by-ip.",
            hint="Accounts that are named are unlocked whoever locked them; leave it away.",
        )
    wanted = _filter(run, locked_by_ip or [], operator_locks=operator_locks)
    given = read_names(who, from_file) if named else None
    operation = None if run.dry_run else run.operation()
    with run.connect() as conn:
        layout = run.layout(conn)
        with reading(conn):
            if given is not None:
                from secops.accounts.users import find_all

                accounts = find_all(conn, layout, given.names, given.places)
                planned = unlocking.plan_named(conn, layout, accounts)
            else:
                planned = unlocking.plan_locked(conn, layout, wanted)
        run.guard(planned.matched)
        if given is None and not planned.matched:
            raise _nobody_is_locked(conn, layout, wanted)
        if operation is None or not planned.changed:
            run.finish(_outcome(run, planned, dry_run=run.dry_run))
            return
        ask(
            run,
            _question(planned),
            bulk=by_filter or (from_file is not None and planned.matched > 1),
        )
        with run.output.progress("Unlocking", planned.matched, "accounts") as progress:
            done = unlocking.unlock(
                conn,
                layout,
                operation,
                planned,
                patience=Patience.of(run.settings),
                progress=progress,
                expect=run.expect,
            )
    run.finish(_outcome(run, done, operation_id=str(operation.id)))


def _filter(run: Run, networks: Sequence[str], *, operator_locks: bool) -> Filter:
    from secops.accounts.unlocking import Filter

    found: list[str] = []
    if networks:
        from secops.accounts.networks import read_networks

        found = read_networks(networks)
    window = run.settings.span("lockout_duration") + _BEFORE_THE_LOCK
    return Filter(networks=found, window=window, operators=operator_locks)


def _nobody_is_locked(conn: Connection, layout: Layout, wanted: Filter) -> NothingMatched:
    """Return the error; says where operators' locks were passed over."""
    from dataclasses import replace

    from secops.accounts.unlocking import plan_locked

    where = " by failed logins from there" if wanted.networks else ""
    if not wanted.operators:
        passed = plan_locked(conn, layout, replace(wanted, operators=True)).matched
        if passed:
            return NothingMatched(
                f"No account is locked automatically{where}; operators locked {passed:,}.",
                hint="--operator-locks unlocks those too.",
            )
    return NothingMatched(f"No account is locked{where}.", hint="Nothing was changed.")


def _question(planned: Unlocking) -> str:
    by_operators = sum(step.state.operator is not None for step in planned.steps)
    which = f", {by_operators:,} of them locked by an operator" if by_operators else ""
    return f"Unlock {count(planned.changed, 'account')}{which}?"


def _outcome(
    run: Run, found: Unlocking, *, dry_run: bool = False, operation_id: str = ""
) -> Outcome:
    from secops.output.outcome import Outcome

    items = [
        {
            "user": step.state.account.label,
            "id": step.state.account.id,
            "result": step.result,
            "was_locked_by": step.state.operator.by
            if step.state.operator
            else "failed logins"
            if step.state.locked
            else None,
            "was_locked_until": step.until,
            "failed_attempts": step.state.failed,
        }
        for step in found.steps
    ]
    return Outcome(
        action="unlock user",
        dry_run=dry_run,
        matched=found.matched,
        changed=found.changed,
        items=shown(run, items),
        summary=_summary(found, dry_run=dry_run),
        undo=_undo(run, [step for step in found.steps if step.result == "unlocked"], operation_id),
        operation_id=operation_id if found.changed else "",
    )


def _summary(found: Unlocking, *, dry_run: bool) -> str:
    unlocked = sum(step.result == "unlocked" for step in found.steps)
    if found.matched != 1:
        cleared = sum(step.result == "attempts cleared" for step in found.steps)
        rest = found.matched - unlocked - cleared
        more = f"; {cleared:,} had failed logins cleared" if cleared else ""
        more += f"; {rest:,} {'was' if rest == 1 else 'were'} not locked" if rest else ""
        return f"{'Would unlock' if dry_run else 'Unlocked'} {count(unlocked, 'account')}{more}."
    return _one(found.steps[0], dry_run=dry_run)


def _one(step: Step, *, dry_run: bool) -> str:
    from secops.accounts.states import until_words

    state, label = step.state, step.state.account.label
    if step.result == "unlocked":
        lock = state.operator
        if lock is not None:
            because = f" ({lock.reason})" if lock.reason else ""
            how = f"{lock.by} had locked it {until_words(lock.until)}{because}"
        else:
            how = f"the app had locked it {until_words(step.until)} after {count(state.failed, 'failed login')}"
        return f"{'Would unlock' if dry_run else 'Unlocked'} {label}; {how}."
    if step.result == "attempts cleared":
        cleared = count(state.failed, "failed login")
        if dry_run:
            return f"Would clear {cleared} of {label}, which is not locked."
        return f"{label} is not locked; cleared {cleared}."
    if dry_run:
        return f"Would change nothing: {label} is not locked."
    return f"{label} is not locked; nothing to do."


def _undo(run: Run, unlocked: Sequence[Step], operation_id: str) -> str:
    if not unlocked:
        return ""
    from secops.accounts.states import FOREVER

    ends = max(
        (step.until - step.state.now for step in unlocked if step.until and step.until != FOREVER),
        default=None,
    )
    endless = any(step.until is None or step.until.year == FOREVER.year for step in unlocked)
    options: list[str] = []
    if ends is not None and not endless:
        whole = timedelta(seconds=max(60, ceil(ends.total_seconds())))
        options = ["--for", format_duration(whole)]
    return undo(run, "lock user", [step.state.account for step in unlocked], options, operation_id)
