"""``make bench``: what secops does, beside what a user would otherwise do, as ratios.

Not a test: nothing fails because a machine is slow. Servers are private and durable (``fsync`` on), of the
installed major where there is one. The last figures stand in ``docs/benchmarks.md``, where each section that
ran at its full size replaces what stood there under its title.

Usage: ``python tests/bench/run.py [--only startup,reports,prune,import,partition,migrate,rollout,
backend]
[--events 10000000]``
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import backend, imports, migrate, partition, prune, reports, rollout, startup
from bench.measure import Section
from support.servers import Server, embedded_binaries, installed_binaries

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"

INTRODUCTION = """\
# Benchmarks

What secops does beside what one would otherwise do, measured by `make bench`; both sides of a line in one
run on one machine. Read the ratios: absolute times wander with the machine.

"""


def main() -> None:
    """Run the sections that were asked for and write the page where all ran in full."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    sections: dict[str, Callable[[Server, argparse.Namespace], Section]] = {
        "startup": startup.measure,
        "reports": reports.measure,
        "prune": prune.measure,
        "import": imports.measure,
        "partition": partition.measure,
        "migrate": migrate.measure,
        "rollout": rollout.measure,
        "backend": backend.measure,
    }
    parser.add_argument("--only", default=",".join(sections), help="sections, with commas")
    parser.add_argument(
        "--events", type=int, default=10_000_000, help="rows for reports and partitions"
    )
    parser.add_argument("--tokens", type=int, default=4_000_000, help="rows for the prune")
    parser.add_argument("--users", type=int, default=1_000_000, help="rows for the migration")
    parser.add_argument("--import-events", type=int, default=500_000, help="rows for the import")
    parser.add_argument("--runs", type=int, default=15, help="runs of each command")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(sections):
        parser.error(
            f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(sections)}"
        )
    server = Server(installed_binaries() or embedded_binaries(), durable=True)
    try:
        version = server.version()
        done = [sections[name](server, options) for name in sections if name in wanted]
    finally:
        server.destroy()
    print("\n".join(section.markdown() for section in done))
    if all(
        getattr(options, key) == parser.get_default(key)
        for key in ("events", "tokens", "users", "import_events", "runs")
    ):
        stamp = f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {version}"
        write(done, stamp)
        print(f"wrote {PAGE.name}")


def write(done: list[Section], stamp: str) -> None:
    """Put sections on the page, each in the place of the one with its title, new ones at the end."""
    old = PAGE.read_text() if PAGE.exists() else ""
    pages = {
        each.split("\n", 1)[0]: each for each in re.split(r"^## ", old, flags=re.MULTILINE)[1:]
    }
    for section in done:
        page = f"{section.markdown().strip()}\n\nLast run: {stamp}.\n".removeprefix("## ")
        pages[section.title] = page
    PAGE.write_text(INTRODUCTION + "\n".join(f"## {each.strip()}\n" for each in pages.values()))


if __name__ == "__main__":
    main()
