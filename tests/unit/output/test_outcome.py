"""An action says what it did, or would do, and how to undo it."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

from secops.output import Format
from secops.output.outcome import NoUndo, Outcome
from support.screens import said

DONE = Outcome(
    action="unlock user",
    dry_run=False,
    matched=2,
    changed=1,
    items=[{"email": "alice@example.com", "id": UUID(int=1)}],
    summary="Unlocked 1 account; 1 was not locked.",
    undo="secops lock user alice@example.com",
    operation_id="8a5ed1f4",
    extra={"not_locked": ["bob@example.com"], "action": "forged"},
)


def test_people_read_summary_items_and_undo() -> None:
    out, err = said(lambda o: o.outcome(DONE))
    assert out.splitlines() == [
        "Unlocked 1 account; 1 was not locked.",
        "",
        "email              id",
        "-----------------  ------------------------------------",
        "alice@example.com  00000000-0000-0000-0000-000000000001",
        "",
        "Undo: secops lock user alice@example.com",
    ]
    assert not err


def test_json_is_one_object_with_the_promised_keys() -> None:
    out, _ = said(lambda o: o.outcome(DONE), Format.JSON)
    assert json.loads(out) == {
        "action": "unlock user",
        "dry_run": False,
        "matched": 2,
        "changed": 1,
        "items": [{"email": "alice@example.com", "id": "00000000-0000-0000-0000-000000000001"}],
        "summary": "Unlocked 1 account; 1 was not locked.",
        "undo": "secops lock user alice@example.com",
        "no_undo": "",
        "operation_id": "8a5ed1f4",
        "not_locked": ["bob@example.com"],
    }
    line, _ = said(lambda o: o.outcome(DONE), Format.JSONL)
    assert line.count("\n") == 1
    assert json.loads(line) == json.loads(out)


def test_json_of_nothing_is_an_object_too() -> None:
    out, _ = said(lambda o: o.outcome(Outcome("prune tokens", False, 0, 0)), Format.JSON)
    assert json.loads(out)["items"] == []


def test_what_nothing_takes_back_says_why() -> None:
    gone = replace(DONE, undo=NoUndo("what was deleted is gone"))
    assert said(lambda o: o.outcome(gone))[0].splitlines()[-1] == (
        "Cannot be undone: what was deleted is gone."
    )
    dry, _ = said(lambda o: o.outcome(replace(gone, dry_run=True)))
    assert "Once done, it cannot be undone: what was deleted is gone." in dry.splitlines()
    found = json.loads(said(lambda o: o.outcome(gone), Format.JSON)[0])
    assert (found["undo"], found["no_undo"]) == ("", "what was deleted is gone")


def test_a_dry_run_says_that_it_was_one() -> None:
    out, _ = said(
        lambda o: o.outcome(replace(DONE, dry_run=True, summary="Would unlock 1 account."))
    )
    lines = out.splitlines()
    assert lines[0] == "Would unlock 1 account."
    assert lines[-2] == "Undo, once done: secops lock user alice@example.com"
    assert lines[-1] == "This was a dry run: nothing was changed."
    out, _ = said(lambda o: o.outcome(replace(DONE, dry_run=True)))
    assert out.startswith("Dry run: Unlocked")


def test_without_a_summary_the_numbers_speak() -> None:
    done = Outcome("prune tokens", False, 1234, 1200)
    assert (
        said(lambda o: o.outcome(done))[0] == "Prune tokens: changed 1,200 of 1,234 that matched.\n"
    )
    would = replace(done, dry_run=True)
    assert said(lambda o: o.outcome(would))[0].startswith(
        "Would prune tokens: 1,200 of 1,234 that match.\n"
    )


def test_a_terminal_shows_twenty_items_and_a_pipe_all() -> None:
    many = replace(DONE, items=[{"n": number} for number in range(1_234)])
    out, _ = said(lambda o: o.outcome(many), tty=True)
    assert "... and 1,214 more" in out
    assert "\n19\n" in out
    assert "\n20\n" not in out
    out, _ = said(lambda o: o.outcome(many))
    assert "more" not in out
    assert "1233" in out


def test_items_that_differ_share_one_table() -> None:
    mixed = replace(DONE, items=[{"a": 1}, {"b": 2}])
    assert "a,b\n1,\n,2\n" in said(lambda o: o.outcome(mixed), Format.CSV)[0]


def test_csv_holds_the_items_and_says_the_rest_on_stderr() -> None:
    out, err = said(lambda o: o.outcome(DONE), Format.CSV)
    assert out.splitlines() == [
        "email,id",
        "alice@example.com,00000000-0000-0000-0000-000000000001",
    ]
    assert err.splitlines() == [
        "Unlocked 1 account; 1 was not locked.",
        "Undo: secops lock user alice@example.com",
    ]
    out, _ = said(
        lambda o: o.outcome(Outcome("prune tokens", False, 3, 3, summary="Done.")), Format.CSV
    )
    assert out.splitlines() == [
        "action,dry_run,matched,changed,summary,undo,no_undo",
        "prune tokens,false,3,3,Done.,,",
    ]
