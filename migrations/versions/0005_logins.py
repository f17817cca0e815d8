"""What a backend needs beside the plan's tables: attempts, limits, notices to send, successors of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.database.layout import INTERNAL
from secops.schema.indexes import create_index
from secops.schema.tables import Column, add_columns, create_table

if TYPE_CHECKING:
    from secops.schema.runner import Runner
    from secops.schema.site import Site
    from secops.schema.steps import Step

revision = "0005"
down_revision = "0004"
title = "Logins"


def steps(site: Site) -> list[Step]:
    """Return the steps, in order."""
    return [
        # Encrypted under the token that it succeeds, for clients that never got the answer.
        add_columns(site.layout.schema, "refresh_tokens", [Column("successor", "bytea")]),
        create_table(
            INTERNAL,
            "login_attempts",
            [
                # An HMAC: people type passwords where their name belongs.
                Column("identifier", "bytea", not_null=True),
                Column("failed", "integer", not_null=True, default="0"),
                Column("open", "integer", not_null=True, default="0"),
                Column("began_at", "timestamp with time zone", not_null=True, default="now()"),
                Column("taken_at", "timestamp with time zone", not_null=True, default="now()"),
                Column("locked_until", "timestamp with time zone"),
            ],
            key="identifier",
        ),
        create_index(INTERNAL, "login_attempts", "idx_login_attempts_taken_at", "(taken_at)"),
        create_table(
            INTERNAL,
            "rate_limits",
            [
                Column("client", "text", not_null=True),
                Column("until", "timestamp with time zone", not_null=True),
            ],
            key="client",
            # Written at every attempt, and worth nothing after a crash.
            unlogged=True,
        ),
        create_table(
            INTERNAL,
            "outbox",
            [
                Column("id", "uuid", not_null=True, default="gen_random_uuid()"),
                Column("kind", "text", not_null=True),
                Column("user_id", site.layout.users.id_type, also=site.key),
                Column("address", "text", not_null=True),
                Column("facts", "jsonb", not_null=True, default="'{}'::jsonb"),
                Column("created_at", "timestamp with time zone", not_null=True, default="now()"),
                Column("due_at", "timestamp with time zone", not_null=True, default="now()"),
                Column("attempts", "integer", not_null=True, default="0"),
                Column("claimed_at", "timestamp with time zone"),
                Column("sent_at", "timestamp with time zone"),
                Column("given_up_at", "timestamp with time zone"),
                Column("error", "text"),
            ],
            key="id",
        ),
        create_index(
            INTERNAL,
            "outbox",
            "idx_outbox_due",
            "(due_at) WHERE sent_at IS NULL AND given_up_at IS NULL",
        ),
    ]


def upgrade(runner: Runner) -> None:
    """Apply the steps; see :mod:`secops.schema.runner`."""
    runner.upgrade(steps)


def downgrade(runner: Runner) -> None:
    """Take the steps back, last one first."""
    runner.downgrade(steps)
