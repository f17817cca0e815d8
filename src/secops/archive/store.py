"""An archive that is written to: files that are on the disk and were read back before anything is deleted.

The order in which things reach the disk is what makes an archive whole after any crash, see
:mod:`secops.archive.manifest`: a file is noted as being written, written beside its name, synced, read back
and compared, renamed, and noted as whole. Only then are rows deleted, and each only where what was read
back is what the row is at that moment. When all are, the file is noted as kept; rows that had to stay (somebody
held or changed them) are taken out of it again, so that each event is in one place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from secops.archive import files, manifest
from secops.archive.libraries import arrow
from secops.archive.manifest import DELETING, KEPT, WRITING, Entry, Manifest
from secops.archive.rows import KEY, Table, decode, encode, keys, moment
from secops.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path

EVENTS: Final = "security_events"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows come from, and who deletes them.

    Attributes:
        table: ``security_events``, or a partition that goes as a whole.
        oid: That partition's number; 0 for security_events.
        at: The database's time.
        operation_id: The operation that the deletion is recorded under.
    """

    table: str
    oid: int
    at: datetime
    operation_id: str


@dataclass
class Store:
    """An archive that nobody else writes to. Made by :func:`opened`.

    Attributes:
        folder: Where it is.
        manifest: What it is made of.
        written: How many files were written.
        rows: How many rows they hold.
    """

    folder: Path
    manifest: Manifest
    written: int = 0
    rows: int = 0

    @property
    def unfinished(self) -> list[Entry]:
        """Files whose rows a run that died may have left in the database."""
        return [each for each in self.manifest.entries if each.state == DELETING]

    def write(self, table: Table, origin: Origin) -> Entry:
        """Add rows of one month, in the order of their keys; they may be deleted when this returns.

        Raises:
            SecopsError: They could not be written, or what was read back is something else.
        """
        entry = self._put(table, origin)
        self.written += 1
        self.rows += entry.rows
        return self._mark(entry, DELETING)

    def _put(self, table: Table, origin: Origin) -> Entry:
        """Write rows to a file that stays noted as being written, and so counts for nothing yet."""
        content = encode(table)
        ends = keys(table.slice(0, 1)) + keys(table.slice(len(table) - 1))
        first, last = (moment(time) for time, _ in ends)
        checksum = hashlib.sha256(content).hexdigest()
        entry = Entry(
            file=f"month={first:%Y-%m}/{first:%Y%m%dT%H%M%S}-{checksum[:16]}.parquet",
            state=WRITING,
            rows=table.num_rows,
            bytes=len(content),
            sha256=checksum,
            min_created_at=first.isoformat(timespec="microseconds"),
            max_created_at=last.isoformat(timespec="microseconds"),
            archived_at=origin.at.astimezone(UTC).isoformat(timespec="seconds"),
            table=origin.table,
            table_oid=origin.oid,
            operation_id=origin.operation_id,
        )
        with files.told(self.folder):
            self._write(entry, content, table)
        return entry

    def _write(self, entry: Entry, content: bytes, table: Table) -> None:
        path = self.folder / entry.file
        new = _beside(path)
        self.manifest.put(entry)
        try:
            self._save()
            files.make_folder(path.parent)
            files.write(new, content)
            back = new.read_bytes()
            same = hashlib.sha256(back).hexdigest() == entry.sha256
            if not same or not decode(back).equals(table):
                raise files.read_back_wrong(new)
            files.replace(new, path)
        except OSError:
            # Room for the next try; should this fail too, the next run tidies up.
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise

    def read(self, entry: Entry) -> Table:
        """Read a file's rows from the disk.

        Raises:
            Conflict: It is not the file that was written.
        """
        return decode(content_of(self.folder, entry))

    def settle(self, entry: Entry, left: Table) -> None:
        """Note that a file's rows are deleted, all but some, which are taken out of it.

        Args:
            entry: The file.
            left: The rows that stayed in the database.
        """
        if not left.num_rows:
            self._mark(entry, KEPT)
            return
        rest = without(self.read(entry), left)
        if rest.num_rows:
            at = datetime.fromisoformat(entry.archived_at)
            origin = Origin(entry.table, entry.table_oid, at, entry.operation_id)
            # Until the old file is forgotten with it, the new one counts for nothing.
            self.manifest.mark(self._put(rest, origin), KEPT)
        self.rows -= left.num_rows
        self.forget(entry)

    def reopen(self, entry: Entry) -> Entry:
        """Note that rows of a file are in the database again, and are to be deleted anew."""
        return self._mark(entry, DELETING)

    def forget(self, entry: Entry) -> None:
        """Take a file out of the archive; its rows are in the database, or in another file."""
        with files.told(self.folder):
            self.manifest.discard(entry)
            self._save()
            self._sweep()

    def holding(self, table: Table) -> list[Entry]:
        """Return the files that hold some of these rows already.

        A database that was put back to an earlier moment has them again.
        """
        if not table.num_rows:
            return []
        compute = arrow("compute")
        bounds = compute.min_max(table.column("created_at")).as_py()
        found = []
        for entry in self.manifest.entries:
            if entry.state != KEPT:
                continue
            first, last = map(datetime.fromisoformat, (entry.min_created_at, entry.max_created_at))
            if first > bounds["max"] or last < bounds["min"]:
                continue
            there = decode(content_of(self.folder, entry), KEY)
            if there.join(table.select(list(KEY)), list(KEY), join_type="inner").num_rows:
                found.append(entry)
        return found

    def _mark(self, entry: Entry, state: str) -> Entry:
        with files.told(self.folder):
            marked = self.manifest.mark(entry, state)
            self._save()
        return marked

    def _save(self) -> None:
        self.manifest.save(self.folder)

    def tidy(self) -> None:
        """Throw away what a run that died was writing: nothing was deleted for its sake."""
        writing = [each for each in self.manifest.entries if each.state == WRITING]
        for each in writing:
            self.manifest.discard(each)
        with files.told(self.folder):
            if writing:
                self._save()
            if self.manifest.discarded:
                self._sweep()

    def _sweep(self) -> None:
        for name in self.manifest.discarded:
            path = self.folder / name
            files.remove(_beside(path))
            files.remove(path)
        self.manifest.discarded = []
        self._save()


