"""Where a service may be, how long it asks to wait, where its token comes from, what its options are."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.errors import ConfigurationError, SecopsError
from secops.targets import heroku, kubernetes, railway, render
from secops.targets.address import checked_address
from secops.targets.failures import MissingToken, NoSuchPlace
from secops.targets.target import Place
from secops.targets.waiting import backoff, retry_after

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CANARY = "c4n4ry-0a1b2c3d4e5f"
RAILWAY = {"project": "p", "environment": "e", "service": "s"}
KUBERNETES = {"url": "https://k8s.example.com", "deployment": "api", "config_map": "env"}
MAKERS: dict[str, Any] = {
    "railway": railway, "heroku": heroku, "kubernetes": kubernetes, "render": render,
}  # fmt: skip
OPTIONS: dict[str, dict[str, object]] = {
    "railway": {**RAILWAY},
    "heroku": {"app": "shop"},
    "kubernetes": {**KUBERNETES},
    "render": {"service": "srv-1"},
}
VARIABLES = {
    "railway": "RAILWAY_TOKEN", "heroku": "HEROKU_API_KEY", "kubernetes": "KUBERNETES_TOKEN",
    "render": "RENDER_API_KEY",
}  # fmt: skip


def made(kind: str, environ: dict[str, str] | None = None, **options: Any) -> Any:
    place = Place("prod", kind, {**OPTIONS[kind], **options})
    given_environ = {VARIABLES[kind]: CANARY} if environ is None else environ
    return MAKERS[kind].make(place, given_environ)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "Tue, 24 Nov 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Tue, 24 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "99999999"}, 86_400),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 7)}, 7),
        ({"x-ratelimit-reset": str((int(NOW.timestamp()) + 7) * 1000)}, 7),
        ({"ratelimit-reset": "12"}, 12),
        ({"ratelimit-reset": "x"}, None),
        ({}, None),
    ],
)
def test_how_long_a_service_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "ratelimit-reset"]), st.text() | st.from_regex(r"\d+")
    )
)
def test_no_header_breaks_it(headers: dict[str, str]) -> None:
    found = retry_after(headers, NOW)
    assert found is None or found >= 0


def test_attempts_come_further_and_further_apart() -> None:
    assert 0.3 < backoff(1) < 0.7 < backoff(2) < 1.3 < backoff(3)


@pytest.mark.parametrize(
    "address",
    ["https://api.example.com", "https://api.example.com/v1/", "http://127.0.0.1:1", "http://[::1]:80",
     "http://localhost:8080"],
)  # fmt: skip
def test_an_api_is_behind_tls_or_on_this_machine(address: str) -> None:
    assert checked_address(address, "X") == address.rstrip("/")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://api.example.com", "plain HTTP"),
        ("http://127.0.0.1.example.com", "plain HTTP"),
        ("http://localhost.example.com", "plain HTTP"),
        (f"https://user:{CANARY}@api.example.com", "more than an address"),
        (f"https://api.example.com?token={CANARY}", "more than an address"),
        (f"ftp://{CANARY}", "no address"),
        (CANARY, "no address"),
        ("https://[::1", "no address"),
        ("https://host:port", "no address"),
    ],
)
def test_any_other_address_is_refused_without_being_repeated(address: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        checked_address(address, "X")
    assert CANARY not in f"{caught.value.as_dict()}"


@pytest.mark.parametrize("kind", sorted(MAKERS))
@pytest.mark.parametrize("environ", [{}, {"X": "1"}, "empty"])
def test_a_target_without_a_token_says_where_to_get_one(kind: str, environ: Any) -> None:
    given_environ = {VARIABLES[kind]: "  "} if environ == "empty" else environ
    with pytest.raises(MissingToken) as caught:
        made(kind, given_environ)
    assert caught.value.exit_code == 2
    assert VARIABLES[kind] in caught.value.message
    assert len(caught.value.hint) > 40


@pytest.mark.parametrize("kind", sorted(MAKERS))
@pytest.mark.parametrize(
    "option", ["token", "api_key", "API-Key", "password", "access_token", "bearer"]
)
def test_a_token_in_the_file_is_refused_and_not_repeated(kind: str, option: str) -> None:
    options: dict[str, Any] = {option: CANARY}
    with pytest.raises(ConfigurationError, match="has its credentials in") as caught:
        made(kind, **options)
    assert CANARY not in f"{caught.value.as_dict()}"
    assert caught.value.exit_code == 2
    assert "token_env" in caught.value.hint


@pytest.mark.parametrize("kind", sorted(MAKERS))
@pytest.mark.parametrize(
    "value", ["c4n4ry-0a1b2c3d4e5f", "rnd_c4n4ry", "0C4N4RY", "C4N4RY" * 20, "", "A B", "A\nB"]
)
def test_what_is_no_variables_name_is_taken_for_the_token_and_not_repeated(
    kind: str, value: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(kind, {}, token_env=value)
    assert not value or value not in f"{caught.value.as_dict()}"


@pytest.mark.parametrize("kind", sorted(MAKERS))
@pytest.mark.parametrize("held", [f"{CANARY}\nx", f"a {CANARY}", f"{CANARY}é", f"{CANARY}\x1b[0m"])
def test_what_can_be_no_token_is_not_sent_and_not_repeated(kind: str, held: str) -> None:
    with pytest.raises(ConfigurationError, match="is no token") as caught:
        made(kind, {VARIABLES[kind]: held})
    assert CANARY not in f"{caught.value.as_dict()}"


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_blanks_around_a_token_do_no_harm_and_nothing_shows_it(kind: str) -> None:
    target = made(kind, {VARIABLES[kind]: f" {CANARY}\n"})
    shown = (
        f"{target!r} {target.http!r} {target.fingerprint} {vars(target)!r} {vars(target.http)!r}"
    )
    assert CANARY not in shown
    assert CANARY in str(
        [each.reveal() for each in target.http._headers.values() if not isinstance(each, str)]
    )


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_an_option_that_nobody_reads_is_an_error_with_the_nearest_name(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="timeoot") as caught:
        made(kind, timeoot="3s")
    assert "timeout" in caught.value.hint


@pytest.mark.parametrize("kind", sorted(MAKERS))
@pytest.mark.parametrize("value", ["fast", "0s", "-1s", "5", [], {}, True])
def test_a_span_that_is_none_is_an_error(kind: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        made(kind, timeout=value)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_what_a_target_needs_it_asks_for(kind: str) -> None:
    for name in OPTIONS[kind]:
        if name in {"url", "config_map"}:
            continue
        options: dict[str, Any] = {name: None}
        with pytest.raises(ConfigurationError, match=f"needs {name}") as caught:
            made(kind, **options)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("heroku", {"app": "../other"}),
        ("render", {"service": "srv-1/../srv-2"}),
        ("kubernetes", {"deployment": "a/b"}),
        ("kubernetes", {"namespace": "a?b"}),
        ("kubernetes", {"config_map": "a%2f"}),
    ],
)
def test_a_name_leads_nowhere_else(kind: str, options: dict[str, Any]) -> None:
    with pytest.raises(NoSuchPlace):
        made(kind, **options)


def test_several_services_of_railway_are_several_targets() -> None:
    target = made("railway", service=None, services=["one"])
    assert target.api.place["service"] == "one"
    with pytest.raises(ConfigurationError, match="names several"):
        made("railway", service=None, services=["one", "two"])


@pytest.mark.parametrize(
    ("variable", "more", "header"),
    [
        ("RAILWAY_TOKEN", {}, "Project-Access-Token"),
        ("RAILWAY_API_TOKEN", {}, "Authorization"),
        ("MY_API_TOKEN", {"token_kind": "project"}, "Project-Access-Token"),
        ("MINE", {"token_kind": "account"}, "Authorization"),
    ],
)
def test_the_kind_of_a_railway_token_decides_how_it_is_sent(
    variable: str, more: dict[str, Any], header: str
) -> None:
    target = made("railway", {variable: CANARY}, token_env=variable, **more)
    assert set(target.http._headers) == {header}


def test_two_names_for_one_place_have_one_fingerprint() -> None:
    one = made("railway")
    two = MAKERS["railway"].make(
        Place("other", "railway", {**RAILWAY, "token_env": "MY_API_TOKEN"}), {"MY_API_TOKEN": "x-1"}
    )
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != made("railway", service="t").fingerprint
    assert one.fingerprint != made("railway", url="https://elsewhere.example.com").fingerprint


def test_a_namespace_is_part_of_the_place() -> None:
    assert made("kubernetes").fingerprint != made("kubernetes", namespace="b").fingerprint


class Ring(ModuleType):
    """A keyring that holds one entry."""

    class errors(ModuleType):  # noqa: N801  keyring's own name
        class KeyringError(Exception):
            pass

    def __init__(self, held: dict[tuple[str, str], str], broken: bool = False) -> None:
        super().__init__("keyring")
        self.held = held
        self.broken = broken

    def get_password(self, service: str, user: str) -> str | None:
        if self.broken:
            raise self.errors.KeyringError(f"locked, holding {CANARY}")
        return self.held.get((service, user))


def ring(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.setitem(sys.modules, "keyring.errors", module and module.errors)


def test_a_keyring_holds_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    ring(monkeypatch, Ring({("secops", "prod"): CANARY}))
    target = made("heroku", {}, keyring="secops/prod")
    assert target.http._headers["Authorization"].reveal() == f"Bearer {CANARY}"


@pytest.mark.parametrize(
    ("module", "entry", "said"),
    [
        (Ring({}), "secops/prod", "has no entry"),
        (Ring({}), "prod", "must be service/user"),
        (Ring({}, broken=True), "secops/prod", "cannot be read"),
        (None, "secops/prod", "not installed"),
    ],
)
def test_a_keyring_without_the_token_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, module: Any, entry: str, said: str
) -> None:
    ring(monkeypatch, module)
    with pytest.raises(SecopsError, match=said) as caught:
        made("heroku", {}, keyring=entry)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert CANARY not in f"{caught.value.as_dict()}"


def test_a_token_comes_from_one_place() -> None:
    with pytest.raises(ConfigurationError, match="both"):
        made("heroku", {"A": "x"}, token_env="A", keyring="secops/prod")


def test_in_a_pod_its_service_account_is_used(tmp_path: Any) -> None:
    for name, text in (("token", f"{CANARY}\n"), ("namespace", "shop"), ("ca.crt", "")):
        (tmp_path / name).write_text(text)
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    target = made("kubernetes", environ, url=None, service_account=str(tmp_path))
    assert target.http.base == "https://10.0.0.1:6443"
    assert target.namespace == "shop"
    assert target.http._ca == tmp_path / "ca.crt"
    assert CANARY not in f"{vars(target.http)}"
    assert target.http._headers["Authorization"]().reveal() == f"Bearer {CANARY}"
    (tmp_path / "token").write_text("renewed")
    assert target.http._headers["Authorization"]().reveal() == "Bearer renewed"
    (tmp_path / "token").unlink()
    with pytest.raises(MissingToken, match="has none"):
        target.http._headers["Authorization"]()


def test_outside_of_a_cluster_the_server_must_be_named() -> None:
    with pytest.raises(ConfigurationError, match="needs url") as caught:
        made("kubernetes", url=None)
    assert "kubectl" in caught.value.hint


def test_an_authority_that_cannot_be_read_is_said() -> None:
    target = made("kubernetes", ca="nowhere.crt")
    with pytest.raises(ConfigurationError, match=r"nowhere\.crt cannot be read"):
        target.read()
