"""``secops revoke sessions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.times import read_past
from secops.cli.who import ask, count, read_names, shown
from secops.durations import parse_duration
from secops.errors import NothingMatched, UsageError
from secops.output import Format
from secops.output.outcome import NoUndo, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from secops.accounts.criteria import Criteria
    from secops.accounts.revoking import Revoked
    from secops.accounts.sessions import Found, UserSessions
    from secops.accounts.users import Account
    from secops.database.connection import Connection
    from secops.database.layout import Layout

_PREVIEWED: Final = 10
_UNDO: Final = NoUndo("people whose sessions ended log in again")

_Several = list[str] | None


@declare("revoke sessions", changes=True, operator=True)
def command(
    run: Run,
    *,
    user: Annotated[
        _Several,
        typer.Option("--user", metavar="WHO", help="Of this account: e-mail address or id."),
    ] = None,
    session: Annotated[
        _Several,
        typer.Option("--session", metavar="ID", help="This one; `secops show user` has the ids."),
    ] = None,
    family: Annotated[
        _Several, typer.Option("--family", metavar="ID", help="Of this token family (family_id).")
    ] = None,
    ip: Annotated[
        _Several,
        typer.Option("--ip", metavar="IP/CIDR", help="Last used from there; IPv4 or IPv6."),
    ] = None,
    agent: Annotated[
        _Several,
        typer.Option(
            "--agent", metavar="GLOB", help="Whose user agent matches, * and ?, in any case."
        ),
    ] = None,
    issued_before: Annotated[
        str | None,
        typer.Option(
            "--issued-before",
            metavar="TIME",
            help="Logged in before 2026-11-24T09:00Z, or 3d (ago).",
        ),
    ] = None,
    idle_for: Annotated[
        str | None,
        typer.Option("--idle-for", metavar="DURATION", help="Not refreshed for that long."),
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="All sessions of everybody; asks for the word.")
    ] = False,
) -> None:
    r"""End sessions: by user, address, device, age, or all.

    Criteria of different kinds must all hold; the same one given several times means any of them.
    --dry-run lists the sessions. Ended sessions cannot be brought back: people log in again. Access
    tokens that are already out work until they expire, unless the app compares the account's
    token_epoch, which is raised when none of its sessions is left.

    Many sessions are ended in batches; after an interruption, run it again.

    \b
    Examples:
      secops revoke sessions --user bob@example.com --reason "laptop stolen"
      secops revoke sessions --ip 203.0.113.0/24 --issued-before 2d --reason "attack" --dry-run
      secops revoke sessions --agent "*HeadlessChrome*" --reason "bot" --expect 240 --yes
      secops revoke sessions --everyone --reason "signing key leaked" --ticket SEC-12
    """
    from dataclasses import replace

    from secops.accounts import revoking, sessions
    from secops.accounts.criteria import Criteria, moment
    from secops.accounts.patience import Patience, reading
    from secops.accounts.users import find_all

    criteria = Criteria(
        sessions=_numbers(session, "session"),
        families=_numbers(family, "family"),
        networks=_networks(ip),
        agents=_agents(agent),
        idle_for=_idle(idle_for),
        everyone=everyone,
    )
    before = read_past(issued_before) if issued_before is not None else None
    names = read_names(user, None).names
    _enough(criteria, more=bool(names) or before is not None)
    operation = None if run.dry_run else run.operation()
    with run.connect() as conn:
        layout = run.layout(conn)
        with reading(conn):
            accounts = find_all(conn, layout, names) if names else []
            criteria = replace(
                criteria,
                users=tuple(account.id for account in accounts),
                issued_before=moment(conn, before) if before is not None else None,
            )
            planned = sessions.count(conn, layout, criteria)
            matched = planned.matched
            run.guard(matched)
            if operation is None:
                run.finish(_would(run, conn, layout, criteria, planned, accounts=accounts))
                return
            bulk = not criteria.names_each
            if matched and bulk and not run.yes:
                _preview(run, sessions.largest(conn, layout, planned, _PREVIEWED), planned)
        if not matched:
            _nothing(criteria)
            run.finish(Outcome("revoke sessions", False, 0, 0, summary=_idle_accounts(accounts)))
            return
        ask(
            run,
            f"End {count(matched, 'session')} of {count(len(planned.counts), 'account')}?",
            bulk=bulk,
            word="everyone" if everyone else None,
        )
        with run.output.progress("Ending sessions", matched, "sessions") as progress:
            done = revoking.revoke(
                conn,
                layout,
                operation,
                criteria,
                planned,
                patience=Patience.of(run.settings),
                progress=progress,
                expect=run.expect,
            )
    run.output.note(revoking.ACCESS_TOKENS)
    run.finish(_did(run, done, matched, operation_id=str(operation.id)))


def _numbers(texts: list[str] | None, what: str) -> tuple[UUID, ...]:
    found: list[UUID] = []
    for text in texts or ():
        try:
            found.append(UUID(text.strip()))
        except ValueError:
            raise NothingMatched(
                f"There is no {what} {text!r}: ids are UUIDs.",
                hint="`secops show user WHO` lists sessions with their ids.",
            ) from None
    return tuple(found)


def _networks(texts: list[str] | None) -> tuple[str, ...]:
    if not texts:
        return ()
    from secops.accounts.networks import read_networks

    return tuple(read_networks(texts))


def _agents(globs: list[str] | None) -> tuple[str, ...]:
    if any(not glob.strip() for glob in globs or ()):
        raise UsageError(
            "--agent is empty.", hint='Write what the user agent holds: --agent "*Firefox*".'
        )
    from secops.accounts.operations import storable

    return tuple(storable(glob) for glob in globs or ())


def _idle(text: str | None) -> timedelta | None:
    if text is None:
        return None
    span = parse_duration(text)
    if not span:
        raise UsageError(
            "--idle-for 0 would mean every session.", hint="Say --everyone where that is meant."
        )
    return span


def _enough(criteria: Criteria, *, more: bool) -> None:
    """Refuse a call that says nothing, or everything and something."""
    some = more or bool(set(criteria.as_dict()) - {"everyone"})
    if criteria.everyone and some:
        raise UsageError(
            "--everyone goes with no other criterion.",
            hint="Leave it away: the others mean everybody for whom they hold.",
        )
    if not criteria.everyone and not some:
        raise UsageError(
            "Nothing says which sessions.",
            hint="Give --user, --session, --family, --ip, --agent, --issued-before, --idle-for or "
            "--everyone.",
        )


def _nothing(criteria: Criteria) -> None:
    """Refuse where a filter matches nothing; accounts without a live session are fine as they are."""
    if set(criteria.as_dict()) != {"users"}:
        raise NothingMatched(
            "No live session matches.",
            hint="Nothing was changed. `secops report sessions` shows what there is."
            if criteria.everyone or not criteria.names_each
            else "Nothing was changed. `secops show user WHO` lists an account's sessions.",
        )


def _idle_accounts(accounts: Sequence[Account]) -> str:
    if len(accounts) == 1:
        return f"{accounts[0].label} has no live session; nothing to do."
    return "None of these accounts has a live session; nothing to do."


def _preview(run: Run, most: Sequence[UserSessions], planned: Found) -> None:
    for each in most:
        run.output.note(f"{each.count:>7,}  {each.account.label}")
    rest = len(planned.counts) - len(most)
    if rest:
        left = planned.matched - sum(each.count for each in most)
        run.output.note(f"{left:>7,}  of {count(rest, 'other account')}")


def _would(
    run: Run,
    conn: Connection,
    layout: Layout,
    criteria: Criteria,
    planned: Found,
    *,
    accounts: Sequence[Account],
) -> Outcome:
    """Return what would end, with the number of each session; for people they are listed first."""
    from secops.accounts import sessions
    from secops.accounts.agents import describe

    matched = planned.matched
    if not matched:
        _nothing(criteria)
        summary = f"Would change nothing: {_idle_accounts(accounts)}"
        return Outcome("revoke sessions", True, 0, 0, summary=summary)
    items: list[dict[str, object]] = []
    if run.output.format is Format.TABLE:
        run.output.rows(
            ("session", "user", "device", "ip", "age", "idle"),
            (
                (each.id, each.account.label, describe(each.agent), each.ip, each.age, each.idle)
                for each in sessions.listing(conn, layout, criteria)
            ),
        )
        run.output.line()
    else:
        items = [_item(each) for each in sessions.numbered(conn, layout, criteria)]
    whom = (
        sessions.largest(conn, layout, planned, 1)[0].account.label
        if len(planned.counts) == 1
        else count(len(planned.counts), "account")
    )
    return Outcome(
        action="revoke sessions",
        dry_run=True,
        matched=matched,
        changed=matched,
        items=items,
        summary=f"Would end {count(matched, 'session')} of {whom}.",
        undo=_UNDO,
        extra={"accounts": len(planned.counts)},
    )


def _did(run: Run, done: Revoked, matched: int, *, operation_id: str) -> Outcome:
    from secops.accounts.revoking import ACCESS_TOKENS

    people = run.output.format is Format.TABLE
    items = [
        {"user": each.account.label, "id": each.account.id, "sessions": each.count}
        if people
        else _item(each)
        for each in done.listed
    ]
    whom = done.listed[0].account.label if done.accounts == 1 else count(done.accounts, "account")
    return Outcome(
        action="revoke sessions",
        dry_run=False,
        matched=matched,
        changed=done.sessions,
        items=shown(run, items),
        summary=f"Ended {count(done.sessions, 'session')} of {whom}.",
        undo=_UNDO,
        operation_id=operation_id,
        extra={
            "accounts": done.accounts,
            "items_left_out": done.accounts - len({each.account.id for each in done.listed}),
            "access_tokens": ACCESS_TOKENS,
        },
    )


def _item(each: UserSessions) -> dict[str, object]:
    return {
        "user": each.account.label,
        "id": each.account.id,
        "sessions": each.count,
        "session_ids": each.sessions,
        "token_ids": each.tokens,
    }
