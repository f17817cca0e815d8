"""The routes, gathered: ``/auth`` under a prefix, ``/healthz`` beside it."""

from __future__ import annotations

from fastapi import APIRouter

from secops.auth import account_routes, session_routes
from secops.auth.answers import failures
from secops.auth.callers import Callers
from secops.auth.services import Services
from secops.auth.shapes import Health


def router(services: Services) -> APIRouter:
    """Return the routes of ``/auth``, to be mounted under the prefix."""
    routes = APIRouter(prefix="/auth", tags=["auth"])
    callers = Callers(services)
    session_routes.add(routes, services, callers)
    account_routes.add(routes, services, callers)
    return routes


def health(services: Services) -> APIRouter:
    """Return ``/healthz``, which tells whether the database answers, and which rollout is live."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", responses=failures())
    def healthz() -> Health:
        """Say that the backend works, with the rollout whose variables it runs with."""
        with services.connection() as conn:
            conn.execute("SELECT 1")
        return Health(status="ok", rollout=services.configuration.marker)

    return routes
