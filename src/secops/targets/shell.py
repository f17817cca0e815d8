"""Variables as lines for a shell, printed: ``eval "$(secops ...)"``. What a shell holds cannot be read back."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from secops.errors import Refused
from secops.targets.options import Options
from secops.targets.target import (
    Change,
    Deployment,
    Edit,
    Place,
    Progress,
    Right,
    Snapshot,
    Traits,
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def lines(change: Change) -> list[str]:
    """Return the lines that carry out a change in any POSIX shell.

    Raises:
        Refused: A name is none that a shell takes, or a value holds a NUL character.
    """
    for name in (*change.set, *change.unset):
        if not _NAME.fullmatch(name):
            raise Refused(
                f"{name!r} cannot be a variable's name in a shell.",
                hint="Letters, digits and underscores, no digit first.",
            )
    for name, value in change.set.items():
        if "\x00" in value:
            raise Refused(f"{name}: no environment variable can hold a NUL character.")
    return [
        *(f"export {name}={shlex.quote(value)}" for name, value in change.set.items()),
        *(f"unset {name}" for name in sorted(change.unset)),
    ]


class Shell:
    """Lines for a shell.

    Args:
        name: What ``secops.yaml`` calls it.
        write: Where the lines go; standard output is this target's place.
    """

    kind = "shell"

    def __init__(self, name: str, write: Callable[[str], object]) -> None:
        self.name = name
        self._write = write

    @property
    def fingerprint(self) -> str:
        """Nothing is pointed at."""
        return "shell:stdout"

    @property
    def traits(self) -> Traits:
        """Nothing can be read back, compared or deployed."""
        return Traits(compare_and_set=False, deploys=False, readable=False)

    def read(self) -> Snapshot:
        """Return nothing: who runs the lines is not known."""
        return Snapshot({})

    def write(self, change: Change, expected: Snapshot) -> str:
        """Print the lines, all or none."""
        del expected
        self._write("".join(f"{line}\n" for line in lines(change)))
        return ""

    def deploy(self, written: str) -> str:
        """Return nothing: the shell that reads the lines has them."""
        return written

    def status(self, deployment: str) -> Deployment:
        """Say that it is live once the lines are run."""
        return Deployment(deployment, Progress.LIVE, "live once a shell has run the lines")

    def deployments(self, since: datetime) -> Sequence[Deployment]:
        """Return nothing."""
        del since
        return ()

    def edits(self, since: datetime) -> Sequence[Edit]:
        """Return nothing."""
        del since
        return ()

    def rights(self) -> Sequence[Right]:
        """Say that nothing is needed."""
        return (Right("print", allowed=True),)


def make(place: Place, environ: Mapping[str, str]) -> Shell:
    """Make the target that a place describes."""
    del environ
    Options(place, ())
    return Shell(place.name, sys.stdout.write)
