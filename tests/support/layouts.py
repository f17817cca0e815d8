"""What migrations may find: nothing but users, or the plan's SQL run by hand, used and damaged."""

from __future__ import annotations

from collections.abc import Callable

from support.databases import Database
from support.earlier_layer import create
from support.schemas import APPS


def users_only(database: Database) -> None:
    """Layout A, with names that need quotes, and enough people that a join reads the table through."""
    APPS["mixed case"].create(database)
    database.execute(
        """INSERT INTO "My App"."Users" (email) SELECT 'p' || n FROM generate_series(1, 2000) n;
           ANALYZE"""
    )


def by_hand(database: Database) -> None:
    """Layout C, used, and damaged in every way that is repaired."""
    app = APPS["uuid"]
    app.create(database)
    database.execute("INSERT INTO users (email) SELECT 'p' || n FROM generate_series(1, 2000) n")
    app.run_plan(database)
    app.use_plan(database)
    database.execute(
        """ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_user_id_fkey, ADD CONSTRAINT
               ours FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE NOT VALID;
           ALTER TABLE refresh_tokens ALTER revoked DROP DEFAULT;
           ALTER TABLE users DROP COLUMN locked_until;
           UPDATE pg_index SET indisvalid = false
           WHERE indexrelid = 'idx_refresh_tokens_user_id'::regclass;
           ANALYZE"""
    )


def earlier_layer(database: Database) -> None:
    """Layout B: tokens in clear, times without a zone, events of another kind."""
    create(APPS["uuid"], database, rows=2000)
    database.execute("INSERT INTO users (email) SELECT 'p' || n FROM generate_series(1, 2000) n")
    database.execute("ANALYZE")


LAYOUTS: dict[str, Callable[[Database], None]] = {
    "users only": users_only,
    "by hand": by_hand,
    "earlier layer": earlier_layer,
}
