"""``secops serve``."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secops.settings import Settings

_GRACE = 10


@declare("serve")
def command(
    run: Run,
    *,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65_535, help="Which port; 0 is any.")
    ] = 8000,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=256, help="How many processes.")
    ] = 1,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", metavar="NAME", help="A profile for what the environment leaves unset."
        ),
    ] = None,
    embedded: Annotated[
        Path | None,
        typer.Option(
            "--embedded", metavar="DIR", help="Use the database that `secops quickstart DIR` made."
        ),
    ] = None,
) -> None:
    r"""Run the reference backend: login, refresh, logout, lockout.

    Everything it goes by is in the environment, under the plan's names; `secops profile show
    owasp-2024` lists them. JWT_SECRET must be set. The routes stand under /v1/auth, and /healthz says
    whether the database answers and which rollout is live.

    On SIGTERM it takes no more requests and finishes those that it has, for ten seconds at most.

    \b
    Examples:
      JWT_SECRET=$(openssl rand -base64 48) secops serve --profile owasp-2024
      secops serve --embedded demo --port 8080
    """
    try:
        import uvicorn
    except ModuleNotFoundError:
        raise ConfigurationError(
            "The backend's libraries are not installed.", hint="pip install 'secops[server]'"
        ) from None
    os.environ.update(_environment(run, profile, embedded))
    _check(run)
    # In workers of their own the app is made anew from the environment, which is why it is set here.
    uvicorn.run(
        "secops.auth.serving:create",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the backend decides itself whom it believes
        timeout_graceful_shutdown=_GRACE,
    )


def _environment(run: Run, profile: str | None, embedded: Path | None) -> Mapping[str, str]:
    """Return what is to be set beside what the environment says."""
    given: dict[str, str] = {}
    # The processes that serve read their settings anew; what flags said must reach them.
    url = run.settings.secret("database_url")
    if url is not None:
        given["SECOPS_DATABASE_URL"] = url.reveal()
    if run.config is not None:
        given["SECOPS_CONFIG"] = str(run.config.resolve())
    if profile is not None:
        from secops.rollout.profiles import load_profiles

        assignment = load_profiles(run.settings).resolve(profile)
        given |= {name: value for name, value in assignment.set.items() if name not in os.environ}
    if embedded is not None:
        given["SECOPS_DATABASE_URL"] = _embedded(embedded)
        if "JWT_SECRET" not in os.environ:
            given["JWT_SECRET"] = secrets.token_urlsafe(48)
            run.output.note("JWT_SECRET is not set: this run has one of its own.")
    return given


def _embedded(folder: Path) -> str:
    from secops.demo.home import Home

    home = Home(folder.resolve())
    if not home.config.exists():
        raise ConfigurationError(
            f"There is no demo in {folder}.", hint=f"Make one with `secops quickstart {folder}`."
        )
    home.check()
    server_url = home.start()
    home.write(server_url)
    settings = _settings(home.folder)
    url = settings.secret("database_url")
    assert url is not None
    return url.reveal()


def _settings(folder: Path) -> Settings:
    from secops.settings import load

    return load(environ={}, folder=folder)


def _check(run: Run) -> None:
    """Say at once what is wrong, and what is weak; a worker would only die of it."""
    from secops.auth.configuration import configure
    from secops.auth.serving import require_migrations
    from secops.database.connection import connect
    from secops.settings import load

    for warning in configure(os.environ).warnings:
        run.output.warn(warning)
    settings = load()
    with connect(settings, "serve") as conn:
        require_migrations(conn, settings)
