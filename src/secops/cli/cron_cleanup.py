"""``secops cron cleanup``."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.throttle import MaxLag, PauseFile, PauseQuery, throttle
from secops.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secops.upkeep.cleanup import Part
    from secops.upkeep.heartbeat import Heartbeat


@declare("cron cleanup", changes=True)
def command(
    run: Run,
    *,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="DURATION", help="Tokens that expired at least that long ago."
        ),
    ] = "7d",
    max_duration: Annotated[
        str | None,
        typer.Option(
            "--max-duration",
            metavar="DURATION",
            help="Stop deleting after that long; the next run goes on.",
        ),
    ] = None,
    max_lag: MaxLag = None,
    pause_file: PauseFile = None,
    pause_query: PauseQuery = None,
    ping: Annotated[
        str | None,
        typer.Option(
            "--ping",
            metavar="URL",
            help="Tell a monitor: URL/start, then URL, or URL/fail. Better in SECOPS_PING_URL.",
        ),
    ] = None,
) -> None:
    r"""Do all upkeep in one run, for cron: prune, partitions ahead, statistics.

    Makes the partitions of the months to come where security_events is partitioned, deletes expired
    tokens, deletes events past their retention where a retention is configured (archived first where
    archive.dir is set, whole partitions where they hold nothing else), and gathers statistics where
    autovacuum does not. One run at a time (a second one ends with exit code 6). It never asks.

    It prints one line, or nothing where there was nothing to do. A part that fails does not keep the
    others from running; its sentence comes last, and its exit code is that of the run.

    A monitor that does not answer within 5 seconds is warned about, and nothing else.

    \b
    Examples:
      secops cron cleanup --dry-run
      secops cron cleanup --quiet --max-duration 30m
      SECOPS_PING_URL=https://hc-ping.com/... secops cron cleanup --quiet
    """
    from secops.upkeep.heartbeat import Heartbeat

    secret = run.settings.secret("ping_url")
    url = ping if ping is not None else secret.reveal() if secret else None
    heartbeat = Heartbeat.at(url) if url and not run.dry_run else None
    age = parse_duration(older_than)
    limit = None if max_duration is None else parse_duration(max_duration)
    slowed = throttle(run, max_lag, pause_file, pause_query)
    with _watched(run, heartbeat) as said:
        from secops.upkeep.cleanup import TASK, Cleanup

        with ExitStack() as stack:
            conn = stack.enter_context(run.connect())
            layout = run.layout(conn)
            slowed.check(conn)
            alive = lambda: None  # noqa: E731
            if not run.dry_run:
                from secops.database.locks import one_runner

                alive = stack.enter_context(one_runner(run.open, TASK)).check
            from secops.cli.ddl import Told
            from secops.output.progress import SILENT

            parts = Cleanup(
                conn,
                layout,
                run.settings,
                run.open,
                lambda words: replace(run.operation(upkeep=True), command=words),
                Told(run.output, SILENT),
                alive,
                dry_run=run.dry_run,
                tokens_older_than=age,
                max_duration=limit,
                throttle=slowed,
            ).run()
        said.append(_finish(run, parts))
        failed = [part.error for part in parts if part.error is not None]
        for part in parts:
            for note in part.notes:
                run.output.note(f"{part.name}: {note}")
            if part.error is not None and part.error is not failed[0]:
                run.output.warn(f"{part.name}: {part.error.message} {part.error.hint}")
        if failed:
            raise failed[0]


@contextmanager
def _watched(run: Run, heartbeat: Heartbeat | None) -> Iterator[list[str]]:
    """Tell the monitor how the block begins and ends; gives a list for what it may say."""
    said: list[str] = []

    def tell(suffix: str, text: str = "") -> None:
        if heartbeat is not None and (problem := heartbeat.send(suffix, text)) is not None:
            run.output.warn(f"The heartbeat was not delivered: {problem}.")

    tell("start")
    try:
        yield said
    except BaseException as error:
        # The sentence stays here: it may hold another session's query.
        tell("fail", f"{getattr(error, 'code', 'interrupted')}. {' '.join(said)}".strip())
        raise
    tell("", " ".join(said) or "nothing to do")


def _finish(run: Run, parts: list[Part]) -> str:
    from secops.output.outcome import Outcome

    done = "; ".join(part.said for part in parts if part.said)
    if run.dry_run:
        summary = f"Would do: {done}." if done else "Would do nothing."
    else:
        summary = f"cron cleanup: {done}." if done else ""
    outcome = Outcome(
        action=run.name,
        dry_run=run.dry_run,
        matched=sum(part.changed for part in parts),
        changed=sum(part.changed for part in parts),
        summary=summary or "cron cleanup: nothing to do.",
        extra={"parts": [part.as_item() for part in parts]},
    )
    if run.dry_run:
        run.finish(outcome)
    elif summary:
        run.output.document(outcome.as_dict(), [summary])
    else:
        run.output.document(outcome.as_dict(), [])
    return summary
