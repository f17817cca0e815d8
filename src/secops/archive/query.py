"""SQL over the archive alone, by DuckDB, which reads no other file and reaches no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secops.archive import files, manifest
from secops.archive.libraries import duckdb
from secops.archive.verify import no_archive
from secops.errors import Conflict, SecopsError

if TYPE_CHECKING:
    from secops.archive.manifest import Manifest

VIEW: Final = "security_events"
_BATCH: Final = 2_000


def whole(folder: Path) -> Manifest:
    """Return what an archive is made of; each of its files must be there.

    Raises:
        Conflict: One is missing or has another size, or the manifest is not as it was written.
        SecopsError: There is no archive.
    """
    with files.told(folder):
        known = manifest.read(folder)
        if known is None:
            raise no_archive(folder)
        for entry in known.there:
            path = folder / entry.file
            if not path.is_file() or path.stat().st_size != entry.bytes:
                raise Conflict(
                    f"{path} is missing, or not as it was written.",
                    hint="`secops archive verify` looks at all files.",
                )
        return known


@contextmanager
def answered(
    folder: Path, query: str
) -> Iterator[tuple[Sequence[str], Iterator[Sequence[object]]]]:
    """Run a query over the archive's events, which it calls ``security_events``.

    Args:
        folder: Where the archive is.
        query: One or more statements in DuckDB's SQL; the last one's rows are given.

    Yields:
        The columns' names and the rows.

    Raises:
        SecopsError: The query failed.
    """
    library = duckdb()
    known = whole(folder)
    conn = library.connect(":memory:")
    try:
        _prepare(conn, folder, known)
        try:
            found = conn.execute(query)
            columns = [str(each[0]) for each in found.description or ()]
        except library.Error as error:
            raise SecopsError(
                f"DuckDB says: {str(error).strip().splitlines()[0]}",
                hint=f"The events are called {VIEW}; metadata is text: metadata::JSON ->> 'key'.",
            ) from None
        yield columns, _rows(found)
    finally:
        conn.close()


def _prepare(conn: object, folder: Path, known: Manifest) -> None:
    run = conn.execute  # type: ignore[attr-defined]  # a connection of DuckDB, which has no types here
    run("SET TimeZone = 'UTC'")
    # Only what is in the manifest is read: what a run has not finished counts for nothing.
    paths = [str(folder / each.file).replace("'", "''") for each in known.there]
    listed = ", ".join(f"'{each}'" for each in paths)
    if paths:
        run(
            f"CREATE VIEW {VIEW} AS SELECT * FROM read_parquet([{listed}], union_by_name = true,"  # noqa: S608
            " hive_partitioning = false)"
        )
    else:
        types = {"created_at": "TIMESTAMPTZ"}
        columns = ", ".join(
            '"' + name.replace('"', '""') + '" ' + types.get(name, "VARCHAR")
            for name in known.columns
        )
        run(f"CREATE TABLE {VIEW} ({columns})")
    allowed = str(folder.resolve()).replace("'", "''")
    run(f"SET allowed_directories = ['{allowed}']")
    run("SET autoinstall_known_extensions = false")
    run("SET enable_external_access = false")
    run("SET lock_configuration = true")


def _rows(found: object) -> Iterator[Sequence[object]]:
    while batch := found.fetchmany(_BATCH):  # type: ignore[attr-defined]  # as above
        yield from batch
