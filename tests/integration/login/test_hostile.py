"""Whatever is sent to any route: an answer in the plan's shape, and never a failure of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from starlette.testclient import TestClient

from secops.accounts.login.hashing import Hasher
from secops.auth import app as auth
from secops.auth import routes
from secops.auth.app import Hardened
from secops.auth.configuration import configure
from secops.auth.services import assemble, open_pool
from secops.schema.detect import detect
from secops.settings import Secret
from support.databases import Database

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

PASSWORD = "SecurePass123!"
ENV = {
    "JWT_SECRET": "k" * 40,
    "ENABLE_TOKEN_ROTATION": "true",
    "RATE_LIMIT_LOGIN_ATTEMPTS": "100000",
}


@pytest.fixture
def app(hardened: Database) -> Iterator[FastAPI]:
    """The backend without a lifespan, so that a client costs nothing."""
    hardened.execute("UPDATE users SET password_hash = %s", (Hasher().hash(PASSWORD),))
    with hardened.connect() as conn:
        layout = detect(conn, hardened.settings())
    services = assemble(configure(ENV), layout, open_pool(Secret(hardened.url), size=5))
    services.pool.open()
    made = FastAPI()
    auth.mount(made, services)
    made.include_router(routes.health(services))
    made.add_middleware(Hardened)
    yield made
    services.pool.close()


def attack(app: FastAPI, examples: int) -> Counter[int]:
    """Ask every operation of the OpenAPI with what fits it and what does not."""
    seen: Counter[int] = Counter()
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    client = TestClient(app, base_url="https://api.example.com", raise_server_exceptions=False)
    login = client.post("/v1/auth/login", json={"email": "alice@example.com", "password": PASSWORD})
    bearer = f"Bearer {login.json()['data']['accessToken']}"
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) >= 11
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            cases = operation.as_strategy(generation_mode=mode)

            @settings(
                max_examples=examples, deadline=None, phases=(Phase.generate,), derandomize=True,
                suppress_health_check=list(HealthCheck), database=None,
            )  # fmt: skip
            @given(case=cases, known=st.booleans())
            def ask(case: schemathesis.Case[Any], known: bool) -> None:
                answer = case.call(headers={"Authorization": bearer} if known else None)
                seen[answer.status_code] += 1
                assert answer.status_code < 500, (case.method, case.path, answer.text)
                if answer.status_code >= 400:
                    assert set(answer.json()) == {"error"}

            # What takes no input can be given none that is wrong.
            with suppress(*[Unsatisfiable] if mode is GenerationMode.NEGATIVE else []):
                ask()
    return seen


def test_what_fits_and_what_does_not_is_answered_in_the_plans_shape(app: FastAPI) -> None:
    seen = attack(app, 6)
    assert sum(seen.values()) > 60
    assert {200, 400, 401} <= set(seen)


@pytest.mark.chaos
def test_thousands_of_hostile_requests_are_answered_in_the_plans_shape(app: FastAPI) -> None:
    assert sum(attack(app, 300).values()) > 3000


def test_a_thousand_headers_and_long_ones_are_no_failure(app: FastAPI) -> None:
    client = TestClient(app, base_url="https://api.example.com", raise_server_exceptions=False)
    many = [(f"x-{number}", "v") for number in range(1000)]
    for headers in (
        many, [("user-agent", "\x1b[31m" + "x" * 60_000)], [("x-forwarded-for", "1.1.1.1," * 5000)],
        [("cookie", "refreshToken=" + "a" * 60_000)], [("cookie", "=;" * 5000)],
        [("authorization", "Bearer " + "." * 60_000)], [("authorization", "Bearer \xff\xfe")],
    ):  # fmt: skip
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        for method, path in (("POST", "refresh"), ("GET", "me"), ("POST", "logout")):
            answer = client.request(method, f"/v1/auth/{path}", headers=sent)
            assert answer.status_code < 500, (path, headers[0][0])
