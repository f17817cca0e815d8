"""Read a report from its file: a header in YAML inside the leading comment, then one SQL statement.

The format is documented for people in ``docs/reports.md``. Every complaint names file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final

from secops.reports.fields import Fields, Value, complain, compose, nearest
from secops.reports.parameters import SQL_TYPES, Parameter, read
from secops.reports.placeholders import Placeholder, SqlShapeError, find, is_blank

FENCE: Final = "-- ---"
NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_PARAMETER: Final = re.compile(r"[a-z][a-z0-9_]*")
_LARGEST: Final = 1_000_000

NAMES: Final = (
    "schema", "users_schema", "users_table", "users_id", "users_email", "users_name", "users_active",
)  # fmt: skip
"""Names that come from the layout of the database."""

BUILT_IN: Final = ("as_of", "limit", *NAMES)
"""Values that every report may use without declaring them; a name is a value too, as text."""

RESERVED: Final = frozenset(
    {
        *BUILT_IN, "archive", "config", "database_url", "debug", "fail_on_rows", "format", "help", "json",
        "no_color", "quiet", "run", "show_sql", "version", "yes",
    }
)  # fmt: skip
"""Options that every report has already."""

ROWS: Final = 1_000
"""How many rows are shown where neither the report nor the call says how many."""

_KEYS: Final = (
    "title", "description", "params", "columns", "severity", "order", "limit", "every", "requires",
    "examples", "sparkline", "overrides",
)  # fmt: skip
_PARAMETER_KEYS: Final = ("type", "default", "min", "max", "choices", "help")


@dataclass(frozen=True, slots=True)
class Requirement:
    """An extension that a report stands on.

    Attributes:
        extension: Its name.
        hint: How to get it.
    """

    extension: str
    hint: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report, as its file describes it.

    Attributes:
        name: The file's name without ``.sql``.
        path: The file.
        title: A few words.
        description: What it shows and how to read it.
        sql: The statement, with its placeholders.
        first_line: The line of the file on which ``sql`` begins.
        placeholders: Where they are.
        parameters: In the order of the header.
        columns: What each column of the result means, where the header says.
        severity: The column that says how bad a row is.
        order: The order of the rows, in words.
        limit: How many rows are shown where nobody says how many; 0 means all.
        every: How often it is worth running.
        requires: An extension that it stands on.
        examples: Command lines.
        sparkline: Columns of numbers to draw as a line.
        overrides: Whether it takes the place of a report that ships with secops.
    """

    name: str
    path: Path
    title: str
    description: str
    sql: str
    first_line: int
    placeholders: tuple[Placeholder, ...]
    parameters: tuple[Parameter, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    severity: str | None = None
    order: str = ""
    limit: int = ROWS
    every: timedelta | None = None
    requires: Requirement | None = None
    examples: tuple[str, ...] = ()
    sparkline: tuple[str, ...] = ()
    overrides: bool = False

    def uses(self, name: str) -> bool:
        """Say whether the SQL uses a value of that name."""
        return any(each.kind == "value" and each.name == name for each in self.placeholders)

    def line(self, offset: int) -> int:
        """Return the line of the file at an offset of ``sql``."""
        return self.first_line + self.sql.count("\n", 0, max(offset, 0))


def parse(path: Path) -> Report:
    """Read a report.

    Args:
        path: A ``.sql`` file; its name is the report's.

    Raises:
        ConfigurationError: The file cannot be read as a report; the message names file and line.
    """
    if not NAME.fullmatch(path.stem):
        complain(
            path, 1, f"{path.stem!r} cannot be a report's name",
            "Name the file with small letters, digits and dashes: my-report.sql.",
        )  # fmt: skip
    text = _text(path)
    written, first_line = _split(path, text)
    fields = Fields(path, compose(path, written), _KEYS, "a report's header")
    sql = "\n".join(text.split("\n")[first_line - 1 :])
    try:
        placeholders = find(sql)
    except SqlShapeError as error:
        complain(path, first_line + sql.count("\n", 0, error.offset), error.message)
    if is_blank(sql):
        complain(path, first_line, "the header is there, but no SQL follows")
    parameters = tuple(_parameters(fields.mapping("params")))
    report = Report(
        name=path.stem,
        path=path,
        title=fields.text("title", needed=True),
        description=fields.text("description").strip(),
        sql=sql,
        first_line=first_line,
        placeholders=placeholders,
        parameters=parameters,
        columns={key: each.text() for key, each in fields.mapping("columns").items()},
        severity=_none(fields.text("severity")),
        order=fields.text("order"),
        limit=_limit(fields),
        every=fields.span("every"),
        requires=_requirement(fields),
        examples=fields.texts("examples"),
        sparkline=fields.texts("sparkline"),
        overrides=fields.flag("overrides"),
    )
    _match(report, fields.mapping("params"))
    return report


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            complain(path, 1, f"the file is larger than {_LARGEST:,} bytes")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        complain(path, line, "this is not UTF-8", "Save the file in UTF-8.")
    except OSError as error:
        complain(path, 1, f"the file cannot be read: {error.strerror}")


def _split(path: Path, text: str) -> tuple[list[str], int]:
    """Return the header's lines (blank ones for what stands before it) and the line behind its end."""
    lines = text.split("\n")
    leading = list(takewhile(lambda line: not line.strip() or line.startswith("--"), lines))
    fences = [number for number, line in enumerate(leading) if line.rstrip() == FENCE]
    if not fences:
        complain(
            path,
            min(len(leading) + 1, len(lines)),
            f"the file must begin with a header, a comment between two lines `{FENCE}`",
        )
    if len(fences) == 1:
        complain(
            path,
            fences[0] + 1,
            f"the header that begins here is not closed with a line `{FENCE}`",
            "Every line of the header begins with --.",
        )
    begin, end = fences[:2]
    written = [line.removeprefix("--").removeprefix(" ") for line in lines[begin + 1 : end]]
    return [""] * (begin + 1) + written, end + 2


def _parameters(declared: Mapping[str, Value]) -> Iterator[Parameter]:
    for name, value in declared.items():
        if not _PARAMETER.fullmatch(name):
            complain(
                value.path, value.line, f"{name!r} cannot be a parameter's name",
                "Use small letters, digits and underscores: min_attempts.",
            )  # fmt: skip
        if name in RESERVED:
            complain(
                value.path, value.line, f"every report has {name!r} already; choose another name"
            )
        yield _parameter(name, value)


def _parameter(name: str, value: Value) -> Parameter:
    path, fields = value.path, value.mapping(_PARAMETER_KEYS)
    kind = fields.text("type", needed=True)
    if kind not in SQL_TYPES:
        hint = nearest(kind, tuple(SQL_TYPES), "The types are")
        complain(path, fields["type"].line, f"{name} has a type {kind!r}, which there is not", hint)
    choices = fields.texts("choices")
    if bool(choices) != (kind == "choice"):
        complain(path, value.line, f"{name}: choices belong to the type choice, and only there")
    for bound in ("min", "max"):
        if bound in fields and kind in {"choice", "inet"}:
            complain(path, fields[bound].line, f"{name}: the type {kind} has no {bound}")
    unset = "default" not in fields or fields["default"].is_null
    made = Parameter(
        name=name,
        type=kind,
        default=None if unset else fields.text("default"),
        required="default" not in fields,
        least=fields.text("min") or None,
        most=fields.text("max") or None,
        choices=choices,
        help=" ".join(fields.text("help").split()),
    )
    for key, bound_text in (("min", made.least), ("max", made.most)):
        if bound_text is not None:
            fields[key].check(partial(read, made.bound_type, bound_text))
    if made.default is not None:
        fields["default"].check(partial(made.read, made.default))
    return made


def _requirement(fields: Fields) -> Requirement | None:
    value = fields.get("requires")
    if value is None or value.is_null:
        return None
    if value.is_text:
        name = value.text()
        return Requirement(name, f"CREATE EXTENSION {name}; adds it, where the server has it.")
    inner = value.mapping(("extension", "hint"))
    hint = " ".join(inner.text("hint", needed=True).split())
    return Requirement(inner.text("extension", needed=True), hint)


def _limit(fields: Fields) -> int:
    text = fields.text("limit")
    if text and not text.isdecimal():
        complain(fields.path, fields["limit"].line, f"limit is a number of rows, not {text!r}")
    return int(text) if text else ROWS


def _match(report: Report, declared: Mapping[str, Value]) -> None:
    """Hold what the header declares against what the SQL uses."""
    values = (*(each.name for each in report.parameters), *BUILT_IN)
    for place in report.placeholders:
        known, what, sign = values, "is not declared under params", f":{place.name}"
        if place.kind == "name":
            known, what, sign = NAMES, "is no name that secops knows", f':"{place.name}"'
        if place.name not in known:
            hint = nearest(place.name, known, "There are")
            complain(report.path, report.line(place.start), f"{sign} {what}", hint)
    for each in report.parameters:
        if not report.uses(each.name):
            complain(report.path, declared[each.name].line, f"the SQL does not use :{each.name}")


def _none(text: str) -> str | None:
    return None if text in {"", "none"} else text
