"""What the commands about rollouts share: their options, and opening a target."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.profiles import complete_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secops.rollout.desk import Desk
    from secops.targets.target import Place

Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="Which of secops.yaml's targets; needed where there are several.",
        autocompletion=complete_target,
    ),
]
RolloutName = Annotated[
    str | None,
    typer.Option("--rollout", metavar="NAME", help="Which rollout, where several have the stage."),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Skip stages, or go over values that somebody changed; needs a --reason.",
    ),
]
For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        help="How long what becomes looser may stay until `status` complains.",
    ),
]


@contextmanager
def at(run: Run, place: Place, *, offline: bool = False) -> Iterator[Desk]:
    """Open a target and its journals for the length of a block."""
    from secops.rollout.opening import opened

    with opened(
        run.settings,
        place,
        command=run.name,
        actor=run.operator,
        host=socket.gethostname(),
        offline=offline,
        told=run.output.note,
    ) as desk:
        yield desk


@contextmanager
def at_one(run: Run, target: str | None, *, offline: bool = False) -> Iterator[Desk]:
    """Open the target that is meant, where exactly one is."""
    from secops.targets.open import chosen

    with at(run, chosen(run.settings, target), offline=offline) as desk:
        yield desk
