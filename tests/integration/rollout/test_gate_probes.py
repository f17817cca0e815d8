"""The gates that ask a page: live and http, against a server on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from secops.errors import ConfigurationError, Unreachable
from secops.rollout.gates.gate import Gate, Reading, Verdict, build
from secops.targets.target import Progress
from support.gates import HOUR, MINUTE, Spec, Told, around, moment


@dataclass
class Page:
    """A page that answers as it is told to."""

    answer: Callable[[int], tuple[int, str]] = lambda _: (200, '{"rollout": "op-1"}')
    pause: float = 0.0
    asked: int = 0
    connections: set[Any] = field(default_factory=set)
    url: str = ""


@pytest.fixture
def page() -> Iterator[Page]:
    told = Page()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            told.connections.add(self.client_address)
            time.sleep(told.pause)
            status, body = told.answer(told.asked)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A probe that gave up is no error of the page."""

    server = Quiet(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}/healthz"
    yield told
    server.shutdown()
    server.server_close()


def gate(kind: str, **options: Any) -> Gate:
    return build(Spec(kind, kind, options))


def ask(
    asked: Gate, page: Page | None, after: timedelta = MINUTE, target: Any = None, **how: Any
) -> Reading:
    return asked.read(moment(after, **how), around(target, probe=page.url if page else ""))


# live


def test_it_is_live_where_the_deployment_is_and_every_probe_echoes(page: Page) -> None:
    found = ask(gate("live", probes=4), page)
    assert found.verdict is Verdict.PASS
    assert found.summary == "4 of 4 probes echo SECOPS_ROLLOUT_ID=op-1."
    assert page.asked == len(page.connections) == 4


def test_one_copy_of_the_service_that_runs_the_old_is_not_live(page: Page) -> None:
    page.answer = lambda number: (200, "op-0" if number == 3 else "op-1")
    found = ask(gate("live"), page)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "2 of 3 probes echo the operation; one was answered without it" in found.summary
    late = ask(gate("live", probes=5, deadline="15m"), page, after=16 * MINUTE)
    assert late.verdict is Verdict.PASS  # by then all are new


@pytest.mark.parametrize("answer", [(500, "op-1"), (302, "op-1"), (404, "")])
def test_a_page_that_does_not_answer_well_is_no_echo(page: Page, answer: tuple[int, str]) -> None:
    page.answer = lambda _: answer
    assert ask(gate("live"), page).verdict is Verdict.INCONCLUSIVE
    late = ask(gate("live"), page, after=16 * MINUTE)
    assert late.verdict is Verdict.FAIL
    assert f"one was answered with {answer[0]}; for 16 min, and 15 min are allowed" in late.summary


@pytest.mark.parametrize(
    ("progress", "verdict"),
    [
        (Progress.FAILED, Verdict.FAIL),
        (Progress.HELD, Verdict.INCONCLUSIVE),
        (Progress.PENDING, Verdict.INCONCLUSIVE),
        (Unreachable("The platform does not answer."), Verdict.ERROR),
    ],
)
def test_the_platforms_word_comes_first(page: Page, progress: Any, verdict: Verdict) -> None:
    assert ask(gate("live"), page, target=Told(progress)).verdict is verdict
    assert page.asked == 0


def test_a_deployment_that_takes_too_long_fails(page: Page) -> None:
    late = ask(gate("live", deadline="5m"), page, after=6 * MINUTE, target=Told(Progress.PENDING))
    assert late.verdict is Verdict.FAIL


def test_without_a_page_the_platforms_word_is_all() -> None:
    assert ask(gate("live"), None).verdict is Verdict.PASS