def without(table: Table, left: Table) -> Table:
    """Return the rows whose keys are not among others', in order."""
    names = list(KEY)
    gone = set(keys(left))
    mask = [key not in gone for key in keys(table.select(names))]
    return table.filter(arrow().array(mask))


def content_of(folder: Path, entry: Entry) -> bytes:
    """Read a file, and make sure that it is the one that was written.

    Raises:
        Conflict: It is not.
    """
    path = folder / entry.file
    with files.told(folder):
        content = path.read_bytes() if path.is_file() else b""
    if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
        raise Conflict(
            f"{path} is {'not as it was written' if content else 'missing'}.",
            hint="`secops archive verify` looks at all files; put it back from a backup of the archive.",
        )
    return content


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


@contextmanager
def opened(folder: Path, source: dict[str, str], columns: dict[str, str]) -> Iterator[Store]:
    """Open an archive to write to it, for the length of a block; makes it where there is none.

    Args:
        folder: Where it is.
        source: Which database's events it is to hold.
        columns: The table's columns.

    Raises:
        Busy: Another process writes to it.
        Conflict: It is not as it was left, or holds another database's events.
        ConfigurationError: pyarrow is not installed.
        SecopsError: The file system says no.
    """
    arrow("parquet")
    with ExitStack() as stack:
        with files.told(folder):
            files.make_folder(folder)
            stack.enter_context(files.locked(folder))
            found = manifest.read(folder)
            if found is None:
                refuse_strays(folder)
                found = Manifest(dict(source), dict(columns))
                found.save(folder)
        if found.source != source:
            raise Conflict(
                f"The archive {folder} is of another database: {_words(found.source)}, not "
                f"{_words(source)}.",
                hint="Give each database a folder of its own.",
            )
        found.columns = found.columns | columns
        store = Store(folder, found)
        store.tidy()
        yield store


def refuse_strays(folder: Path) -> None:
    """Refuse a folder that holds events and no manifest: without it nobody knows what is whole.

    Raises:
        Conflict: It does.
    """
    if stray := next(folder.glob("month=*/*.parquet"), None):
        raise Conflict(
            f"{folder} holds {stray.relative_to(folder)} and no manifest.",
            hint="Put manifest.json back from a backup of the archive, or use another folder.",
        )


def _words(source: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in source.items())
