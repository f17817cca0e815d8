"""What the plan's code needs and its tables lack: rotation, families, reasons, operators' locks, epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from secops.database.layout import INTERNAL
from secops.schema.adoption import wanted
from secops.schema.adoption.taking import Taking
from secops.schema.extras import create_function
from secops.schema.indexes import create_index
from secops.schema.tables import Column, add_columns, create_table

if TYPE_CHECKING:
    from secops.schema.runner import Runner
    from secops.schema.site import Site
    from secops.schema.steps import Step

revision = "0002"
down_revision = "0001"
title = "Rotation and operators"

_PG_INPUT_IS_VALID: Final = 16_00_00
"""The server that brought a way to ask without raising."""

_TRY_INET_16: Final = """
BEGIN
    IF pg_catalog.pg_input_is_valid(value, 'inet') THEN
        RETURN value::pg_catalog.inet;
    END IF;
    RETURN NULL;
END
"""

# Before PostgreSQL 16 only an exception tells, and that needs a subtransaction, which no parallel
# query may start. Plain IPv4 addresses, nearly all, do without.
_TRY_INET_14: Final = """
BEGIN
    IF value ~ '^(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)(\\.(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)){3}$' THEN
        RETURN value::pg_catalog.inet;
    END IF;
    BEGIN
        RETURN value::pg_catalog.inet;
    EXCEPTION WHEN invalid_text_representation THEN
        RETURN NULL;
    END;
END
"""


def steps(site: Site) -> list[Step]:
    """Return the steps, in order."""
    schema = site.layout.schema
    key = site.layout.users.id_type
    modern = site.version >= _PG_INPUT_IS_VALID
    return [
        add_columns(
            schema,
            "refresh_tokens",
            wanted.rotation(),
            before=Taking(site).before("refresh_tokens"),
        ),
        # A token that an older app wrote has no family: it is one of its own.
        create_index(
            schema, "refresh_tokens", "idx_refresh_tokens_family", "(coalesce(family_id, id))"
        ),
        # Families grow by a token every quarter of an hour, and one of them is live at most: pruning
        # asks of each family whether it has one.
        create_index(
            schema,
            "refresh_tokens",
            "idx_refresh_tokens_live",
            "(coalesce(family_id, id)) WHERE used IS NOT TRUE AND revoked IS NOT TRUE",
        ),
        create_table(
            INTERNAL,
            "accounts",
            [
                Column("user_id", key, not_null=True, also=site.key),
                Column("token_epoch", "integer", not_null=True, default="0"),
                Column("locked_at", "timestamp with time zone"),
                Column("lock_expires_at", "timestamp with time zone"),
                Column("lock_reason", "text"),
                Column("lock_ticket", "text"),
                Column("locked_by", "text"),
                Column("lock_operation", "uuid"),
            ],
            key="user_id",
        ),
        create_table(
            INTERNAL,
            "operations",
            [
                Column("id", "uuid", not_null=True),
                Column("action", "text", not_null=True),
                Column("actor", "text", not_null=True),
                Column("host", "text", not_null=True),
                Column("reason", "text"),
                Column("ticket", "text"),
                Column("started_at", "timestamp with time zone", not_null=True, default="now()"),
                Column("finished_at", "timestamp with time zone"),
                Column("matched", "bigint"),
                Column("changed", "bigint"),
                Column("detail", "jsonb", not_null=True, default="'{}'::jsonb"),
            ],
            key="id",
        ),
        create_function(
            INTERNAL,
            "try_inet",
            argument=("value", "text"),
            returns="inet",
            attributes="IMMUTABLE STRICT PARALLEL SAFE" if modern else "IMMUTABLE STRICT",
            body=_TRY_INET_16 if modern else _TRY_INET_14,
        ),
    ]


def upgrade(runner: Runner) -> None:
    """Apply the steps; see :mod:`secops.schema.runner`."""
    runner.upgrade(steps)


def downgrade(runner: Runner) -> None:
    """Take the steps back, last one first."""
    runner.downgrade(steps)
