"""Record a real command on a real terminal as an SVG that needs nothing from the net.

``python docs/record.py DEMO`` runs ``secops report failed-logins`` in the folder of a ``secops quickstart``
demo and writes ``docs/failed-logins.svg``.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE: Final = Path(__file__).resolve().parent
WIDTH: Final = 124
WORDS: Final = ("report", "failed-logins", "--since", "24h", "--limit", "10")
# rich takes its font from a server; readers' own will do.
_FONTS_AND_CREDIT: Final = re.compile(r"@font-face\s*\{[^}]*\}\s*|<!--.*?-->\s*")
# A namespace is a name, not an address that anything loads.
_NAMESPACE: Final = 'xmlns="http://www.w3.org/2000/svg"'


def main() -> int:
    """Record the report on the demo in the folder that the command line names."""
    target = HERE / "failed-logins.svg"
    target.write_text(as_svg(WORDS, run(WORDS, Path(sys.argv[1]))), encoding="utf-8")
    print(target)
    return 0


def run(words: tuple[str, ...], folder: Path) -> str:
    """Run ``secops`` on a terminal of its own and return what it wrote there."""
    mine, its = pty.openpty()
    process = subprocess.Popen(  # noqa: S603  secops itself
        [sys.executable, "-P", "-m", "secops", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=its,
        env={
            "PATH": os.environ["PATH"],
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": str(WIDTH),
        },
    )
    os.close(its)
    written = b""
    while True:
        try:
            piece = os.read(mine, 65_536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not piece:
            break
        written += piece
    os.close(mine)
    if process.wait():
        raise SystemExit(written.decode(errors="replace"))
    return written.decode().replace("\r\n", "\n")


def as_svg(words: tuple[str, ...], written: str) -> str:
    """Draw a command line and what it wrote."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(Text(f"$ secops {' '.join(words)}", style="bold"))
    console.print(Text.from_ansi(written.rstrip("\n")), soft_wrap=True)
    drawn = console.export_svg(title="secops", theme=MONOKAI, unique_id="secops")
    drawn = _FONTS_AND_CREDIT.sub("", drawn).replace(
        "Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace"
    )
    strange = re.findall(
        r"https?://[^\s\"')<]*|url\(\s*['\"]?(?!#)[^)]*\)", drawn.replace(_NAMESPACE, "")
    )
    # The simulated attackers' own addresses are text, not links.
    assert all("example" in address for address in strange), strange
    return drawn


if __name__ == "__main__":
    sys.exit(main())
