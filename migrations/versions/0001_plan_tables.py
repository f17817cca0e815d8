"""The plan's tables: refresh_tokens, security_events, and the lockout columns of users.

As the plan writes them (phase 1.1), but for what would hurt: no foreign key from security_events, no second
index on token_hash, a partial index on locked_until. Where the plan's own SQL was run by hand, its tables,
columns and indexes are recognised and taken over as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.schema.adoption import wanted
from secops.schema.adoption.taking import Taking
from secops.schema.constraints import reference_users, release_users
from secops.schema.extras import create_schema, use_schema, use_table
from secops.schema.indexes import create_index
from secops.schema.tables import add_columns, create_table

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
    taking = Taking(site)
    tokens, events = "refresh_tokens", "security_events"
    return [
        # The app's own schema is there, and who may use it is the app's to say.
        *(
            []
            if schema == users.schema
            else [create_schema(schema), use_schema(schema, site.owner)]
        ),
        # An earlier layer of the app's own is taken over, where there is one.
        *taking.steps(),
        create_table(
            schema,
            tokens,
            wanted.tokens(site),
            key="id",
            unique=["token_hash"],
            before=taking.before(tokens),
        ),
        use_table(schema, tokens, site.owner),
        *reference_users(schema, tokens, users),
        create_index(schema, tokens, "idx_refresh_tokens_user_id", "(user_id)"),
        create_index(schema, tokens, "idx_refresh_tokens_expires_at", "(expires_at)"),
        create_table(
            schema,
            events,
            wanted.events(site),
            key="id",
            reserved=wanted.RESERVED,
            before=taking.before(events),
        ),
        use_table(schema, events, site.owner),
        release_users(schema, events, users),
        add_columns(
            users.schema,
            users.name,
            wanted.lockout(),
            before=taking.before("users"),
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
