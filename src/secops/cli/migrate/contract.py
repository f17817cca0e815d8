"""``secops migrate contract``: give up what an earlier layer needed, its clear tokens above all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.ddl import LockBudget, Told, budget, operation
from secops.durations import parse_duration

if TYPE_CHECKING:
    from secops.output.outcome import Outcome
    from secops.schema.adoption.contract import Contraction


def contract(
    run: Run,
    *,
    accept_loss: Annotated[
        int | None,
        typer.Option(
            "--accept-loss",
            metavar="N",
            min=0,
            help="How many clear tokens may go: exactly as many as there are.",
        ),
    ] = None,
    grace: Annotated[
        str,
        typer.Option(
            "--grace",
            metavar="DURATION",
            help="For how long nobody must have used a clear token.",
        ),
    ] = "1h",
    lock_budget: LockBudget = None,
) -> None:
    r"""Drop the clear tokens of an earlier layer, once its app has gone.

    `secops migrate` takes an earlier, home-grown layer over and keeps the tokens in clear beside their
    hashes, so that the old app goes on. This ends that: it drops the column with the clear tokens, and
    what kept old and new columns in step. Sessions stay: the new app finds them by their hash.

    It shows how many rows hold a clear token and what still names the column: functions, views, indexes,
    what sessions last ran, what pg_stat_statements saw. It refuses while a clear token was written, looked
    up or asked for within the --grace. In a terminal it asks for the number of tokens; elsewhere
    --accept-loss must say it.

    \b
    Examples:
      secops migrate contract --dry-run
      secops migrate contract
      secops migrate contract --accept-loss 5120 --yes
    """
    from secops.schema import workplace
    from secops.schema.adoption.contract import Contracting, check
    from secops.schema.migrate import check_loss

    quiet_for = parse_duration(grace)
    with workplace.opened(Contracting, run.settings, "migrate contract") as contracting:
        if contracting.pooled:
            raise workplace.pooler_in_between(run.settings)
        begun = operation(run)
        found = contracting.prospect(begun)
        if run.dry_run or not found.steps:
            sql = [each.as_string() for step in found.steps for each in step.statements]
            run.finish(_outcome(run, found, sql))
            return
        check(found, quiet_for)
        total = sum(loss.count for loss in found.losses)
        if accept_loss is None and total and run.output.can_ask and not run.yes:
            for line in _lines(found):
                run.output.note(line)
            run.confirm(f"Type the number of clear tokens to drop, {total}:", word=str(total))
            accept_loss = total
        else:
            if found.usage is not None:
                check_loss(found.losses, accept_loss)
            run.confirm(f"Drop {total:,} clear tokens?")
        done: list[Contraction] = []
        with run.output.progress("Contracting", len(found.steps), unit="statements") as progress:
            told = Told(run.output, progress)
            contracting.contract(
                begun,
                told,
                budget=budget(run, lock_budget),
                grace=quiet_for,
                accept_loss=accept_loss,
                planned=done.append,
            )
        run.finish(_outcome(run, done[0], told.sql))


def _lines(found: Contraction) -> list[str]:
    if found.usage is None:
        return []
    lines = [f"{found.usage.rows:,} rows hold a clear token, {found.usage.live:,} of them live."]
    lines += [f"{each.kind}: {each.what}" for each in found.usage.code]
    return lines


def _outcome(run: Run, found: Contraction, sql: list[str]) -> Outcome:
    from secops.output.outcome import Outcome

    usage = found.usage
    items: list[dict[str, object]] = []
    extra: dict[str, object] = {"sql": sql}
    rows = 0
    if usage is not None:
        rows = usage.rows
        items = [
            {"kind": each.kind, "what": each.what, "seen": each.seen, "calls": each.calls}
            for each in usage.code
        ]
        extra |= {
            "tokens": usage.rows,
            "live": usage.live,
            "last_written": usage.written,
            "last_looked_up": usage.looked_up,
            "lookups": usage.lookups,
        }
    if not found.steps:
        summary = "Nothing to contract: there is no earlier layer that was taken over."
    elif run.dry_run:
        live = f", {usage.live:,} of them of live sessions" if usage else ""
        summary = (
            f"Would drop {rows:,} clear tokens{live}; {len(items)} things name them. "
            f"--accept-loss {rows}."
        )
    else:
        summary = (
            f"{rows:,} clear tokens are dropped; their hashes, and the sessions, stay. The values stay "
            "on disk until rows are written anew (VACUUM FULL, pg_repack), and in backups."
        )
    if found.kept:
        extra["kept"] = list(found.kept)
    return Outcome(
        action=run.name,
        dry_run=run.dry_run,
        matched=rows,
        changed=len(sql),
        items=items,
        summary=summary,
        undo="A backup: dropped tokens do not come back." if found.steps else "",
        extra=extra,
    )
