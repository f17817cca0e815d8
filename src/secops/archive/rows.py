"""Events between PostgreSQL and Parquet, every column of them, without loss.

Rows travel as COPY's CSV, which pyarrow reads and writes by itself: no value becomes a Python object. Numbers
and booleans stay what they are, ``created_at`` becomes a timestamp of microseconds in UTC; everything else is
the text that PostgreSQL gives for it, and reads again. What type it was stands in the file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from secops.archive.libraries import arrow
from secops.errors import SecopsError

if TYPE_CHECKING:
    from secops.database.connection import Connection

Table = Any
"""A pyarrow.Table; pyarrow comes without types."""

KEY: Final = ("created_at", "id")
"""What an event is known by, in the order that archives are in."""

Key = tuple[int, str]
"""The same of one event; its time in microseconds since 1970, which is a tenth of the work of a datetime."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_TYPES: Final = b"secops_types"
_MICROSECONDS: Final = sql.SQL("(extract(epoch FROM t.{0}) * 1000000)::bigint AS {0}")
_PLAIN: Final = {"boolean": "bool_", "smallint": "int16", "integer": "int32", "bigint": "int64"}


def columns_of(conn: Connection, schema: str, table: str) -> dict[str, str]:
    """Return a table's columns and their types, as PostgreSQL writes them."""
    rows = conn.execute(
        """SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)
           FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
           ORDER BY a.attnum""",
        (schema, table),
    )
    return {str(name): str(kind) for name, kind in rows}


def selected(columns: Mapping[str, str]) -> sql.Composed:
    """Return what a SELECT from a table ``t`` names, for :func:`fetch`."""
    parts: list[sql.Composable] = []
    for name, kind in columns.items():
        identifier = sql.Identifier(name)
        if name == "created_at":
            parts.append(_MICROSECONDS.format(identifier))
        elif kind in _PLAIN:
            parts.append(sql.SQL("t.{}").format(identifier))
        else:
            parts.append(sql.SQL("t.{0}::text AS {0}").format(identifier))
    return sql.SQL(", ").join(parts)


def same_words(conn: Connection) -> None:
    """Have the transaction's values written one way, whatever role and database say."""
    conn.execute(
        """SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, MDY', true),
                  set_config('IntervalStyle', 'postgres', true), set_config('bytea_output', 'hex', true),
                  set_config('extra_float_digits', '1', true)"""
    )