def test_what_nobody_can_know_is_no_pass() -> None:
    """A target without deployments, a service without a page."""
    bare = replace(moment(MINUTE), deployment="")
    found = gate("live").read(bare, around(Told(deploys=False)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "Give the target a probe" in found.summary


def test_a_service_that_falls_silent_has_a_grace(page: Page) -> None:
    asked = gate("live", grace="2m")
    first = ask(asked, page, after=HOUR)
    page.answer = lambda _: (503, "")
    short = ask(asked, page, after=HOUR + MINUTE, previous=first.state)
    assert short.verdict is Verdict.INCONCLUSIVE
    long = ask(asked, page, after=HOUR + 3 * MINUTE, previous=short.state)
    assert long.verdict is Verdict.FAIL
    page.answer = lambda _: (200, "op-1")
    assert ask(asked, page, after=2 * HOUR, previous=short.state).verdict is Verdict.PASS


# http


def test_good_answers_pass_once_the_soak_is_over(page: Page) -> None:
    asked = gate("http", probes=100)
    early = ask(asked, page)
    assert early.verdict is Verdict.INCONCLUSIVE
    over = ask(asked, page, after=25 * HOUR, previous=early.state)
    assert over.verdict is Verdict.PASS
    assert over.summary == "0 of 200 probes went badly."


def test_few_probes_are_no_pass(page: Page) -> None:
    assert ask(gate("http", probes=5), page, after=25 * HOUR).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("answer", [(500, ""), (302, ""), (401, "")])
def test_bad_answers_fail_at_once(page: Page, answer: tuple[int, str]) -> None:
    page.answer = lambda _: answer
    found = ask(gate("http", probes=12), page)
    assert found.verdict is Verdict.FAIL
    assert f"One was answered with {answer[0]}" in found.summary


def test_now_and_then_a_bad_answer_is_found_with_time(page: Page) -> None:
    page.answer = lambda number: (502 if number % 5 == 0 else 200, "")
    state: Any = {}
    for _ in range(20):
        found = ask(gate("http", probes=20), page, previous=state)
        state = found.state
        if found.verdict is Verdict.FAIL:
            break
    assert found.verdict is Verdict.FAIL
    assert "more than 5 %" in found.summary


def test_slow_answers_are_bad_ones(page: Page) -> None:
    page.pause = 0.08
    found = ask(gate("http", probes=10, slower_than="50ms"), page)
    assert found.verdict is Verdict.FAIL
    assert "One took 0.1 s" in found.summary


def test_an_answer_that_does_not_come_is_a_bad_one(page: Page) -> None:
    page.pause = 0.5
    asked = gate("http", probes=10, timeout="20ms", slower_than="20ms")
    assert ask(asked, page).verdict is Verdict.FAIL


def test_nobody_there_is_bad_and_no_error() -> None:
    found = ask(gate("http", probes=10, url="http://127.0.0.1:9/"), None)
    assert found.verdict is Verdict.FAIL
    assert "One had no answer" in found.summary


def test_other_statuses_may_be_good_ones(page: Page) -> None:
    page.answer = lambda _: (401, "")
    over = ask(gate("http", probes=100, status=["401"]), page, after=25 * HOUR)
    assert over.verdict is Verdict.PASS


def test_without_an_address_it_is_an_error() -> None:
    assert ask(gate("http"), None).verdict is Verdict.ERROR


# descriptions


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Spec("g", "htpp"), "of a kind 'htpp', which there is not"),
        (Spec("g", "live", {"dedline": "5m"}), "has no option 'dedline'"),
        (Spec("g", "live", {"probes": "0"}), "probes must be at least 1"),
        (Spec("g", "live", {"deadline": "soon"}), "'soon' is not a duration"),
        (Spec("g", "live", {"probe": "https://me:secret@x.org/"}), "without credentials"),
        (Spec("g", "http", {"url": "ftp://x.org"}), "takes an address"),
        (Spec("g", "http", {"status": "good"}), "takes statuses such as 200 or 2xx"),
        (Spec("g", "http", {"limit": "150%"}), "limit must be less than 1"),
        (Spec("g", "http", {"slower_than": "10s"}), "slower_than is at most the timeout"),
        (Spec("g", "sql_ratio", {}), "query is needed"),
        (Spec("g", "sql_ratio", {"query": "login-failurs"}), "no gate's query 'login-failurs'"),
        (Spec("g", "sql_ratio", {"query": "theft", "tolerate": "0.5x"}), "at least 1"),
        (
            Spec("g", "sql_ratio", {"query": "theft", "tolerate": "2x"}),
            "at least 1.2 times tolerate",
        ),
        (Spec("g", "sql_ratio", {"query": "theft", "baseline": "10m"}), "at least ten windows"),
        (Spec("g", "sql_ratio", {"query": "theft", "window": "0"}), "between 100ms and 6h"),
        (Spec("g", "railway_http", {"bad": "broken"}), "statuses such as 502 or 5xx"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_description_that_is_off_says_where(spec: Spec, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(spec)
    assert message in f"{caught.value.message} {caught.value.hint}"
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


def test_a_mistyped_kind_is_guessed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(Spec("g", "sql_ration"))
    assert caught.value.hint == "Did you mean sql_ratio?"


@pytest.mark.parametrize("kind", ["live", "http", "railway_http"])
def test_each_kind_says_what_it_holds_a_service_to(kind: str) -> None:
    assert len(gate(kind).describe()) > 20
