"""A bare FastAPI app whose one endpoint sends as many statements as a refresh does, and does nothing else."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from fastapi import FastAPI
from psycopg_pool import ConnectionPool

if TYPE_CHECKING:
    import psycopg

pool: ConnectionPool[psycopg.Connection[tuple[object, ...]]] = ConnectionPool(
    os.environ["BARE_DATABASE_URL"], min_size=1, max_size=10, open=True,
    check=ConnectionPool.check_connection,
    kwargs={"autocommit": True, "prepare_threshold": None},
)  # fmt: skip
app = FastAPI()


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that it is there."""
    return {"status": "ok"}


@app.post("/refresh")
def refresh() -> dict[str, str]:
    """Send what a refresh sends: a transaction with a setting, two reads that lock and two writes."""
    with pool.connection() as conn, conn.transaction():
        conn.execute("SELECT set_config('lock_timeout', '5s', true)")
        row = conn.execute(
            "SELECT id FROM users WHERE email = %s FOR NO KEY UPDATE",
            (f"p{random.randint(1, 50)}@example.com",),
        ).fetchone()
        assert row is not None
        conn.execute("SELECT count(*) FROM bare WHERE id = %s", (1,))
        conn.execute("INSERT INTO bare (text) VALUES (%s)", ("x" * 200,))
        conn.execute("INSERT INTO bare (text) VALUES (%s)", ("x" * 200,))
    return {"id": str(row[0])}
