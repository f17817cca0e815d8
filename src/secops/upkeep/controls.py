"""What makes a run wait, read again from ``secops.yaml`` while it runs.

The last word counts: what is changed in the file after the run began is followed from then on, whatever
flags and environment said; what is taken out of the file again gives way to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secops.errors import ConfigurationError
from secops.settings import CONFIG_NAME, load

if TYPE_CHECKING:
    from secops.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """What makes a run wait; see :class:`secops.upkeep.throttle.Throttle`."""

    max_lag: timedelta | None = None
    pause_file: Path | None = None
    pause_query: str | None = None


_KEYS: Final = ("max_lag", "pause_file", "pause_query")
_NOTHING: Final = Limits()


def limits_of(settings: Settings) -> Limits:
    """Return what the settings say."""
    return Limits(
        settings.optional_span("throttle.max_lag"),
        settings.folder("throttle.pause_file"),
        settings.text("throttle.pause_query"),
    )


@dataclass
class Controls:
    """The settings file, watched while a run goes on.

    Attributes:
        given: What flags and environment say.
        path: The file, which need not be there.
        note: Is told of a file that cannot be read.
        now: What counts.
    """

    given: Limits
    path: Path
    note: Callable[[str], None]
    now: Limits = field(init=False)
    _written: Limits = field(init=False)
    _seen: tuple[int, int, int] | None = field(init=False)

    def __post_init__(self) -> None:
        self._seen = self._stamp()
        self._written = self._read() or _NOTHING
        self.now = Limits(
            **{
                key: getattr(self._written if getattr(self.given, key) is None else self.given, key)
                for key in _KEYS
            }
        )

    @classmethod
    def of(cls, settings: Settings, flags: Limits, note: Callable[[str], None]) -> Controls:
        """Watch the file that the settings were read from, or would be.

        Args:
            settings: Environment and file.
            flags: What the command line said.
            note: Is told of a file that cannot be read.
        """
        said = limits_of(settings)
        kinds = {key: settings.origins[f"throttle.{key}"].kind for key in _KEYS}
        given = {
            key: getattr(said, key)
            for key in _KEYS
            if getattr(flags, key) is None and kinds[key] == "environment"
        }
        return cls(replace(flags, **given), settings.config or Path.cwd() / CONFIG_NAME, note)

    def changed(self) -> Limits | None:
        """Return what counts from now on, where the file was changed; else ``None``."""
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        read = self._read()
        if read is None:
            return None
        new = {}
        for key in _KEYS:
            value = getattr(read, key)
            if value != getattr(self._written, key):
                new[key] = getattr(self.given, key) if value is None else value
        self._written, self.now = read, replace(self.now, **new)
        return self.now

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Limits | None:
        if self._stamp() is None:
            return _NOTHING
        try:
            return limits_of(load(config=self.path, environ={}))
        except (ConfigurationError, OSError) as error:
            said = error.message if isinstance(error, ConfigurationError) else str(error.strerror)
            self.note(f"What makes the run wait stays as it was: {said}")
            return None
