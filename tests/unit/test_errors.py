"""The table of exit codes covers every error, in every module."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator

import pytest

import secops
from secops.errors import EXIT_CODES, SecopsError


def _all(root: type[SecopsError]) -> Iterator[type[SecopsError]]:
    yield root
    for each in root.__subclasses__():
        yield from _all(each)


def every_error() -> list[type[SecopsError]]:
    for module in pkgutil.walk_packages(secops.__path__, "secops."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return list(_all(SecopsError))


def test_every_error_has_an_exit_code_of_the_table_and_words_for_it() -> None:
    for error in every_error():
        assert error.exit_code in EXIT_CODES, error
        assert error.__doc__, error


def test_a_code_stands_for_one_kind_of_error() -> None:
    codes: dict[str, type[SecopsError]] = {}
    for error in every_error():
        if "code" in vars(error):
            assert error.code not in codes, (error, codes[error.code])
            codes[error.code] = error
    assert len(codes) >= 12


def test_every_code_that_is_not_success_belongs_to_an_error() -> None:
    assert {error.exit_code for error in every_error()} == set(EXIT_CODES) - {0}


def test_the_exit_codes_are_those_of_the_design() -> None:
    assert list(EXIT_CODES) == [*range(11), 130]
    assert all(text for text in EXIT_CODES.values())


@pytest.mark.parametrize("error", every_error())
def test_an_error_becomes_one_json_object(error: type[SecopsError]) -> None:
    found = json.loads(json.dumps(error("What went wrong.", hint="Do this.").as_dict()))
    assert found == {
        "code": error.code,
        "exit": error.exit_code,
        "message": "What went wrong.",
        "hint": "Do this.",
    }
    assert error("m", details={"n": 1}).as_dict()["details"] == {"n": 1}
    assert str(error("What went wrong.")) == "What went wrong."
