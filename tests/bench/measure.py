"""What every benchmark needs: a table of figures with ratios, medians, progress on stderr."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Section:
    """One table of the benchmark page."""

    title: str
    columns: tuple[str, ...]
    about: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row and show it at once: a benchmark takes minutes."""
        assert len(cells) == len(self.columns)
        self.rows.append(cells)
        tell("  ".join(cells))

    def markdown(self) -> str:
        """Return it as a Markdown section."""
        lines = [f"## {self.title}", ""]
        if self.about:
            lines += [self.about, ""]
        lines += [
            "| " + " | ".join(self.columns) + " |",
            "| " + " | ".join("---" for _ in self.columns) + " |",
        ]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"


def tell(text: str) -> None:
    """Say on stderr what is going on."""
    print(text, file=sys.stderr, flush=True)


def milliseconds(seconds: float) -> str:
    """Write a time with three figures or so."""
    value = seconds * 1000
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it took."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def interleaved(
    commands: Mapping[str, Sequence[str]], env: Mapping[str, str], runs: int
) -> dict[str, float]:
    """Run commands in turn (A B C, A B C ...), so that a machine's moods meet all alike.

    Returns:
        The median seconds of each, the first round left out.
    """
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(runs + 1):
        for name, argv in commands.items():
            seconds = timed(
                lambda argv=argv: subprocess.run(  # type: ignore[misc]
                    argv, env=dict(env), check=True, capture_output=True, stdin=subprocess.DEVNULL
                )
            )
            if round_:
                taken[name].append(seconds)
    return {name: statistics.median(each) for name, each in taken.items()}
