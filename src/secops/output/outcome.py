"""What an action did, or with ``--dry-run`` would do: one plan object, told in words or in JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class NoUndo(str):
    """Why nothing takes an action back, in place of the command line that would."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an action.

    Attributes:
        action: The command's words: ``unlock user``.
        dry_run: Whether nothing was changed, by request.
        matched: How many the criteria matched.
        changed: How many were changed, or on a dry run would be.
        items: What was changed, one mapping each; all with the same keys, which become columns.
        summary: One sentence; on a dry run it begins with ``Would``. Empty: made from the numbers.
        undo: The command line that takes it back, or as :class:`NoUndo` why there is none.
        operation_id: The id under which the audit trail knows it.
        extra: More facts for JSON; keys of the object itself cannot be replaced.
    """

    action: str
    dry_run: bool
    matched: int
    changed: int
    items: Sequence[Mapping[str, object]] = ()
    summary: str = ""
    undo: str = ""
    operation_id: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the object that ``--json`` prints."""
        own = {
            "action": self.action,
            "dry_run": self.dry_run,
            "matched": self.matched,
            "changed": self.changed,
            "items": list(self.items),
            "summary": self.sentence(),
            "undo": "" if isinstance(self.undo, NoUndo) else self.undo,
            "no_undo": str(self.undo) if isinstance(self.undo, NoUndo) else "",
            "operation_id": self.operation_id,
        }
        return {**own, **self.extra, **own}

    def sentence(self) -> str:
        """Return the summary, made from the numbers where none was given."""
        if self.summary:
            return self.summary
        if self.dry_run:
            return f"Would {self.action}: {self.changed:,} of {self.matched:,} that match."
        return f"{self.action.capitalize()}: changed {self.changed:,} of {self.matched:,} that matched."

    def way_back(self) -> str:
        """Return the sentence that says how to take it back, or why that cannot be; empty for neither."""
        if not self.undo:
            return ""
        if isinstance(self.undo, NoUndo):
            return f"{'Once done, it cannot' if self.dry_run else 'Cannot'} be undone: {self.undo}."
        return f"{'Undo, once done' if self.dry_run else 'Undo'}: {self.undo}"

    def columns(self) -> tuple[str, ...]:
        """Return the keys of all items, in the order in which they first appear."""
        return tuple(dict.fromkeys(key for item in self.items for key in item))
