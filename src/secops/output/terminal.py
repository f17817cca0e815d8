"""A stream, whether a person looks at it, and whether in colour: decided here and nowhere else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_USUAL_WIDTH: Final = 80
_CANNOT: Final = frozenset({"dumb", "unknown"})
_RESET: Final = "\x1b[0m"
_SGR: Final = {
    "bold": "\x1b[1m",
    "bold red": "\x1b[1;31m",
    "red": "\x1b[31m",
    "yellow": "\x1b[33m",
    "cyan": "\x1b[36m",
}


class Stream:
    """stdout or stderr, with what it can show.

    Args:
        stream: Where text goes.
        no_color: Whether ``--no-color`` was given.
        environ: The environment; ``os.environ`` by default.

    Attributes:
        terminal: Whether it is a terminal.
        drawn: Whether boxes and progress may be drawn on it: a terminal that can move its cursor.
        colour: Whether to colour. ``--no-color`` and a non-empty ``NO_COLOR`` (no-color.org) say no,
            then a ``FORCE_COLOR`` other than ``0`` (force-color.org) yes, then ``TERM=dumb`` no; else
            a terminal is coloured.
    """

    def __init__(
        self, stream: TextIO, *, no_color: bool = False, environ: Mapping[str, str] | None = None
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self.text = stream
        self.terminal = _isatty(stream)
        able = self._environ.get("TERM", "").lower() not in _CANNOT
        self.drawn = self.terminal and able
        forced = self._environ.get("FORCE_COLOR", "")
        if no_color or self._environ.get("NO_COLOR"):
            self.colour = False
        elif forced:
            self.colour = forced.lower() not in {"0", "false"}
        else:
            self.colour = self.drawn

    @property
    def width(self) -> int:
        """How many columns it has: ``COLUMNS``, else what the terminal says, else 80."""
        wanted = self._environ.get("COLUMNS", "")
        if wanted.isascii() and wanted.isdigit() and int(wanted[:6]):
            return int(wanted[:6])
        try:
            return os.get_terminal_size(self.text.fileno()).columns or _USUAL_WIDTH
        except (OSError, ValueError):
            return _USUAL_WIDTH

    @property
    def unicode(self) -> bool:
        """Whether every character can be written to it."""
        encoding = getattr(self.text, "encoding", None)
        return encoding is None or encoding.lower().startswith("utf")

    def write(self, text: str, unencodable: str = "backslashreplace") -> None:
        """Write text that is already safe.

        Args:
            text: With its own newlines.
            unencodable: What to do with what the stream's encoding lacks (a name for ``str.encode``).
        """
        try:
            self.text.write(text)
        except UnicodeEncodeError:
            encoding = self.text.encoding
            self.text.write(text.encode(encoding, unencodable).decode(encoding))

    def flush(self) -> None:
        """Hand on what was written, so that stdout and stderr interleave as they were written."""
        self.text.flush()

    def styled(self, text: str, style: str) -> str:
        """Colour text that is already safe, if this stream is coloured.

        Args:
            text: What to colour.
            style: ``bold``, ``red``, ``bold red``, ``yellow``, ``cyan``, or an empty string for none.
        """
        return f"{_SGR[style]}{text}{_RESET}" if self.colour and style else text

    def headed(self, text: str) -> str:
        """Make safe text stand out as a heading, on a terminal."""
        return self.styled(text, "bold") if self.drawn else text


def _isatty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # closed, or a stand-in
        return False
