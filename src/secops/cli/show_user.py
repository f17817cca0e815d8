"""``secops show user``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from secops.accounts.diagnosis import Event
    from secops.accounts.explain import Explanation
    from secops.accounts.sessions import Session


@declare("show user")
def command(
    run: Run,
    who: Annotated[str, typer.Argument(metavar="WHO", help="E-mail address, in any case, or id.")],
) -> None:
    r"""Explain one account: why can't they log in?

    Says whether a login with the right password would succeed now and if not, why: the account is
    switched off, the app locked it after failed logins, an operator locked it (who, why, until
    when). Then the live sessions and the last events. Changes nothing, and works before the first
    `secops migrate` too, with what is there.

    \b
    Examples:
      secops show user bob@example.com
      secops show user 8b1f6a30-5c1e-4a53-9d0f-2f6f8a0c4e11 --json
    """
    from secops.accounts.explain import explain
    from secops.accounts.patience import reading
    from secops.output.formats import JSON_FORMATS

    with run.connect() as conn, reading(conn):
        found = explain(
            conn,
            run.layout(conn),
            who,
            allowed=run.settings.number("max_login_attempts"),
        )
    output = run.output
    output.document(_document(found), _lines(found))
    if output.format not in JSON_FORMATS:
        _tables(run, found)
    if found.missing:
        output.warn(
            f"The database has no {', '.join(found.missing)}, so this is not the whole story. "
            "`secops migrate` adds them."
        )


def _lines(found: Explanation) -> Iterator[str]:
    from secops.accounts.states import until_words
    from secops.output.values import for_people

    state, account = found.state, found.state.account
    name = f" ({account.name})" if account.name else ""
    yield f"{account.label}{name}, id {account.id}"
    yield found.verdict
    yield ""
    if account.active is not None:
        yield f"Account   {'active' if account.active else 'switched off'}"
    lock = state.operator
    if lock is not None:
        yield f"Lock      by {lock.by} since {for_people(lock.since)}, {until_words(lock.until)}"
        yield f"          {lock.reason or 'no reason given'}{f', ticket {lock.ticket}' if lock.ticket else ''}"
    elif state.locked:
        yield f"Lock      automatic, {until_words(state.locked_until)}"
    else:
        yield "Lock      none"
    yield f"Attempts  {found.left:,} of {found.allowed:,} left"
    for note in found.notes:
        yield f"Note      {note.text}"


def _tables(run: Run, found: Explanation) -> None:
    from secops.accounts.agents import describe

    run.output.rows(
        ("session", "device", "ip", "age", "idle", "expires"),
        (
            (each.id, describe(each.agent), each.ip, each.age, each.idle, each.expires)
            for each in found.sessions
        ),
        title="Live sessions",
        empty="No live sessions.",
    )
    run.output.rows(
        ("when", "event", "severity", "ip", "device", "message"),
        (
            (
                each.at,
                each.type,
                each.severity,
                each.ip,
                describe(each.agent) if each.agent else "",
                _message(each),
            )
            for each in found.events
        ),
        title="Last events",
        severity="severity",
        empty="No events.",
    )


def _message(event: Event) -> str:
    """Return an event's message; an operator's with who it was and why."""
    text = event.message or ""
    if event.category != "operator" or not isinstance(event.metadata, dict):
        return text
    actor, reason = event.metadata.get("actor"), event.metadata.get("reason")
    # A lock's message ends with the reason.
    return f"{text} ({actor}: {reason})" if reason and reason not in text else f"{text} ({actor})"


def _document(found: Explanation) -> Mapping[str, object]:
    state, account, lock = found.state, found.state.account, found.state.operator
    return {
        "id": account.id,
        "email": account.email,
        "name": account.name,
        "active": account.active,
        "login": {
            "possible": not found.reasons,
            "verdict": found.verdict,
            "reasons": [{"code": each.code, "text": each.text} for each in found.reasons],
        },
        "attempts": {"failed": state.failed, "allowed": found.allowed, "left": found.left},
        "locked_until": state.locked_until,
        "operator_lock": None
        if lock is None
        else {
            "by": lock.by,
            "since": lock.since,
            "until": lock.until,
            "reason": lock.reason,
            "ticket": lock.ticket,
            "operation_id": lock.operation,
        },
        "notes": [{"code": each.code, "text": each.text} for each in found.notes],
        "sessions": [_session(each) for each in found.sessions],
        "events": [_event(each) for each in found.events],
        "missing": list(found.missing),
        "database_time": state.now,
    }


def _session(session: Session) -> Mapping[str, object]:
    from secops.accounts.agents import describe

    return {
        "id": session.id,
        "token_id": session.token,
        "device": describe(session.agent),
        "user_agent": session.agent,
        "ip": session.ip,
        "started_at": session.started,
        "last_used_at": session.last_used,
        "expires_at": session.expires,
        "age_seconds": int(session.age.total_seconds()),
        "idle_seconds": int(session.idle.total_seconds()),
    }


def _event(event: Event) -> Mapping[str, object]:
    return {
        "at": event.at,
        "type": event.type,
        "category": event.category,
        "severity": event.severity,
        "success": event.success,
        "ip": event.ip,
        "user_agent": event.agent,
        "message": event.message,
        "metadata": event.metadata,
    }
