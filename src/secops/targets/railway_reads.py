"""Reading from Railway: parts of its API, and what can be told from several of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from secops.targets.railway_words import Shown, deployments_of
from secops.targets.remote import Reading
from secops.targets.target import MARKER, Variable

if TYPE_CHECKING:
    from secops.targets.railway_api import Api

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Reads:
    """Reads what is in one place on Railway."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def ask(
        self, *parts: str, what: str, optional: Sequence[str] = (), **variables: object
    ) -> dict[str, Reading]:
        """Ask for parts; see :meth:`secops.targets.railway_api.Api.ask`."""
        found = self.api.ask(*parts, what=what, optional=optional, **variables)
        return {key: Reading("Railway", what, value) for key, value in found.items()}

    def known(self, answer: Mapping[str, Reading], what: str) -> Mapping[str, Variable]:
        """Return what is known of the service's variables beside their values, over all pages."""
        found: dict[str, Variable] = {}
        page = answer.get("environment")
        while page is not None:
            for edge in page["variables"]["edges"]:
                node = edge["node"]
                if node["serviceId"].found == self.api.place["service"]:
                    found[node["name"].text()] = Variable(
                        node["name"].text(),
                        None,
                        sealed=bool(node["isSealed"].found),
                        reference=bool(node["references"].found),
                        changed_at=node["updatedAt"].time(),
                    )
            info = page["variables"]["pageInfo"]
            if not info["hasNextPage"].found:
                break
            after = info["endCursor"].text()
            page = self.ask("environment", what=what, after=after)["environment"]
        return found

    def listed(self, answer: Mapping[str, Reading]) -> Sequence[Shown]:
        """Return the deployments of an answer, newest first."""
        found = deployments_of([edge["node"] for edge in answer["deployments"]["edges"]])
        return sorted(found, key=lambda each: each.at or _EPOCH, reverse=True)

    def carrying(self, answer: Mapping[str, Reading], since: datetime) -> Sequence[Shown]:
        """Return the deployments of an answer that were made since then, newest first."""
        return [each for each in self.listed(answer) if each.at is not None and each.at >= since]

    def marked(self, answer: Mapping[str, Reading]) -> datetime | None:
        """Return when the marker, which is in each write, was written last; ``None`` where it is not shown."""
        marker = self.known(answer, "find the marker").get(MARKER)
        return marker.changed_at if marker is not None else None
