"""All that stands in the way, gathered before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import errors as pg

from secops.schema import catalogue, versions
from secops.schema.partitions.convert import key_of_an_earlier_run
from secops.schema.partitions.obstacles import (
    OLDEST,
    Obstacle,
    check_obstacles,
    dependents,
    index_obstacles,
    owner_obstacles,
    rows_in_the_way,
)
from secops.schema.partitions.picture import CHECK, TABLE
from secops.schema.partitions.shape import read

if TYPE_CHECKING:
    from datetime import datetime

    from secops.database.connection import Connection
    from secops.schema.partitions.picture import Partition, Picture
    from secops.schema.site import Site

# What would be lost with a partition that is dropped, or would keep it from being dropped.
_HOLDS_A_PARTITION = {"view", "rule", "foreign key", "trigger", "policy", "dependency"}


def for_conversion(
    conn: Connection, site: Site, there: Picture, cutoff: datetime, *, pooled: bool
) -> tuple[Obstacle, ...]:
    """Find everything that stands in the way of a conversion.

    Args:
        conn: In a transaction, or not.
        site: The database.
        there: What is there.
        cutoff: Where old and new would part.
        pooled: Whether a transaction pooler stands in between.
    """
    layout = site.layout
    found = surroundings(site, pooled=pooled)
    if there.kind is None:
        return (*found, Obstacle("missing", f"there is no {TABLE}", "secops migrate"))
    if there.kind != "r":
        words = f"it is {catalogue.KINDS.get(there.kind, there.kind)}"
        if there.kind == "p":
            words = "it is partitioned already, and not by ranges of created_at"
        return (*found, Obstacle("kind", words, "-- Make it a plain table first."))
    if there.emptying:
        words = f"undoing earlier partitions has not ended: {len(there.emptying)} are to be emptied"
        return (*found, Obstacle("unfinished undo", words, "secops partition undo --yes"))
    shape = read(conn, layout.schema, TABLE)
    mine = key_of_an_earlier_run(shape)
    found += owner_obstacles(conn, shape)
    found += dependents(conn, shape.oid, layout.events)
    found += index_obstacles(shape, mine.name if mine is not None else None)
    found += check_obstacles(shape, CHECK if there.cutoff is not None else None)
    try:
        with conn.transaction():
            found += _pending(conn, site)
    except pg.InsufficientPrivilege:
        mend = "secops init --print-grants   # and run what it prints"
        words = "this role may not see which migrations are applied"
        found.append(Obstacle("privilege", words, mend, guard=True))
    try:
        with conn.transaction():
            found += rows_in_the_way(conn, layout.events, cutoff)
    except pg.InsufficientPrivilege:
        mend = "secops init --print-grants   # and run what it prints"
        found.append(Obstacle("privilege", "this role may not read it", mend, guard=True))
    return tuple(found)


def for_undo(
    conn: Connection, site: Site, there: Picture, base: Partition | None, *, pooled: bool
) -> tuple[Obstacle, ...]:
    """Find everything that stands in the way of making one plain table again.

    Args:
        conn: In a transaction, or not.
        site: The database.
        there: What is there: a partitioned table.
        base: The partition that is to become the table.
        pooled: Whether a transaction pooler stands in between.
    """
    layout = site.layout
    found = surroundings(site, pooled=pooled)
    if there.kind is None:
        return (*found, Obstacle("missing", f"there is no {TABLE}", "secops migrate"))
    if not there.monthly or base is None:
        words = "it is not partitioned by ranges of created_at, or has no partition"
        return (*found, Obstacle("kind", words, "-- secops did not make these partitions."))
    shape = read(conn, layout.schema, TABLE)
    found += owner_obstacles(conn, shape)
    found += dependents(conn, shape.oid, layout.events)
    for each in there.partitions:
        if each is base or each.detaching:
            continue
        if each.kind != "r":
            words = f"the partition {each.name} is {catalogue.KINDS.get(each.kind, each.kind)}"
            mend = f"-- Detach {each.name}, or make it a plain table."
            found.append(Obstacle("partition", words, mend))
            continue
        part = read(conn, each.schema, each.name)
        found += [
            Obstacle(held.kind, f"the partition {each.name}: {held.what}", held.mend)
            for held in dependents(conn, part.oid, part.identifier)
            if held.kind in _HOLDS_A_PARTITION
        ]
    return tuple(found)


def surroundings(site: Site, *, pooled: bool) -> list[Obstacle]:
    """Find what is in the way whatever the table is like."""
    found = []
    if site.version < OLDEST:
        words = f"PostgreSQL {site.version // 10000} cannot detach a partition beside a running app"
        found.append(
            Obstacle("server version", words, "-- Use PostgreSQL 14 or newer.", guard=True)
        )
    if pooled:
        words = "a transaction pooler stands in between, and indexes cannot be built through it"
        mend = "Set SECOPS_DIRECT_URL to the server itself."
        found.append(Obstacle("pooler", words, mend, guard=True))
    return found


def _pending(conn: Connection, site: Site) -> list[Obstacle]:
    plan = versions.plan(conn, site)
    if plan.nothing_to_do:
        return []
    titles = "; ".join(each.finding.difference or each.step.title for each in plan.open[:3])
    more = f" and {len(plan.open) - 3} more" if len(plan.open) > 3 else ""  # noqa: PLR2004  a line
    words = f"migrations are pending, or the schema drifted ({titles}{more})"
    return [Obstacle("migrations", words, "secops migrate")]
