"""The plan's tables: refresh_tokens, security_events, and the lockout columns of users.

As the plan writes them (phase 1.1), but for what would hurt: no foreign key from security_events, no second
index on token_hash, a partial index on locked_until. Where the plan's own SQL was run by hand, its tables,
columns and indexes are recognised and taken over as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.schema.constraints import reference_users, release_users
from secops.schema.extras import create_schema, use_schema, use_table
from secops.schema.indexes import create_index
from secops.schema.tables import Column, add_columns, create_table

if TYPE_CHECKING:
    from secops.schema.runner import Runner
    from secops.schema.site import Site
    from secops.schema.steps import Step

revision = "0001"
down_revision = None
title = "The plan's tables"


def steps(site: Site) -> list[Step]:
    """Return the steps, in order."""
    users = site.layout.users
    schema = site.layout.schema
    key = users.id_type
    tokens, events = "refresh_tokens", "security_events"
    return [
        create_schema(schema),
        # Who may use the app's own schema is the app's to say.
        *([] if schema == users.schema else [use_schema(schema, site.owner)]),
        create_table(
            schema,
            tokens,
            [
                Column("id", "uuid", not_null=True, default="gen_random_uuid()"),
                Column("user_id", key, not_null=True, also=site.key),
                Column("token_hash", "character varying(255)", not_null=True),
                Column("device_info", "text"),
                Column("ip_address", "character varying(45)"),
                Column("expires_at", "timestamp with time zone", not_null=True),
                Column("revoked", "boolean", default="false"),
                Column("created_at", "timestamp with time zone", default="now()"),
            ],
            key="id",
            unique=["token_hash"],
        ),
        use_table(schema, tokens, site.owner),
        *reference_users(schema, tokens, users),
        create_index(schema, tokens, "idx_refresh_tokens_user_id", "(user_id)"),
        create_index(schema, tokens, "idx_refresh_tokens_expires_at", "(expires_at)"),
        create_table(
            schema,
            events,
            [
                Column("id", "uuid", not_null=True, default="gen_random_uuid()"),
                Column("event_type", "character varying(50)", not_null=True),
                Column("event_category", "character varying(30)", not_null=True),
                Column("severity", "character varying(20)", not_null=True),
                Column("user_id", key, also=site.key),
                Column("email", "character varying(255)"),
                Column("ip_address", "character varying(45)"),
                Column("user_agent", "text"),
                Column("request_path", "character varying(500)"),
                Column("request_method", "character varying(10)"),
                Column("success", "boolean", not_null=True),
                Column("message", "text"),
                Column("metadata", "jsonb"),
                Column("created_at", "timestamp with time zone", default="now()"),
            ],
            key="id",
            reserved=["event_type", "event_category", "severity", "user_agent", "metadata"],
        ),
        use_table(schema, events, site.owner),
        release_users(schema, events, users),
        add_columns(
            users.schema,
            users.name,
            [
                Column("failed_login_attempts", "integer", default="0"),
                Column("locked_until", "timestamp with time zone"),
            ],
        ),
        create_index(
            users.schema,
            users.name,
            "idx_users_locked_until",
            "(locked_until) WHERE locked_until IS NOT NULL",
            accept=("(locked_until)",),
        ),
    ]


def upgrade(runner: Runner) -> None:
    """Apply the steps; see :mod:`secops.schema.runner`."""
    runner.upgrade(steps)


def downgrade(runner: Runner) -> None:
    """Take the steps back, last one first."""
    runner.downgrade(steps)
