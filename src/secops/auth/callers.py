"""Who may call a route: a page of one's own site, a bearer of an access token.

Annotations are evaluated here, for FastAPI reads what a function depends on from them.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Request

from secops.accounts.login.access import Bearer
from secops.auth.guard import bearer
from secops.auth.requests import refuse_other_sites
from secops.auth.services import Services


@dataclass(frozen=True, slots=True)
class Callers:
    """The dependencies of routes.

    Attributes:
        services: What decides.
    """

    services: Services

    def same_site(self, request: Request) -> None:
        """Refuse what a page of another site asked for."""
        refuse_other_sites(request, self.services.configuration)

    def known(self, authorization: Annotated[str | None, Header()] = None) -> Bearer:
        """Return whom the access token belongs to."""
        return bearer(self.services, authorization)
