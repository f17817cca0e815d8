"""The libraries that archives stand on, imported when they are needed.

They come with the extra ``archive``: pyarrow writes and reads Parquet, DuckDB answers SQL over it. Both take
longer to import than most commands take.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from secops.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

INSTALL: Final = 'pip install "secops[archive]"'


def arrow(part: str = "") -> Any:  # noqa: ANN401  pyarrow comes without types
    """Return pyarrow, or one of its modules (``parquet``, ``csv``, ``compute``).

    Raises:
        ConfigurationError: It is not installed.
    """
    return _import("pyarrow" + (f".{part}" if part else ""), "pyarrow")


def duckdb() -> Any:  # noqa: ANN401  as above
    """Return DuckDB.

    Raises:
        ConfigurationError: It is not installed.
    """
    return _import("duckdb", "duckdb")


def _import(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigurationError(
            f"Archives need {package}, which is not installed.", hint=f"Install it: {INSTALL}"
        ) from None
