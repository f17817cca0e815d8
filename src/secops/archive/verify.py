"""Looking at every file of an archive: is it what was written, and is nothing missing, added or doubled?"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from secops.archive import files, manifest
from secops.archive.libraries import arrow
from secops.archive.manifest import DELETING, Entry, Manifest
from secops.archive.rows import KEY, decode, keys, moment
from secops.errors import Conflict, SecopsError
from secops.output.progress import SILENT

if TYPE_CHECKING:
    from pathlib import Path

    from secops.archive.rows import Key, Table
    from secops.output.progress import Progress


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written.

    Attributes:
        file: Which file, below the archive's folder.
        what: What is wrong, in words.
    """

    file: str
    what: str


@dataclass
class Verified:
    """What was found.

    Attributes:
        files: How many files are whole.
        rows: How many events they hold.
        bytes: Their size.
        first: The time of the earliest event; ``None`` where there is none.
        last: The time of the latest.
        unfinished: Files whose rows a run that died, or still runs, has not all deleted yet.
        problems: What is wrong.
    """

    files: int = 0
    rows: int = 0
    bytes: int = 0
    first: datetime | None = None
    last: datetime | None = None
    unfinished: int = 0
    problems: list[Problem] = field(default_factory=list)


def verify(folder: Path, progress: Progress = SILENT) -> Verified:
    """Read every file of an archive.

    Args:
        folder: Where it is.
        progress: Told of each file.

    Raises:
        ConfigurationError: pyarrow is not installed.
        SecopsError: There is no archive, or it cannot be read.
    """
    arrow("parquet")
    with files.told(folder):
        try:
            known = manifest.read(folder)
        except Conflict as error:
            found = Verified()
            found.problems.append(Problem(manifest.NAME, error.message))
            return found
    if known is None:
        raise no_archive(folder)
    return _verified(folder, known, progress)


def no_archive(folder: Path) -> SecopsError:
    """Return the error for a folder that is no archive."""
    return SecopsError(
        f"{folder} is no archive: it holds no {manifest.NAME}.",
        hint="`secops prune events --archive DIR` makes one; give its folder, or set archive.dir.",
    )


def _verified(folder: Path, known: Manifest, progress: Progress) -> Verified:
    found = Verified()
    months: dict[str, set[Key]] = {}
    for entry in sorted(known.there, key=lambda each: each.file):
        if entry.month not in months:
            months = {entry.month: set()}  # the files come month by month
        with files.told(folder):
            wrong = _look(folder, entry, months[entry.month])
        progress.advance()
        if wrong:
            found.problems.append(Problem(entry.file, wrong))
            continue
        first, last = map(datetime.fromisoformat, (entry.min_created_at, entry.max_created_at))
        found.files += 1
        found.rows += entry.rows
        found.bytes += entry.bytes
        found.first = min(found.first or first, first)
        found.last = max(found.last or last, last)
        found.unfinished += entry.state == DELETING
    accounted = {each.file for each in known.entries} | set(known.discarded)
    with files.told(folder):
        for path in sorted(folder.glob("month=*/*")):
            name = str(path.relative_to(folder))
            # What is being written, or was when a run died, stands beside its name and counts for nothing.
            if name not in accounted and not path.name.startswith("."):
                found.problems.append(Problem(name, "is not in the manifest"))
    return found


def _look(folder: Path, entry: Entry, seen: set[Key]) -> str:
    """Return what is wrong with one file, or nothing."""
    path = folder / entry.file
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"has {size:,} bytes instead of {entry.bytes:,}"
    if files.digest(path) != entry.sha256:
        return "has another SHA-256 than the manifest says"
    try:
        table = decode(path.read_bytes(), KEY)
    except SecopsError as error:
        return error.message
    return _held(table, entry, seen)


def _held(table: Table, entry: Entry, seen: set[Key]) -> str:
    if table.num_rows != entry.rows:
        return f"holds {table.num_rows:,} events instead of {entry.rows:,}"
    there = keys(table)
    ends = [moment(there[0][0]), moment(there[-1][0])]
    if [each.isoformat(timespec="microseconds") for each in ends] != [
        entry.min_created_at,
        entry.max_created_at,
    ]:
        return "holds events of other times than the manifest says"
    before = len(seen)
    seen.update(there)
    if len(seen) - before != len(there):
        return f"holds {before + len(there) - len(seen):,} events that the archive holds already"
    return ""
