"""Variables in a ``.env`` file, and the service on this machine that reads it when it starts."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from secops.errors import ConfigurationError, Conflict
from secops.targets import dotenv_text, own_file, restart
from secops.targets.dotenv_text import Form
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
    Variable,
)

_OPTIONS: Final = frozenset(
    {"path", "form", "patience", "restart", "restart_timeout", "pid_file", "signal"}
)
_SHORTEST_SECRET: Final = 6
"""Shorter values are words that a message may well hold by itself: ``true``, ``5``."""


class Dotenv:
    """One ``.env`` file.

    Args:
        name: What ``secops.yaml`` calls it.
        path: The file; links are followed.
        form: How it is read.
        hook: What makes the service read it again, if anything does.
        patience: How long to wait for another run of secops that writes it.
    """

    kind = "dotenv"

    def __init__(
        self,
        name: str,
        path: Path,
        form: Form = Form.DOTENV,
        hook: restart.Hook | None = None,
        patience: timedelta = timedelta(seconds=10),
    ) -> None:
        self.name = name
        self.path = path
        self._form = form
        self._hook = hook
        self._patience = patience
        self._said: dict[str, str] = {}

    @property
    def fingerprint(self) -> str:
        """The file itself, behind all links."""
        return f"dotenv:{os.path.realpath(self.path)}"

    @property
    def traits(self) -> Traits:
        """It compares and sets; it deploys where a hook is configured."""
        return Traits(compare_and_set=True, deploys=self._hook is not None)

    def read(self) -> Snapshot:
        """Return what the file holds; references as they are written."""
        content = own_file.read(self.path)
        found = dotenv_text.values(dotenv_text.parse(_text(content.data), self._form))
        variables = {name: _variable(name, value) for name, value in found.items()}
        return Snapshot(variables, version=_digest(content.data))

    def write(self, change: Change, expected: Snapshot) -> str:
        """Replace the file by one with the change in it.

        Raises:
            Conflict: It is not what was read.
            Busy: Another run of secops writes it.
            Refused: It is broken, or cannot be replaced as it is, or cannot hold a value.
        """
        real = own_file.read(self.path).path
        with own_file.locked(real, self._patience):
            content = own_file.read(self.path)
            same = content.path == real and _digest(content.data) == expected.version
            if not same:
                raise Conflict(
                    f"{self.path} was changed since it was read.",
                    hint="Nothing was written. Look at what was changed, then try again.",
                )
            made = _data(dotenv_text.changed(_text(content.data), change, self._form))
            if made != content.data:
                own_file.replace(content, made)
        return ""

    def deploy(self, written: str) -> str:
        """Run the hook; without one the service reads the file when it is started next."""
        if written or self._hook is None:
            return written
        identity, said = restart.restarted(self._hook, self._masked)
        self._said[identity] = said
        return identity

    def status(self, deployment: str) -> Deployment:
        """Return what came of the hook."""
        if not deployment:
            return Deployment("", Progress.LIVE, "read when the service starts")
        return restart.deployment(deployment, self._said.get(deployment, ""))

    def deployments(self, since: datetime) -> Sequence[Deployment]:
        """Return nothing: a machine keeps no list of restarts."""
        del since
        return ()

    def edits(self, since: datetime) -> Sequence[Edit]:
        """Return nothing: a file does not know who wrote it."""
        del since
        return ()

    def rights(self) -> Sequence[Right]:
        """Say whether the file can be read and replaced, and the hook be run."""
        content = own_file.read(self.path)
        folder = content.path.parent
        foreign = content.found.st_uid != os.geteuid() and os.geteuid() != 0
        able = os.access(folder, os.W_OK | os.X_OK) and not foreign and content.found.st_nlink == 1
        found = [
            Right("read the file", allowed=True, detail=str(content.path)),
            Right(
                "replace the file", allowed=able, detail=str(folder),
                mend="" if able else "Run secops as its owner, who may write to its folder.",
            ),
            self._alike(content.data),
        ]  # fmt: skip
        return found if self._hook is None else [*found, _runnable(self._hook)]

    def _alike(self, data: bytes) -> Right:
        """Say whether all readers take the file for the same."""
        pieces = dotenv_text.parse(_text(data), self._form)
        broken = [f"line {piece.line}: {piece.broken}" for piece in pieces if piece.broken]
        disputed = [f"line {piece.line}: {piece.disputed}" for piece in pieces if piece.disputed]
        detail = "; ".join((broken + disputed)[:3])
        return Right(
            "every reader takes the file alike",
            allowed=False if broken else None if disputed else True,
            detail=detail or "plain values throughout",
            mend="Mend the line: nothing is written to a broken file." if broken else "",
        )

    def _masked(self, said: str) -> str:
        """Take the file's values out of what a command printed."""
        try:
            held = self.read().variables.values()
        except Exception:  # noqa: BLE001  a file that cannot be read any more lets nothing through
            return ""
        values = {each.value for each in held if each.value}
        for value in sorted(values, key=len, reverse=True):
            if len(value) >= _SHORTEST_SECRET:
                said = said.replace(value, "***")
        return said


def make(place: Place, environ: Mapping[str, str]) -> Dotenv:
    """Make the target that a place describes.

    Raises:
        ConfigurationError: An option is missing or cannot be understood.
    """
    options = Options(place, _OPTIONS)
    path = _path(place, options.text("path", hint="For example: path: .env"))
    form = Form(options.choice("form", tuple(Form), Form.DOTENV))
    patience = options.span("patience", timedelta(seconds=10))
    return Dotenv(place.name, path, form, _hook(place, options, path, environ), patience)


def _hook(
    place: Place, options: Options, path: Path, environ: Mapping[str, str]
) -> restart.Hook | None:
    given = place.options.get("restart")
    pid_file = options.optional("pid_file")
    if given is not None and pid_file is not None:
        raise ConfigurationError(
            f"The target {place.name} has both restart and pid_file.", hint="Keep one of them."
        )
    if isinstance(given, str):
        raise ConfigurationError(
            f"restart of the target {place.name} must be a list; no shell takes it apart.",
            hint=f"Write restart: [{', '.join(given.split())}]",
        )
    if given is not None:
        timeout = options.span("restart_timeout", timedelta(minutes=1))
        return restart.Command(options.names("restart"), timeout, path.parent, environ)
    if pid_file is None:
        return None
    name = options.text("signal", "HUP").upper().removeprefix("SIG")
    known = {each.name.removeprefix("SIG"): each for each in signal.Signals}
    if name not in known:
        raise ConfigurationError(
            f"signal of the target {place.name} must name a signal.", hint="HUP, USR1, USR2, TERM."
        )
    return restart.Signal(_path(place, pid_file), known[name])


def _path(place: Place, text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            f"The target {place.name} names a home folder that is not there."
        ) from None
    return (place.folder or Path.cwd()) / path


def _runnable(hook: restart.Hook) -> Right:
    if isinstance(hook, restart.Signal):
        there = hook.pid_file.is_file()
        return Right("signal the service", allowed=there or None, detail=str(hook.pid_file))
    program = hook.arguments[0] if hook.arguments else ""
    found = shutil.which(program, path=hook.environ.get("PATH"))
    return Right(
        "restart the service", allowed=None if found else False, detail=found or program,
        mend="" if found else f"There is no program {program!r} that may be run.",
    )  # fmt: skip


def _variable(name: str, value: str) -> Variable:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes that are no text: they can be kept, not carried elsewhere
        return Variable(name, None, sealed=True)
    return Variable(name, value, reference=dotenv_text.refers(value))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _data(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16, person=b"secops-dotenv").hexdigest()
