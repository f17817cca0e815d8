"""The tree knows every command by name; the commands themselves are where it says."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import typer.main

import secops.cli
from secops.cli.tree import COMMANDS, GROUPS, Entry, LazyGroup, Stub, root


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.words)
def test_each_entry_names_a_command_that_can_be_loaded(entry: Entry) -> None:
    loaded = Stub(entry, entry.words.split()[-1]).load()
    assert (loaded.help or "").splitlines()[0] == entry.summary


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.words)
def test_each_help_teaches_by_an_example(entry: Entry) -> None:
    loaded = Stub(entry, entry.words.split()[-1]).load()
    assert f"secops {entry.words}" in (loaded.help or "")


def test_no_command_module_is_forgotten() -> None:
    folder = Path(inspect.getfile(secops.cli)).parent
    names = (
        ".".join(path.relative_to(folder).with_suffix("").parts) for path in folder.rglob("*.py")
    )
    with_command = {
        name
        for name in names
        if name != "command" and hasattr(import_module(f"secops.cli.{name}"), "command")
    }
    assert with_command == {entry.module for entry in COMMANDS}


def test_a_group_has_a_line_of_its_own() -> None:
    firsts = {entry.words.split()[0] for entry in COMMANDS if " " in entry.words}
    assert firsts == set(GROUPS)


def test_words_are_resolved_to_the_module_that_they_name() -> None:
    tree = root()
    assert isinstance(tree, LazyGroup)
    context = typer.Context(tree)
    inner = tree.get_command(context, "unlock")
    assert isinstance(inner, LazyGroup)
    stub = inner.get_command(context, "user")
    assert isinstance(stub, Stub)
    assert stub.entry.module == "unlock_user"
