"""The manifest of an archive: which files it is made of, and what each holds.

``manifest.json`` is written anew for each change, synced, and renamed over the old one. It ends in the
SHA-256 of itself, and is only taken where it reads, byte for byte, as it would be written: a byte that was
changed shows, wherever it is.

A file goes through three states, each of them on the disk before the next step is taken:

``writing``
    It is being written. Nothing was deleted for its sake; whatever of it is there is thrown away.
``deleting``
    It is whole, synced and read back. Its rows are being deleted from the database: each is in both places
    or in the archive alone.
``kept``
    Its rows are in the archive alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from secops.archive import files
from secops.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "manifest.json"
FORMAT: Final = "secops archive 1"
WRITING: Final = "writing"
DELETING: Final = "deleting"
KEPT: Final = "kept"

_FILE: Final = re.compile(r"month=\d{4}-\d{2}/[0-9A-Za-z_.-]+\.parquet")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Attributes:
        file: Its path below the archive's folder.
        state: ``writing``, ``deleting`` or ``kept``.
        rows: How many events it holds.
        bytes: Its size.
        sha256: Its SHA-256, in hexadecimal.
        min_created_at: The time of the earliest event, in ISO 8601.
        max_created_at: The time of the latest.
        archived_at: When it was written, by the database's clock.
        table: Where its events were: ``security_events``, or a partition that went as a whole.
        table_oid: That partition's number, which no later table of its name has; 0 for security_events.
        operation_id: The operation that the events' deletion is recorded under.
    """

    file: str
    state: str
    rows: int
    bytes: int
    sha256: str
    min_created_at: str
    max_created_at: str
    archived_at: str
    table: str
    table_oid: int
    operation_id: str

    @property
    def month(self) -> str:
        """The month of its events, ``2026-01``."""
        return self.file.partition("/")[0].removeprefix("month=")


@dataclass
class Manifest:
    """What an archive is made of.

    Attributes:
        source: Which database it is of.
        columns: The table's columns when it was last written: name and PostgreSQL's type.
        entries: The files, the oldest first.
        discarded: Files that are no part of it any more, and may still be there.
    """

    source: dict[str, str]
    columns: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)

    @property
    def there(self) -> list[Entry]:
        """The files that are whole."""
        return [each for each in self.entries if each.state != WRITING]

    def put(self, entry: Entry) -> None:
        """Add a file, or change what is known of it."""
        for index, each in enumerate(self.entries):
            if each.file == entry.file:
                self.entries[index] = entry
                return
        self.entries.append(entry)

    def mark(self, entry: Entry, state: str) -> Entry:
        """Note a file's next state."""
        marked = replace(entry, state=state)
        self.put(marked)
        return marked

    def discard(self, entry: Entry) -> None:
        """Take a file out; it is removed when that is on the disk."""
        self.entries = [each for each in self.entries if each.file != entry.file]
        self.discarded.append(entry.file)

    def save(self, folder: Path) -> None:
        """Write it, synced and read back, at one stroke.

        Raises:
            SecopsError: What was read back is something else.
        """
        new = folder / f".{NAME}.new"
        content = self.as_bytes()
        files.write(new, content)
        if new.read_bytes() != content:
            raise files.read_back_wrong(new)
        files.replace(new, folder / NAME)

    def as_bytes(self) -> bytes:
        """Return how it is written."""
        body: dict[str, Any] = {
            "format": FORMAT,
            "source": self.source,
            "columns": self.columns,
            "entries": [asdict(each) for each in self.entries],
            "discarded": self.discarded,
        }
        body["sha256"] = hashlib.sha256(_written(body)).hexdigest()
        return _written(body)


def _written(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, ensure_ascii=False, indent=1) + "\n").encode()


def read(folder: Path) -> Manifest | None:
    """Read an archive's manifest.

    Returns:
        ``None`` where there is none.

    Raises:
        Conflict: It is not as it was written.
        OSError: It cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    found = path.read_bytes()
    try:
        body = json.loads(found)
        if body["format"] != FORMAT:
            raise Conflict(
                f"{path} says {body['format']!r}, and this secops knows {FORMAT!r} only.",
                hint="Use the secops that wrote it, or a newer one.",
            )
        manifest = Manifest(
            dict(body["source"]),
            dict(body["columns"]),
            [Entry(**each) for each in body["entries"]],
            list(body["discarded"]),
        )
        names = [each.file for each in manifest.entries] + manifest.discarded
        whole = manifest.as_bytes() == found and all(map(_FILE.fullmatch, names))
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise Conflict(
            f"{path} is not as secops wrote it.",
            hint="Put it back from a backup of the archive; nothing is written or deleted beside it.",
        )
    return manifest
