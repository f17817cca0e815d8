"""Where the files that ship with secops are: migrations, queries, profiles.

They stand at the top of the source tree, where people look for them; a built wheel carries them in
``secops/_data``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

_PACKAGE: Final = Path(__file__).resolve().parent

Shipped = Literal["migrations", "queries", "profiles"]


def shipped(name: Shipped) -> Path:
    """Return the folder of that name, in an installed package or in a source tree.

    Raises:
        FileNotFoundError: The installation is damaged.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parents[1] / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"This installation of secops lacks its {name}; install it again.")
