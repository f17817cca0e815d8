"""The columns that an earlier layer is brought to: those of the version files, told once for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from secops.schema.tables import Column

if TYPE_CHECKING:
    from secops.schema.site import Site

RESERVED: Final = ("event_type", "event_category", "severity", "user_agent", "metadata")
"""Columns of ``security_events`` that no CHECK may restrict, for secops writes new values into them."""


def tokens(site: Site) -> list[Column]:
    """Return the columns of ``refresh_tokens`` as the plan has them."""
    return [
        Column("id", "uuid", not_null=True, default="gen_random_uuid()"),
        Column("user_id", site.layout.users.id_type, not_null=True, also=site.key),
        Column("token_hash", "character varying(255)", not_null=True),
        Column("device_info", "text"),
        Column("ip_address", "character varying(45)"),
        Column("expires_at", "timestamp with time zone", not_null=True),
        Column("revoked", "boolean", default="false"),
        Column("created_at", "timestamp with time zone", default="now()"),
    ]


def rotation() -> list[Column]:
    """Return the columns of ``refresh_tokens`` that rotation needs."""
    return [
        Column("used", "boolean", not_null=True, default="false"),
        Column("used_at", "timestamp with time zone"),
        Column("family_id", "uuid"),
        Column("parent_id", "uuid"),
        Column("family_expires_at", "timestamp with time zone"),
        Column("revoked_at", "timestamp with time zone"),
        Column("revoked_reason", "text"),
    ]


def events(site: Site) -> list[Column]:
    """Return the columns of ``security_events``."""
    return [
        Column("id", "uuid", not_null=True, default="gen_random_uuid()"),
        Column("event_type", "character varying(50)", not_null=True),
        Column("event_category", "character varying(30)", not_null=True),
        Column("severity", "character varying(20)", not_null=True),
        Column("user_id", site.layout.users.id_type, also=site.key),
        Column("email", "character varying(255)"),
        Column("ip_address", "character varying(45)"),
        Column("user_agent", "text"),
        Column("request_path", "character varying(500)"),
        Column("request_method", "character varying(10)"),
        Column("success", "boolean", not_null=True),
        Column("message", "text"),
        Column("metadata", "jsonb"),
        Column("created_at", "timestamp with time zone", default="now()"),
    ]


def lockout() -> list[Column]:
    """Return what is added to the users table."""
    return [
        Column("failed_login_attempts", "integer", default="0"),
        Column("locked_until", "timestamp with time zone"),
    ]
