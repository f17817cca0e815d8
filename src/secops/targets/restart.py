"""Making a service on this machine read its variables again: a command, or a signal to its process.

What came of it is in the deployment's id, so that any later run can be told without a file of ours:
``restart:20261124T093000Z:ok``, ``restart:20261124T093000Z:exit 3``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from secops.errors import ConfigurationError
from secops.targets.target import Deployment, Progress

_OK: Final = "ok"
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_TAIL: Final = 4_000
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments, run without a shell.

    Attributes:
        arguments: The program first.
        timeout: How long it may take.
        folder: Where it runs.
        environ: Its environment; what is secops' own is left out.
    """

    arguments: Sequence[str]
    timeout: timedelta
    folder: Path
    environ: Mapping[str, str]

    def run(self) -> tuple[str, str]:
        """Run it; its whole process group is ended where it takes too long or this run is interrupted.

        Returns:
            What came of it (``ok``, ``exit 3``, ``timeout``), and the last line that it printed.
        """
        environ = {
            name: text for name, text in self.environ.items() if not name.startswith("SECOPS_")
        }
        # No pipe: what it starts in the background would hold it open, and this run with it.
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(  # noqa: S603  the operator's own command, and no shell
                    list(self.arguments), stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                    cwd=self.folder, env=environ, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                return f"not started ({error.strerror})", ""
            try:
                code = process.wait(self.timeout.total_seconds())
                result = _OK if code == 0 else f"exit {code}" if code > 0 else f"signal {-code}"
            except subprocess.TimeoutExpired:
                _end(process)
                result = "timeout"
            except BaseException:
                _end(process)
                raise
            said.seek(max(0, said.seek(0, os.SEEK_END) - _TAIL))
            lines = said.read().decode(errors="replace").split("\n")
        return result, next((line for line in reversed(lines) if line.strip()), "")


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal to the process whose number stands in a file."""

    pid_file: Path
    number: signal.Signals

    def run(self) -> tuple[str, str]:
        """Send it; see :meth:`Command.run`."""
        try:
            pid = int(self.pid_file.read_text(encoding="ascii").strip())
            if pid <= 1:  # 0 and -1 are whole groups of processes, 1 is the system's own
                return "not sent (no process)", ""
            os.kill(pid, self.number)
        except (ValueError, UnicodeDecodeError):
            return "not sent (the file holds no number)", ""
        except OSError as error:
            return f"not sent ({error.strerror})", ""
        return _OK, ""


Hook = Command | Signal


def restarted(hook: Hook, masked: Callable[[str], str]) -> tuple[str, str]:
    """Run a hook.

    Args:
        hook: What to run.
        masked: Takes secrets out of what it printed.

    Returns:
        The deployment's id, and what the hook printed last.
    """
    began = datetime.now(UTC)
    result, said = hook.run()
    return f"restart:{began:{_STAMP}}:{result}", masked(said)[:_SHOWN]


def deployment(identity: str, said: str = "") -> Deployment:
    """Return what an id says of a deployment.

    Raises:
        ConfigurationError: It is no id of such a target.
    """
    word, _, rest = identity.partition(":")
    stamp, _, result = rest.partition(":")
    try:
        began = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        word = ""
    if word != "restart" or not result:
        raise ConfigurationError(
            f"{identity!r} is no deployment of a .env file.", hint="Is it another target's?"
        )
    detail = "restarted" if result == _OK else f"the restart failed: {result}"
    if said and result != _OK:
        detail = f"{detail}: {said}"
    return Deployment(identity, Progress.LIVE if result == _OK else Progress.FAILED, detail, began)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
