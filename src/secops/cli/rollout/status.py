"""``secops rollout status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.cli.command import Run
from secops.cli.rollout.options import Target, at
from secops.durations import about
from secops.errors import Findings

if TYPE_CHECKING:
    from datetime import datetime

    from secops.rollout.desk import Desk
    from secops.rollout.entries import Standing


def status(run: Run, *, target: Target = None) -> None:
    r"""Say how far every rollout is, what its gates say, and what to do.

    Asks the journal, not the targets. Works with the copy on this machine where the database is down.
    Exit 3 where something that was relaxed has outstayed its date.

    \b
    Examples:
      secops rollout status
      secops rollout status --target prod --json
    """
    from secops.output.formats import JSON_FORMATS
    from secops.rollout.expiry import relaxations
    from secops.rollout.opening import named_places

    late: list[str] = []
    documents: list[dict[str, object]] = []
    for place in named_places(run.settings, target):
        with at(run, place, offline=True) as desk:
            if not desk.books.online:
                run.output.warn(
                    f"The database is away ({desk.books.why}); this is what is known here."
                )
            now = desk.books.now()
            found = desk.books.standings()
            loose = relaxations(found)
            late += [
                f"{name} on {place.name} since {since:%Y-%m-%d %H:%M}Z"
                for name, since in sorted(loose.items())
                if since <= now
            ]
            documents.append(_document(desk, place.name, now, found, loose))
            if run.output.format not in JSON_FORMATS:
                for line in _lines(run, desk, place.name, now, found):
                    run.output.line(line)
                for name, until in sorted(loose.items()):
                    words = "has outstayed its date by" if until <= now else "may stay looser for"
                    run.output.line(
                        f"  {name} {words} {about(until - now)} ({until:%Y-%m-%d %H:%M}Z)."
                    )
    if run.output.format in JSON_FORMATS:
        run.output.document(documents, ())
    if late:
        raise Findings(
            f"Relaxed for too long: {', '.join(late)}.",
            hint="Go back to the stage (secops rollout --stage ...), or roll back.",
            details={"late": late},
        )


def _lines(run: Run, desk: Desk, place: str, now: datetime, found: list[Standing]) -> list[str]:
    from secops.cli.rollout.shown import headline, next_words

    active = desk.books.active()
    if active is None:
        if not found:
            return [f"{place}: nothing was rolled out here yet."]
        last = found[-1]
        age = about(now - last.last.at)
        return [f"{headline(last, now)[:-1]}, {age} ago. Nothing is on its way."]
    move = active.move
    lines = [headline(active, now)]
    why = f": {move.reason}" if move.reason else ""
    lines.append(f"  Begun {about(now - active.began)} ago by {move.actor}@{move.host}{why}.")
    hold = desk.books.hold(active)
    if hold.owner is not None:
        life = "at it" if hold.alive else "gone"
        lines.append(f"  Owner: {hold.owner}, {life}.")
    lines += [
        f"  {reading['gate']}: {str(reading['verdict']).upper()}. {reading['summary']}"
        for reading in _readings(desk, active)
    ]
    lines += [f"  {row}" for row in _conflict(active)]
    lines.append(f"  Next: {next_words(run, active, now)}")
    return lines


def _readings(desk: Desk, standing: Standing) -> list[dict[str, object]]:
    """Return the newest reading of each gate."""
    if desk.books.journal is None:
        return []
    found = {str(each["gate"]): each for each in desk.books.journal.readings(standing.move.id)}
    return [found[gate.name] for gate in standing.move.gates if gate.name in found]


def _conflict(standing: Standing) -> list[str]:
    from secops.cli.rollout.shown import value

    return [
        f"{row['variable']}: was {value(row['before'])}, was to be {value(row['after'])}, "
        f"is {value(row['live'])}"
        for row in standing.facts.get("conflict", [])
        if row["is"] == "foreign"
    ]


def _document(
    desk: Desk, place: str, now: datetime, found: list[Standing], loose: dict[str, datetime]
) -> dict[str, object]:
    from secops.cli.rollout.shown import as_dict

    active = desk.books.active()
    return {
        "target": place,
        "now": now,
        "database": desk.books.online,
        "active": as_dict(active) if active else None,
        "last": as_dict(found[-1]) if found else None,
        "gates": _readings(desk, active) if active else [],
        "relaxed": [{"variable": name, "until": until} for name, until in sorted(loose.items())],
    }
