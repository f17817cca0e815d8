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

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from secops.accounts.criteria import Criteria
    from secops.accounts.sessions import UserSessions
    from secops.accounts.users import Account
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.output.outcome import Outcome

_PREVIEWED: Final = 10

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
            planned = sessions.find(conn, layout, criteria, numbers=run.dry_run)
            matched = sum(each.count for each in planned)
            run.guard(matched)
            if run.dry_run:
                _list(run, conn, layout, criteria)
        if not matched:
            _nothing(criteria)
        if operation is None or not matched:
            run.finish(_outcome(run, planned, matched, accounts=accounts, dry_run=run.dry_run))
            return
        bulk = not criteria.names_each
        if bulk and not run.yes:
            _preview(run, planned)
        ask(
            run,
            f"End {count(matched, 'session')} of {count(len(planned), 'account')}?",
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
    run.finish(_outcome(run, done, matched, accounts=accounts, operation_id=str(operation.id)))


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


def _list(run: Run, conn: Connection, layout: Layout, criteria: Criteria) -> None:
    """List the sessions that would end, each with its id; JSON has the ids in its items."""
    from secops.accounts import sessions
    from secops.accounts.agents import describe

    if run.output.format is not Format.TABLE:
        return
    run.output.rows(
        ("session", "user", "device", "ip", "age", "idle"),
        (
            (each.id, each.account.label, describe(each.agent), each.ip, each.age, each.idle)
            for each in sessions.listing(conn, layout, criteria)
        ),
        empty="No live session.",
    )
    run.output.line()


def _preview(run: Run, planned: Sequence[UserSessions]) -> None:
    for each in planned[:_PREVIEWED]:
        run.output.note(f"{each.count:>7,}  {each.account.label}")
    if len(planned) > _PREVIEWED:
        rest = planned[_PREVIEWED:]
        run.output.note(
            f"{sum(each.count for each in rest):>7,}  of {count(len(rest), 'other account')}"
        )


def _outcome(
    run: Run,
    found: Sequence[UserSessions],
    matched: int,
    *,
    accounts: Sequence[Account],
    dry_run: bool = False,
    operation_id: str = "",
) -> Outcome:
    from secops.accounts.revoking import ACCESS_TOKENS
    from secops.output.outcome import Outcome

    changed = sum(each.count for each in found)
    people = run.output.format is Format.TABLE
    items = [
        {"user": each.account.label, "id": each.account.id, "sessions": each.count}
        | ({} if people else {"session_ids": each.sessions, "token_ids": each.tokens})
        for each in found
    ]
    return Outcome(
        action="revoke sessions",
        dry_run=dry_run,
        matched=matched,
        changed=changed,
        items=() if people and dry_run else shown(run, items),
        summary=_summary(found, changed, accounts, dry_run=dry_run),
        undo="not possible; people whose sessions ended log in again" if changed else "",
        operation_id=operation_id,
        extra={"accounts": len(found), "access_tokens": ACCESS_TOKENS},
    )


def _summary(
    found: Sequence[UserSessions], changed: int, accounts: Sequence[Account], *, dry_run: bool
) -> str:
    if not found:
        whom = accounts[0].label if len(accounts) == 1 else "None of these accounts"
        has = "has no live session" if len(accounts) == 1 else "has a live session"
        return f"{'Would change nothing: ' if dry_run else ''}{whom} {has}."
    whom = found[0].account.label if len(found) == 1 else count(len(found), "account")
    return f"{'Would end' if dry_run else 'Ended'} {count(changed, 'session')} of {whom}."
