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
    run: Run, max_lag: str | None, pause_file: Path | None, pause_query: str | None
) -> Throttle:
    """Return what the options say."""
    from secops.upkeep.throttle import Throttle

    return Throttle(
        None if max_lag is None else parse_duration(max_lag),
        pause_file,
        pause_query,
        run.output.note,
    )
