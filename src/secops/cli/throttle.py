"""The options that make a long run wait for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secops.durations import parse_duration

if TYPE_CHECKING:
    from secops.cli.command import Run
    from secops.upkeep.throttle import Throttle

MaxLag = Annotated[
    str | None,
    typer.Option(
        "--max-lag", metavar="DURATION", help="Wait while a replica is further behind than that."
    ),
]
PauseFile = Annotated[
    Path | None,
    typer.Option("--pause-file", metavar="FILE", help="Wait while that file is there."),
]
PauseQuery = Annotated[
    str | None,
    typer.Option(
        "--pause-query", metavar="SQL", help="Wait while that query gives true or more than 0."
    ),
]


def throttle(
    run: Run,
    max_lag: str | None = None,
    pause_file: Path | None = None,
    pause_query: str | None = None,
) -> Throttle:
    """Return what options, environment and settings file say, and follow the file while it runs."""
    from secops.upkeep.controls import Controls, Limits
    from secops.upkeep.throttle import Throttle

    lag = None if max_lag is None else parse_duration(max_lag)
    controls = Controls.of(run.settings, Limits(lag, pause_file, pause_query), run.output.note)
    now = controls.now
    return Throttle(now.max_lag, now.pause_file, now.pause_query, run.output.note, controls.changed)
