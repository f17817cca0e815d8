"""Finding people by e-mail address or id, and guessing whom a name that matches nobody may mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from psycopg import sql

from secops.accounts.operations import storable
from secops.errors import Conflict, NothingMatched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from secops.database.connection import Connection
    from secops.database.layout import KeyType, Layout

# What needs no quoting in a shell and cannot be taken for an option.
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+@:-]*", re.ASCII)
_DIGITS: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_WIDTH: Final[dict[str, int]] = {"integer": 31, "bigint": 63}

_SUGGESTED: Final = 20
_LISTED: Final = 100
_NEIGHBOURS: Final = 100
_SAMPLE: Final = 2_000
_NEAR: Final = 0.6
_LONGEST_WITH_VARIANTS: Final = 60
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789.@_-+"


@dataclass(frozen=True, slots=True)
class Account:
    """A person's row in the app's table.

    Attributes:
        id: The key, as psycopg reads it (UUID, int, str).
        email: E-mail address or login name; ``None`` where the row has none.
        name: Display name, where the table has such a column.
        active: Whether the app lets them log in; ``None`` where the table does not say.
    """

    id: object
    email: str | None
    name: str | None = None
    active: bool | None = None

    @property
    def label(self) -> str:
        """The account as people call it. Comes from outside: make it inert before showing it."""
        return self.email or str(self.id)

    @property
    def argument(self) -> str:
        """The account as an argument of a command line that may be pasted into a shell.

        An address that is not plainly one (it could steer a shell, be taken for an option, or look
        different from what it is) gives way to the id.
        """
        return self.email if self.email and _PLAIN.fullmatch(self.email) else str(self.id)


def key_from_text(text: str, kind: KeyType) -> UUID | int | str | None:
    """Read a key as a person wrote it.

    Args:
        text: What they wrote.
        kind: The key's type.

    Returns:
        The key, or ``None`` where the text can be no key of that type.
    """
    if kind == "text":
        return text
    if kind == "uuid":
        try:
            return UUID(text)
        except ValueError:
            return None
    if not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    return number if -(1 << _WIDTH[kind]) <= number < 1 << _WIDTH[kind] else None


def find(conn: Connection, layout: Layout, who: str) -> Account:
    """Find one account.

    Args:
        conn: Where to look.
        layout: The tables.
        who: An e-mail address in any case, or an id. An address that matches exactly wins.

    Raises:
        NothingMatched: There is none; suggests the nearest.
        Conflict: The address in this case is nobody's, and in other cases that of several.
    """
    return find_all(conn, layout, [who])[0]


def find_all(
    conn: Connection,
    layout: Layout,
    names: Sequence[str],
    places: Mapping[str, str] | None = None,
) -> list[Account]:
    """Find every account named, or none.

    Args:
        conn: Where to look.
        layout: The tables.
        names: E-mail addresses in any case, or ids.
        places: Where names were read (``people.txt:3``), for errors.

    Returns:
        The accounts in the order of their names; one that was named twice stands once.

    Raises:
        NothingMatched: Some names match nobody; names each, with the nearest.
        Conflict: Some names match several.
    """
    found = match(conn, layout, names)
    several = {name: accounts for name, accounts in found.items() if len(accounts) > 1}
    if several:
        raise _ambiguous(several)
    missing = [name for name, accounts in found.items() if not accounts]
    if missing:
        raise nobody(conn, layout, missing, places)
    return list({accounts[0].id: accounts[0] for accounts in found.values()}.values())


def match(conn: Connection, layout: Layout, names: Iterable[str]) -> dict[str, list[Account]]:
    """Look every name up.

    Three questions at most, whatever the number of names: the exact address (the app's own index
    answers), the key, and the address in any case (a scan, unless the app has an index on
    ``lower()``).

    Args:
        conn: Where to look.
        layout: The tables.
        names: E-mail addresses in any case, or ids.

    Returns:
        For each name what it matches: nobody, one account, or several whose addresses differ in
        nothing but case.
    """
    found: dict[str, list[Account]] = {storable(name.strip()): [] for name in names}
    email = sql.Identifier(layout.users.email)
    words = [name for name in found if name]
    _look(conn, layout, found, words, on=sql.SQL("u.{} = w.value").format(email))
    keys: dict[str, str] = {}
    for name in _open(found):
        key = key_from_text(name, layout.users.id_type)
        if key is not None:
            keys[name] = str(key)
    if keys:
        on = sql.SQL("u.{} = w.value::{}").format(sql.Identifier(layout.users.id), layout.users.key)
        _look(conn, layout, found, list(keys), on=on, values=list(keys.values()))
    if rest := [name for name in _open(found) if name and name not in _sure_ids(keys, layout)]:
        on = sql.SQL("lower(u.{}) = lower(w.value)").format(email)
        _look(conn, layout, found, rest, on=on)
    return found


def _open(found: dict[str, list[Account]]) -> list[str]:
    return [name for name, accounts in found.items() if not accounts]


def _sure_ids(keys: dict[str, str], layout: Layout) -> set[str]:
    """Return the names that can be nothing but ids, which nobody need scan the addresses for."""
    return set(keys) if layout.users.id_type == "uuid" else set()


def _look(
    conn: Connection,
    layout: Layout,
    found: dict[str, list[Account]],
    names: list[str],
    *,
    on: sql.Composable,
    values: list[str] | None = None,
) -> None:
    query = sql.SQL(
        "SELECT w.name, {columns} FROM unnest(%s::text[], %s::text[]) AS w (name, value)"
        " JOIN {users} u ON {on} ORDER BY w.name, u.{id}"
    ).format(
        columns=columns(layout),
        users=layout.users.table,
        on=on,
        id=sql.Identifier(layout.users.id),
    )
    for name, *row in conn.execute(query, (names, values or names)):
        found[str(name)].append(Account(*row))  # type: ignore[arg-type]  # the columns below


def by_id(conn: Connection, layout: Layout, ids: Sequence[object]) -> dict[object, Account]:
    """Return accounts by their keys; one that is gone is there without an address."""
    query = sql.SQL("SELECT {columns} FROM {users} u WHERE u.{id} = ANY (%b::{key}[])").format(
        columns=columns(layout),
        users=layout.users.table,
        id=sql.Identifier(layout.users.id),
        key=layout.users.key,
    )
    found = {each: Account(each, None) for each in ids}
    for row in conn.execute(query, (list(ids),)):
        found[row[0]] = Account(*row)  # type: ignore[arg-type]  # the columns below
    return found


def columns(layout: Layout) -> sql.Composed:
    """Return the columns of ``u``, the users table, that make an :class:`Account`."""
    users = layout.users

    def column(name: str | None, kind: str) -> sql.Composable:
        return sql.SQL("u.{}").format(sql.Identifier(name)) if name else sql.SQL(f"NULL::{kind}")

    return sql.SQL("{}, {}::text, {}::text, {}").format(
        column(users.id, "text"),
        column(users.email, "text"),
        column(users.display_name, "text"),
        column(users.active, "boolean"),
    )


def _ambiguous(several: dict[str, list[Account]]) -> Conflict:
    name, accounts = next(iter(several.items()))
    listed = ", ".join(f"{account.label} (id {account.id})" for account in accounts[:10])
    return Conflict(
        f"{name} matches {len(accounts):,} accounts that differ in case: {listed}.",
        hint="Write the address exactly, or give the id.",
        details={
            "candidates": {
                each: [{"id": str(account.id), "email": account.email} for account in found[:100]]
                for each, found in several.items()
            }
        },
    )


def nobody(
    conn: Connection,
    layout: Layout,
    names: Sequence[str],
    places: Mapping[str, str] | None = None,
) -> NothingMatched:
    """Return the error for names that match no account.

    Args:
        conn: Where to look for the nearest.
        layout: The tables.
        names: At least one; the nearest are looked up for the first twenty.
        places: Where names were read.
    """
    near = {name: suggest(conn, layout, name) for name in names[:_SUGGESTED]}
    details: dict[str, object] = {"missing": list(names), "suggestions": near}
    if len(names) == 1 and not places:
        close = near[names[0]]
        return NothingMatched(
            f"There is no account '{names[0]}'.",
            hint=f"Did you mean {_either(close)}?" if close else "Give an e-mail address or an id.",
            details=details,
        )
    lines = []
    for name in names[:_LISTED]:
        place = (places or {}).get(name)
        close = near.get(name, [])
        lines.append(
            (f"{place}: " if place else "")
            + f"'{name}'"
            + (f"; did you mean {_either(close)}?" if close else "")
        )
    if len(names) > _LISTED:
        lines.append(f"... and {len(names) - _LISTED:,} more; --json names them all.")
    return NothingMatched(
        f"{len(names):,} of the names match no account, so nothing was changed."
        if len(names) > 1
        else "One of the names matches no account, so nothing was changed.",
        hint="\n".join(lines),
        details=details,
    )


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def suggest(conn: Connection, layout: Layout, who: str) -> list[str]:
    """Return up to three addresses near to one that nobody has.

    The work is bounded however large the table is: addresses that stand beside it in the app's
    index, those that one slip of the finger away from it (looked up in the same index), and the
    table's first rows, which are all of a small one.

    Args:
        conn: Where to look.
        layout: The tables.
        who: What was written.
    """
    wanted = storable(who.strip()).lower()
    if not wanted:
        return []
    query = sql.SQL(
        """(SELECT u.{email}::text FROM {users} u WHERE u.{email} >= %(who)s
            ORDER BY u.{email} LIMIT {few})
           UNION (SELECT u.{email}::text FROM {users} u WHERE u.{email} < %(who)s
                  ORDER BY u.{email} DESC LIMIT {few})
           UNION (SELECT u.{email}::text FROM {users} u WHERE u.{email} IS NOT NULL LIMIT {many})
           UNION (SELECT u.{email}::text FROM {users} u
                  JOIN unnest(%(variants)s::text[]) AS v (value) ON u.{email} = v.value LIMIT {few})"""
    ).format(
        email=sql.Identifier(layout.users.email),
        users=layout.users.table,
        few=sql.Literal(_NEIGHBOURS),
        many=sql.Literal(_SAMPLE),
    )
    variants = _variants(wanted)
    rows = conn.execute(query, {"who": wanted, "variants": sorted(variants)})
    near = [
        (likeness, address)
        for (address,) in rows
        if (likeness := _likeness(wanted, str(address).lower(), variants)) >= _NEAR
    ]
    return [str(address) for _, address in sorted(near, key=lambda pair: (-pair[0], pair[1]))[:3]]


def _likeness(wanted: str, address: str, variants: set[str]) -> float:
    """Say how near an address is to what was written, from 0 to 1.

    Most addresses of an app share a domain, so those that share no more are not near: the part before
    the @ decides, and the whole where the domains differ.
    """
    from difflib import SequenceMatcher  # noqa: PLC0415  only for a name that matches nobody

    if address in variants:
        return 1.0
    name, at, domain = wanted.partition("@")
    other, _, others = address.partition("@")
    matcher = SequenceMatcher(None, other, name)
    if matcher.real_quick_ratio() < _NEAR or (likeness := matcher.ratio()) < _NEAR:
        return 0.0
    if not at or domain == others:
        return likeness
    return likeness * SequenceMatcher(None, others, domain).ratio()


def _variants(text: str) -> set[str]:
    """Return everything that is one deletion, swap, replacement or insertion away."""
    if len(text) > _LONGEST_WITH_VARIANTS:
        return set()
    cuts = [(text[:at], text[at:]) for at in range(len(text) + 1)]
    near = {left + right[1:] for left, right in cuts if right}
    near |= {left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1}
    near |= {left + letter + right[1:] for left, right in cuts if right for letter in _LETTERS}
    near |= {left + letter + right for left, right in cuts for letter in _LETTERS}
    return near - {text}
