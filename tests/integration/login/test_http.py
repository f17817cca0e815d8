"""The backend over HTTP, in the plan's words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jwt
import pytest
from starlette.testclient import TestClient

from secops.accounts.login.hashing import Hasher
from secops.auth.app import create_app
from secops.auth.configuration import configure
from secops.auth.services import assemble, open_pool
from secops.schema.detect import detect
from secops.settings import Secret
from support.databases import Database

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

KEY = "k" * 40
PASSWORD = "SecurePass123!"
OWASP = {
    "JWT_SECRET": KEY, "ENABLE_TOKEN_ROTATION": "true", "ENABLE_THEFT_DETECTION": "true",
    "REQUIRE_UPPERCASE": "true", "REQUIRE_LOWERCASE": "true", "REQUIRE_NUMBER": "true",
    "REQUIRE_SPECIAL_CHAR": "true", "COOKIE_SECURE": "true", "COOKIE_HTTPONLY": "true",
    "ENABLE_SECURITY_EVENT_LOGGING": "true", "LOG_FAILED_LOGIN_ATTEMPTS": "true",
    "LOG_SUCCESSFUL_LOGINS": "true", "LOG_TOKEN_REFRESH": "true", "LOG_ACCOUNT_LOCKOUTS": "true",
    "SECOPS_ROLLOUT_ID": "8d2f",
}  # fmt: skip
LOGIN = {"email": "alice@example.com", "password": PASSWORD}


def client_on(database: Database, **more: str) -> TestClient:
    with database.connect() as conn:
        layout = detect(conn, database.settings())
    pool = open_pool(Secret(database.url), size=5)
    app = create_app(assemble(configure({**OWASP, **more}), layout, pool))
    return TestClient(app, base_url="https://api.example.com", raise_server_exceptions=True)


@pytest.fixture
def client(hardened: Database) -> Iterator[TestClient]:
    hardened.execute("UPDATE users SET password_hash = %s", (Hasher().hash(PASSWORD),))
    with client_on(hardened) as made:
        yield made


def error(answer: object) -> tuple[int, str, str]:
    body = answer.json()  # type: ignore[attr-defined]
    assert set(body) == {"error"}
    return answer.status_code, body["error"]["code"], body["error"]["message"]  # type: ignore[attr-defined]


def test_a_login_gives_what_the_plan_says(client: TestClient) -> None:
    answer = client.post("/v1/auth/login", json=LOGIN)
    assert answer.status_code == 200
    body = answer.json()
    assert body["success"] is True
    assert body["data"]["expiresIn"] == "15m"
    assert set(body["data"]["user"]) == {"id", "email", "name"}
    claims = jwt.decode(body["data"]["accessToken"], KEY, ["HS256"], audience="app")
    assert claims["exp"] - claims["iat"] == 900
    [cookie] = answer.headers.get_list("set-cookie")
    assert cookie.startswith("refreshToken=srt_")
    attributes = {each.strip().lower() for each in cookie.split(";")[1:]}
    assert {
        "httponly",
        "secure",
        "samesite=strict",
        "max-age=604800",
        "path=/v1/auth",
    } <= attributes
    assert not any(each.startswith("domain") for each in attributes)
    assert answer.cookies["refreshToken"] not in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_wrong_passwords_lock_and_unknown_people_look_the_same_to_the_byte(
    client: TestClient,
) -> None:
    def tried(email: str) -> list[tuple[int, object, object]]:
        found: list[tuple[int, object, object]] = []
        for _ in range(6):
            answer = client.post("/v1/auth/login", json={"email": email, "password": "wrong"})
            kept = {name: value for name, value in answer.headers.items() if name != "retry-after"}
            found.append((answer.status_code, answer.content, kept))
        return found

    known, unknown = tried("alice@example.com"), tried("nobody@example.com")
    assert known == unknown
    assert [json.loads(each[1])["error"]["message"] for each in known] == [  # type: ignore[arg-type]
        "Invalid password. 4 attempts remaining.",
        "Invalid password. 3 attempts remaining.",
        "Invalid password. 2 attempts remaining.",
        "Invalid password. 1 attempt remaining.",
        "Invalid password. 0 attempts remaining.",
        "Account locked for 30 minutes",
    ]
    locked = client.post("/v1/auth/login", json=LOGIN)
    assert error(locked)[:2] == (423, "ACCOUNT_LOCKED")
    assert 1790 <= int(locked.headers["retry-after"]) <= 1800


def test_a_refresh_rotates_and_a_used_token_ends_everything(
    client: TestClient, hardened: Database
) -> None:
    client.post("/v1/auth/login", json=LOGIN)
    first = client.cookies["refreshToken"]
    answer = client.post("/v1/auth/refresh")
    assert answer.status_code == 200
    assert set(answer.json()["data"]) == {"accessToken", "expiresIn"}
    assert client.cookies["refreshToken"] != first
    hardened.execute("UPDATE refresh_tokens SET used_at = used_at - interval '1 minute'")
    newest = client.cookies["refreshToken"]
    client.cookies.clear()
    stolen = client.post("/v1/auth/refresh", headers={"cookie": f"refreshToken={first}"})
    assert error(stolen)[:2] == (401, "INVALID_REFRESH_TOKEN")
    assert "max-age=0" in stolen.headers["set-cookie"].lower()
    again = client.post("/v1/auth/refresh", headers={"cookie": f"refreshToken={newest}"})
    assert error(again)[:2] == (401, "INVALID_REFRESH_TOKEN")
    me = client.get("/v1/auth/me", headers=bearer(answer.json()["data"]["accessToken"]))
    assert error(me)[:2] == (401, "INVALID_TOKEN")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def logged_in(client: TestClient) -> dict[str, str]:
    return bearer(client.post("/v1/auth/login", json=LOGIN).json()["data"]["accessToken"])


def test_without_a_cookie_there_is_nothing_to_refresh(client: TestClient) -> None:
    assert error(client.post("/v1/auth/refresh"))[:2] == (401, "NO_REFRESH_TOKEN")
    unknown = client.post("/v1/auth/refresh", headers={"cookie": "refreshToken=nonsense"})
    assert error(unknown)[:2] == (401, "INVALID_REFRESH_TOKEN")
    # Another tab may have been given a token meanwhile.
    assert "set-cookie" not in unknown.headers


def test_a_logout_deletes_the_cookie_with_the_attributes_that_it_was_set_with(
    client: TestClient,
) -> None:
    given = client.post("/v1/auth/login", json=LOGIN).headers["set-cookie"]
    taken = client.post("/v1/auth/logout").headers["set-cookie"]

    def kept(cookie: str) -> list[str]:
        return sorted(
            part.strip()
            for part in cookie.split(";")[1:]
            if not part.strip().lower().startswith("max-age")
        )

    assert kept(given) == kept(taken)
    assert "max-age=0" in taken.lower()
    assert client.post("/v1/auth/logout").json() == {"success": True}


def test_logging_out_everywhere_ends_sessions_and_access_tokens(client: TestClient) -> None:
    phone, laptop = logged_in(client), logged_in(client)
    assert client.post("/v1/auth/logout-all", headers=phone).json()["data"] == {"sessions": 2}
    for headers in (phone, laptop):
        assert error(client.get("/v1/auth/me", headers=headers))[:2] == (401, "INVALID_TOKEN")


def test_people_see_their_sessions_and_end_one(client: TestClient) -> None:
    phone, laptop = logged_in(client), logged_in(client)
    sessions = client.get("/v1/auth/sessions", headers=laptop).json()["data"]
    assert sorted(each["current"] for each in sessions) == [False, True]
    other = next(each["id"] for each in sessions if not each["current"])
    assert client.delete(f"/v1/auth/sessions/{other}", headers=laptop).status_code == 200
    assert error(client.delete(f"/v1/auth/sessions/{other}", headers=laptop))[0] == 404
    assert client.get("/v1/auth/me", headers=phone).status_code == 401
    assert client.get("/v1/auth/me", headers=laptop).json()["data"]["email"] == "alice@example.com"
    kinds = [each["type"] for each in client.get("/v1/auth/events", headers=laptop).json()["data"]]
    assert kinds[:3] == ["session_revoked", "login_success", "login_success"]


def test_a_new_account_must_have_a_good_password_and_takes_nothing_that_is_not_offered(
    client: TestClient, hardened: Database
) -> None:
    given = {"email": "newuser@test.com", "firstName": "Test", "lastName": "User"}
    weak = client.post("/v1/auth/register", json={**given, "password": "password"})
    assert error(weak) == (
        400,
        "WEAK_PASSWORD",
        (
            "Password must be at least 12 characters. Password must contain uppercase letter."
            " Password must contain number. Password must contain special character."
        ),
    )
    made = client.post(
        "/v1/auth/register", json={**given, "password": PASSWORD, "is_active": False, "id": "x"}
    )
    assert made.status_code == 201
    assert made.json()["data"]["user"]["email"] == "newuser@test.com"
    assert hardened.value("SELECT is_active FROM users WHERE email = 'newuser@test.com'") is True
    again = client.post(
        "/v1/auth/register", json={**given, "email": "NewUser@test.com", "password": PASSWORD}
    )
    assert error(again)[:2] == (409, "EMAIL_TAKEN")
    assert client.post("/v1/auth/login", json={**given, "password": PASSWORD}).status_code == 200


def test_a_new_password_ends_the_other_sessions(client: TestClient) -> None:
    phone, laptop = logged_in(client), logged_in(client)
    path, new = "/v1/auth/password", "AnotherPass456?"
    wrong = client.post(path, json={"currentPassword": "x", "newPassword": new}, headers=laptop)
    assert error(wrong)[:2] == (401, "INVALID_CREDENTIALS")
    weak = client.post(path, json={"currentPassword": PASSWORD, "newPassword": "x"}, headers=laptop)
    assert error(weak)[:2] == (400, "WEAK_PASSWORD")
    done = client.post(path, json={"currentPassword": PASSWORD, "newPassword": new}, headers=laptop)
    assert done.json()["data"] == {"sessions": 1}
    assert client.get("/v1/auth/me", headers=phone).status_code == 401
    assert client.get("/v1/auth/me", headers=laptop).status_code == 200
    assert client.post("/v1/auth/login", json={**LOGIN, "password": new}).status_code == 200


def test_an_access_token_that_expired_is_to_be_refreshed(client: TestClient) -> None:
    token = logged_in(client)["authorization"].split()[1]
    claims = jwt.decode(token, KEY, ["HS256"], audience="app")
    claims["exp"] -= 1000
    old = jwt.encode(claims, KEY, "HS256", headers={"typ": "at+jwt"})
    assert error(client.get("/v1/auth/me", headers=bearer(old))) == (
        401, "TOKEN_EXPIRED", "Access token expired. Please refresh.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"origin": "https://api.example.com"}, True),
        ({"origin": "https://evil.example.com"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://api.example.com.evil.org"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
    ],
)
def test_pages_of_other_sites_are_refused(
    client: TestClient, headers: dict[str, str], allowed: bool
) -> None:
    client.post("/v1/auth/login", json=LOGIN)
    answer = client.post("/v1/auth/refresh", headers=headers)
    assert (answer.status_code == 200) is allowed
    if not allowed:
        assert error(answer)[:2] == (403, "FORBIDDEN_ORIGIN")


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"email": ["a"], "password": "x"}', "application/json", 400),
        (b'{"email": {"$ne": 1}, "password": "x"}', "application/json", 400),
        (b'{"email": 1, "password": 2}', "application/json", 400),
        (b'{"email": "", "password": ""}', "application/json", 400),
        (b'{"email": "a@b.c", "password": "' + b"x" * 2000 + b'"}', "application/json", 400),
        (b'{"email": "' + b"x" * 1_000_000 + b'"}', "application/json", 413),
        (b'{"email": "a\\u0000@b.c", "password": "x"}', "application/json", 401),
        (b'{"email": "\\ud800@b.c", "password": "x"}', "application/json", 400),
        (b'{"email": "a@b.c", "password": "\\ud800"}', "application/json", 400),
        (b"email=a&password=b", "application/x-www-form-urlencoded", 415),
        (b"[" * 20_000, "application/json", 400),
    ],
)
def test_hostile_bodies_are_refused_in_the_plans_shape(
    client: TestClient, body: bytes, kind: str, status: int
) -> None:
    answer = client.post("/v1/auth/login", content=body, headers={"content-type": kind})
    assert error(answer)[0] == status
    assert "x" * 100 not in answer.text


def test_health_echoes_the_rollout(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "rollout": "8d2f"}


def test_other_methods_and_paths_answer_in_the_plans_shape(client: TestClient) -> None:
    assert error(client.get("/v1/auth/login"))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert error(client.get("/v1/nothing"))[:2] == (404, "NOT_FOUND")


def test_a_host_cookie_is_possible(hardened: Database) -> None:
    hardened.execute("UPDATE users SET password_hash = %s", (Hasher().hash(PASSWORD),))
    with client_on(hardened, COOKIE_NAME="__Host-refresh") as client:
        cookie = client.post("/v1/auth/login", json=LOGIN).headers["set-cookie"]
    assert cookie.startswith("__Host-refresh=")
    assert "Path=/;" in cookie


def test_with_the_database_away_it_says_to_try_again(hardened: Database) -> None:
    with client_on(hardened) as client:
        hardened.server.drop(hardened.name)
        answer = client.post("/v1/auth/login", json=LOGIN)
    assert error(answer)[:2] == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"