def fetch(
    conn: Connection,
    query: sql.Composed,
    bound: Mapping[str, object],
    columns: Mapping[str, str],
) -> Table:
    """Run a query, whose SELECT names what :func:`selected` says, and return its rows.

    Args:
        conn: In a transaction in which :func:`same_words` was called.
        query: The query.
        bound: What it binds.
        columns: The columns.
    """
    pa, csv = arrow(), arrow("csv")
    read = {name: _read_as(name, kind) for name, kind in columns.items()}
    # pyarrow reads microseconds as the number that they are.
    csv_types = read | {"created_at": pa.int64()}
    command = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')").format(query)
    with conn.cursor() as cursor, cursor.copy(command, bound):
        found = _drain(conn)
    schema = pa.schema(
        [pa.field(name, kind) for name, kind in read.items()],
        metadata={_TYPES: json.dumps(dict(columns)).encode()},
    )
    if not found:
        return schema.empty_table()
    try:
        table = csv.read_csv(
            io.BytesIO(found),
            read_options=csv.ReadOptions(
                column_names=list(columns), block_size=len(found) + 1, use_threads=False
            ),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=csv_types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
    except pa.ArrowInvalid as error:
        raise SecopsError(
            f"Events cannot be archived: {str(error).splitlines()[0]}",
            hint="The database may hold text that is no UTF-8; nothing of this batch was deleted.",
        ) from None
    return table.cast(schema)


def _drain(conn: Connection) -> bytes:
    """Return what a COPY that was begun sends, to its end.

    psycopg waits anew for each message, which is each row: at 100,000 rows a second that is most of the work.
    """
    parts = []
    while True:
        size, data = conn.pgconn.get_copy_data(0)
        if size < 0:
            break
        parts.append(bytes(data))
    while (result := conn.pgconn.get_result()) is not None:
        if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
    return b"".join(parts)


def _read_as(name: str, kind: str) -> Any:  # noqa: ANN401  a pyarrow type
    pa = arrow()
    if name == "created_at":
        return pa.timestamp("us", tz="UTC")
    return getattr(pa, _PLAIN[kind])() if kind in _PLAIN else pa.string()


def encode(table: Table) -> bytes:
    """Return rows as a Parquet file: zstd, with statistics and a checksum for each page."""
    parquet = arrow("parquet")
    target = io.BytesIO()
    parquet.write_table(
        table,
        target,
        compression="zstd",
        compression_level=3,
        row_group_size=100_000,
        write_page_checksum=True,
    )
    return target.getvalue()


def decode(content: bytes, columns: Sequence[str] | None = None) -> Table:
    """Return the rows of a Parquet file.

    Raises:
        SecopsError: It is none.
    """
    pa, parquet = arrow(), arrow("parquet")
    try:
        return parquet.read_table(
            io.BytesIO(content),
            columns=None if columns is None else list(columns),
            page_checksum_verification=True,
            use_threads=False,
        )
    except (pa.ArrowException, OSError) as error:
        raise SecopsError(
            f"A file of the archive is no Parquet: {str(error).splitlines()[0]}",
            hint="`secops archive verify` says which; put it back from a backup of the archive.",
        ) from None


def types_of(table: Table) -> dict[str, str]:
    """Return the columns of rows that were archived, and PostgreSQL's types of them."""
    found: dict[str, str] = json.loads((table.schema.metadata or {})[_TYPES])
    return found


def keys(table: Table) -> list[Key]:
    """Return the key of each row."""
    times = table.column("created_at").cast(arrow().int64()).to_pylist()
    return list(zip(times, table.column("id").to_pylist(), strict=True))


def moment(microseconds: int) -> datetime:
    """Return the time of a key."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds(moment: datetime) -> int:
    """Return a time as keys have it."""
    return (moment - _EPOCH) // _MICROSECOND


def equal_keys(archived: Table, live: Table) -> list[Key]:
    """Return the keys of those archived rows that are, to the letter, in the database.

    Args:
        archived: Rows that were read back.
        live: Rows of the database with keys among theirs.
    """
    columns = archived.column_names
    if set(live.column_names) == set(columns):
        live = live.select(columns)
        if live.num_rows == archived.num_rows and live.equals(archived):
            return keys(live)
        rows = dict(zip(keys(live), live.to_pylist(), strict=True))
        pairs = zip(keys(archived), archived.to_pylist(), strict=True)
        return [key for key, row in pairs if rows.get(key) == row]
    return []  # the table has got, or lost, a column since: what is there was never archived so


def months(table: Table) -> Iterator[tuple[str, Table]]:
    """Give rows month by month; they are in the order of their time."""
    compute = arrow("compute")
    names = compute.strftime(table.column("created_at"), format="%Y-%m").to_pylist()
    start = 0
    for index in range(1, len(names) + 1):
        if index == len(names) or names[index] != names[start]:
            yield names[start], table.slice(start, index - start)
            start = index


def csv_of(table: Table, columns: Sequence[str]) -> bytes:
    """Return rows as COPY ... (FORMAT csv) reads them."""
    pa, csv = arrow(), arrow("csv")
    table = table.select(list(columns))
    if "created_at" in columns:
        index = table.column_names.index("created_at")
        text = arrow("compute").strftime(table.column("created_at"), format="%Y-%m-%d %H:%M:%S+00")
        table = table.set_column(index, "created_at", text)
    target = pa.BufferOutputStream()
    csv.write_csv(table, target, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    return bytes(target.getvalue())
