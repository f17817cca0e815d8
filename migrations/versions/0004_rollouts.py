"""The journal of rollouts: what was about to be written, what came of it, what its gates saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.database.layout import INTERNAL
from secops.schema.indexes import create_index
from secops.schema.tables import Column, create_table

if TYPE_CHECKING:
    from secops.schema.runner import Runner
    from secops.schema.site import Site
    from secops.schema.steps import Step

revision = "0004"
down_revision = "0003"
title = "Rollouts"


def steps(_: Site) -> list[Step]:
    """Return the steps, in order."""
    return [
        create_table(
            INTERNAL,
            "rollouts",
            [
                Column("id", "uuid", not_null=True),
                Column("target", "text", not_null=True),
                Column("fingerprint", "text", not_null=True),
                Column("kind", "text", not_null=True),
                Column("rollout", "text", not_null=True),
                Column("stage", "text", not_null=True),
                Column("state", "text", not_null=True),
                Column("number", "integer", not_null=True, default="0"),
                # The target's fingerprint while the move holds it, then NULL: one at a time.
                Column("holds", "text"),
                Column("epoch", "integer", not_null=True, default="1"),
                Column("owner", "text"),
                Column("owner_since", "timestamp with time zone"),
                Column("heartbeat_at", "timestamp with time zone"),
                Column("started_at", "timestamp with time zone", not_null=True, default="now()"),
                Column("updated_at", "timestamp with time zone", not_null=True, default="now()"),
                Column("over_at", "timestamp with time zone"),
                Column("expires_at", "timestamp with time zone"),
                Column("gates", "jsonb", not_null=True, default="'{}'::jsonb"),
            ],
            key="id",
            unique=("holds",),
        ),
        create_table(
            INTERNAL,
            "rollout_journal",
            [
                # "MOVE/NUMBER": no two owners can both write a move's next entry.
                Column("place", "text", not_null=True),
                Column("move", "uuid", not_null=True),
                Column("number", "integer", not_null=True),
                Column("state", "text", not_null=True),
                Column("at", "timestamp with time zone", not_null=True),
                Column("recorded_at", "timestamp with time zone", not_null=True, default="now()"),
                # Text and not jsonb: its hash is of these very characters.
                Column("entry", "text", not_null=True),
                Column("hash", "text", not_null=True),
            ],
            key="place",
        ),
        create_table(
            INTERNAL,
            "rollout_readings",
            [
                Column("id", "uuid", not_null=True, default="gen_random_uuid()"),
                Column("move", "uuid", not_null=True),
                Column("gate", "text", not_null=True),
                Column("at", "timestamp with time zone", not_null=True),
                Column("verdict", "text", not_null=True),
                Column("reading", "jsonb", not_null=True),
            ],
            key="id",
        ),
        create_index(INTERNAL, "rollouts", "idx_rollouts_fingerprint", "(fingerprint, started_at)"),
        create_index(INTERNAL, "rollout_journal", "idx_rollout_journal_move", "(move)"),
        create_index(INTERNAL, "rollout_readings", "idx_rollout_readings_move", "(move, at)"),
    ]


def upgrade(runner: Runner) -> None:
    """Apply the steps; see :mod:`secops.schema.runner`."""
    runner.upgrade(steps)


def downgrade(runner: Runner) -> None:
    """Take the steps back, last one first."""
    runner.downgrade(steps)
