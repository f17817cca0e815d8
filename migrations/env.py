"""alembic's environment: run by secops alone, on connections that secops opened.

It takes over no logging and prints nothing. Steps run on a connection of their own
(:mod:`secops.schema.runner`); alembic's holds nothing but the version record and the event that tells of
it, which are one transaction.
"""

from __future__ import annotations

from alembic import context

from secops.schema.ledger import Ledger

ledger = context.config.attributes.get("ledger")
if not isinstance(ledger, Ledger):
    raise SystemExit("These migrations are run by `secops migrate`, not by alembic.")

context.configure(
    connection=ledger.connection,
    version_table=ledger.table,
    version_table_schema=ledger.schema,
    transactional_ddl=True,
    transaction_per_migration=True,
    on_version_apply=ledger.applied,
)
ledger.runner.alone = context.get_context().autocommit_block
with context.begin_transaction():
    context.run_migrations(runner=ledger.runner)
