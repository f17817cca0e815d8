"""Which events may go: how long each class stays, and whose are held.

An event is in one class, and :data:`CLASS` says in which. What is unset stays for ever, and so does whatever
a legal hold covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final, LiteralString, cast

from psycopg import sql

from secops.database.connection import transaction
from secops.errors import ConfigurationError, Refused
from secops.upkeep.holds import Holds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.settings import Settings
    from secops.upkeep.walks import Piece

CLASSES: Final = ("information", "security", "operator")
"""The longer an event stays, the later its class stands here."""

CLASS: Final[LiteralString] = """
    CASE WHEN t.event_category = 'operator' THEN 'operator'
         WHEN lower(t.severity) IN ('info', 'information', 'debug', 'notice')
              AND t.event_type NOT IN ('account_locked', 'account_unlocked', 'password_changed',
                                       'refresh_token_theft_detected', 'session_revoked', 'logout_all')
         THEN 'information'
         ELSE 'security' END"""
"""The class of an event ``t``. What is not known to be routine is a matter of security: of the two mistakes,
to keep too long can be mended."""


def _days(information: int, security: int, operator: int) -> dict[str, timedelta]:
    return {
        "information": timedelta(days=information),
        "security": timedelta(days=security),
        "operator": timedelta(days=operator),
    }


_YEAR, _THIRTEEN_MONTHS, _SIX_YEARS = 366, 396, 2192

PRESETS: Final[dict[str, dict[str, timedelta]]] = {
    # The criteria name no period; an auditor looks back over up to twelve months, and then needs some time.
    "soc2": _days(_THIRTEEN_MONTHS, _THIRTEEN_MONTHS, _THIRTEEN_MONTHS),
    # 45 CFR 164.316(b)(2)(i): documentation of actions and policies, six years.
    "hipaa": _days(_THIRTEEN_MONTHS, _SIX_YEARS, _SIX_YEARS),
    # PCI DSS 4.0, 10.5.1: audit logs, twelve months.
    "pci": _days(_YEAR, _YEAR, _YEAR),
    # Article 5(1)(e): no longer than necessary; no number. These are ours.
    "gdpr": _days(90, _THIRTEEN_MONTHS, _THIRTEEN_MONTHS),
}
"""What each preset says. Sources and reasons stand in docs/retention.md; none of it is legal advice."""


def periods(settings: Settings) -> dict[str, timedelta]:
    """Return how long each class stays; a class that stays for ever is left out.

    Raises:
        ConfigurationError: The audit of operators' acts would go before what it is the audit of.
    """
    preset = PRESETS.get(settings.text("retention.preset") or "", {})
    found = {}
    for name in CLASSES:
        span = settings.optional_span(f"retention.{name}") or preset.get(name)
        if span is not None:
            found[name] = span
    operator = found.get("operator")
    if operator is not None:
        for name in CLASSES[:-1]:
            if name not in found or found[name] > operator:
                raise ConfigurationError(
                    f"retention.operator is shorter than retention.{name}"
                    + ("." if name in found else ", which is unset and means for ever."),
                    hint="The audit of operators' acts stays the longest: raise it, or shorten the other.",
                )
    return found


def required(settings: Settings, only: Sequence[str] = ()) -> dict[str, timedelta]:
    """Return :func:`periods` of some classes, or of all.

    Raises:
        Refused: None is configured. There is no default: it would delete evidence that nobody gave up.
    """
    found = periods(settings)
    for name in only:
        if name not in found:
            raise Refused(
                f"Nothing says how long {name} events stay, so none is deleted.",
                hint=f"Set retention.{name} in secops.yaml, SECOPS_RETENTION_{name.upper()}, "
                "or a retention.preset (not legal advice).",
                details={"class": name},
            )
    if not found:
        raise Refused(
            "Nothing says how long events stay, so none is deleted.",
            hint="Set retention.information, .security and .operator in secops.yaml (90d, 396d, 2192d), "
            "or retention.preset to soc2, hipaa, pci or gdpr (not legal advice).",
        )
    return {name: span for name, span in found.items() if not only or name in only}


_DUE: Final[LiteralString] = (
    "t.created_at < %(cutoff)s AND t.created_at < CASE "
    + CLASS.strip()
    + """
        WHEN 'information' THEN %(before_information)s::timestamptz
        WHEN 'security' THEN %(before_security)s::timestamptz
        WHEN 'operator' THEN %(before_operator)s::timestamptz END"""
)


@dataclass(frozen=True, slots=True)
class Past:
    """Which events are past their retention, by the server's clock when the run began.

    Attributes:
        before: For each class that may go, the moment before which it goes.
        holds: Whose events stay.
    """

    command: ClassVar = "prune events"
    event: ClassVar = "events_pruned"
    table: ClassVar = "security_events"
    moment: ClassVar[LiteralString] = "created_at"
    due: ClassVar[LiteralString] = _DUE
    kept_at_once: ClassVar[LiteralString] = Holds.condition

    before: Mapping[str, datetime]
    holds: Holds = field(default_factory=Holds)

    @property
    def cutoff(self) -> datetime:
        """Nothing at or after it is due, whatever its class."""
        return max(self.before.values())

    def as_parameters(self) -> dict[str, object]:
        """Return what the conditions bind."""
        return {
            "cutoff": self.cutoff,
            **{f"before_{name}": self.before.get(name) for name in CLASSES},
            **self.holds.as_parameters(),
        }

    def keeping(self, _conn: Connection, _layout: Layout) -> Past:
        """Return itself: the holds were read before."""
        return self

    def condition(self, _piece: Piece) -> sql.Composed:
        """Return the condition for an event to be held."""
        return sql.Composed([sql.SQL(self.holds.condition)])

    def limits(self) -> dict[str, object]:
        """Return what was due, for the record."""
        return {f"{name}_before": moment.isoformat() for name, moment in self.before.items()}

    def facts(self, kept: int | None) -> dict[str, object]:
        """Return the same, and how many are held."""
        return {**self.limits(), "held": kept}

    @staticmethod
    def things(number: int) -> str:
        """Return the number with its noun."""
        return "1 event" if number == 1 else f"{number:,} events"

    @staticmethod
    def told(limits: Mapping[str, object]) -> str:
        """Return :meth:`limits` in words."""
        parts = []
        for name in CLASSES:
            if f"{name}_before" in limits:
                moment = datetime.fromisoformat(str(limits[f"{name}_before"])).astimezone(UTC)
                parts.append(f"{name} before {moment:%Y-%m-%d %H:%M:%SZ}")
        return f"past their retention ({', '.join(parts)})"


@dataclass(frozen=True, slots=True)
class Count:
    """What there is to do.

    Attributes:
        by_class: Events that may go, for each class that may.
        held: Events that are as old and held.
    """

    by_class: Mapping[str, int]
    held: int

    @property
    def matched(self) -> int:
        """Events that may go."""
        return sum(self.by_class.values())


def past(
    conn: Connection, layout: Layout, spans: Mapping[str, timedelta], holds: Sequence[str]
) -> Past:
    """Fix what is past its retention.

    Args:
        conn: Any; its server's clock counts.
        layout: The tables.
        spans: How long each class stays; not empty.
        holds: The lines of the holds file.
    """
    with transaction(conn, read_only=True):
        row = conn.execute("SELECT now()").fetchone()
        held = Holds.find(conn, layout, holds)
    assert row is not None
    now = cast("datetime", row[0])
    return Past({name: now - span for name, span in spans.items()}, held)


def count(conn: Connection, layout: Layout, limits: Past) -> Count:
    """Count exactly what is due."""
    query = sql.SQL(
        """SELECT {kind}, count(*) FILTER (WHERE NOT {held}), count(*) FILTER (WHERE {held})
           FROM {events} t WHERE {due} GROUP BY 1"""
    ).format(
        kind=sql.SQL(CLASS),
        held=sql.SQL(limits.holds.condition),
        events=layout.events,
        due=sql.SQL(_DUE),
    )
    with transaction(conn, read_only=True):
        rows = conn.execute(query, limits.as_parameters()).fetchall()
    by_class = dict.fromkeys(limits.before, 0)
    by_class |= {str(name): int(str(free)) for name, free, _ in rows}
    return Count(by_class, sum(int(str(held)) for _, _, held in rows))
