"""``secops serve`` under fire: several processes, a database that goes away, and nothing said of secrets."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest
from psycopg import sql

from support.databases import Command, Database, create_app
from support.logins import at_once
from support.servers import Server, free_port
from support.serving import serving

pytestmark = [
    pytest.mark.own_process,
    pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session"),
]

PERSON = {"email": "new@example.com", "password": "SecurePass123!"}
MANY = {"RATE_LIMIT_LOGIN_ATTEMPTS": "10000"}
ZONES = ("UTC", "America/Los_Angeles", "Asia/Tokyo", "Asia/Kathmandu")


def test_four_processes_in_four_zones_verify_five_wrong_passwords_of_a_hundred(
    secops: Command, hardened: Database
) -> None:
    with ExitStack() as stack:
        ports = [
            stack.enter_context(serving(secops.on(hardened), TZ=zone, **MANY)) for zone in ZONES
        ]
        clients = [stack.enter_context(each.client()) for each in ports]
        assert clients[0].post("/v1/auth/register", json=PERSON).status_code == 201

        def wrong(number: int) -> int:
            body = {**PERSON, "password": f"Wrong-{number}-Pass!"}
            return clients[number % 4].post("/v1/auth/login", json=body).status_code

        assert Counter(at_once(100, wrong)) == {401: 5, 423: 95}
        # Half an hour by the database's clock, whatever zone whoever set it is in.
        assert hardened.value(
            "SELECT locked_until BETWEEN now() + interval '28 min' AND now() + interval '30 min'"
            " FROM users WHERE email = %s", (PERSON["email"],),
        )  # fmt: skip
        for client in clients:
            assert client.post("/v1/auth/login", json=PERSON).status_code == 423


CANARIES = {
    "password": "Canary-Passw0rd-c4n4ry!",
    "new password": "Canary-Newp4ss-c4n4ry!",
    "wrong password": "Canary-Wr0ng-c4n4ry!",
    "signing key": "canary-signing-key-" + "c4n4ry" * 5,
    "database password": "canary-dsn-c4n4ry",
}


def test_no_secret_is_printed_logged_or_stored(secops: Command, hardened: Database) -> None:
    url = hardened.url.replace("postgres@", f"postgres:{CANARIES['database password']}@", 1)
    assert CANARIES["database password"] in url
    command = secops.on(hardened, SECOPS_DATABASE_URL=url)
    person = {"email": "canary@example.com", "password": CANARIES["password"]}
    tokens: set[str] = set()
    answers: list[str] = []
    with (
        serving(command, JWT_SECRET=CANARIES["signing key"], **MANY) as there,
        there.client() as client,
    ):

        def ask(method: str, path: str, **more: object) -> httpx2.Response:
            answer = client.request(method, f"/v1/auth/{path}", **more)  # type: ignore[arg-type]
            for cookie in answer.headers.get_list("set-cookie"):
                tokens.add(cookie.split(";")[0].partition("=")[2])
            if answer.status_code == 200 and "accessToken" in answer.text:
                tokens.add(answer.json()["data"]["accessToken"])
            else:
                answers.append(answer.text)
            return answer

        ask("POST", "register", json={**person, "password": "weak"})
        ask("POST", "register", json=person)
        ask("POST", "login", json={**person, "password": CANARIES["wrong password"]})
        ask("POST", "login", json={**person, "password": [CANARIES["password"]]})
        ask("POST", "login", content=f'{{"password": "{CANARIES["password"]}"'.encode(),
            headers={"content-type": "application/json"})  # fmt: skip
        logged_in = ask("POST", "login", json=person)
        access = logged_in.json()["data"]["accessToken"]
        cookie = logged_in.headers["set-cookie"].split(";")[0]
        refresh = cookie.partition("=")[2]
        ask("POST", "refresh", headers={"cookie": cookie})
        for bearer in (access, refresh, access[:-4] + "AAAA", CANARIES["password"]):
            ask("GET", "me", headers={"authorization": f"Bearer {bearer}"})
        for wrong in (access, refresh[:-2], CANARIES["password"]):
            ask("POST", "refresh", headers={"cookie": f"refreshToken={wrong}"})
        ask("POST", "password", headers={"authorization": f"Bearer {access}"},
            json={"currentPassword": CANARIES["password"],
                  "newPassword": CANARIES["new password"]})  # fmt: skip
        hardened.execute("UPDATE refresh_tokens SET used_at = used_at - interval '1 hour'")
        ask("POST", "refresh", headers={"cookie": cookie})
        stored = "\n".join(everything(hardened))
        hardened.execute("ALTER TABLE refresh_tokens RENAME TO gone")
        assert ask("POST", "refresh", headers={"cookie": cookie}).status_code >= 500
    tokens = {each for each in tokens if len(each) > 20}  # not the cookie that is deleted
    assert len(tokens) >= 4
    log = hardened.server.log.read_text(errors="replace")
    places = {
        "out": there.out,
        "err": there.err,
        "tables": stored,
        "log": log,
        "answers": "\n".join(answers),
    }
    assert "canary@example.com" in stored
    for place, text in places.items():
        for name, secret in {**CANARIES, **{f"token {each[:4]}": each for each in tokens}}.items():
            assert secret not in text, f"the {name} stands in {place}"


def everything(database: Database) -> Iterator[str]:
    """Give every row of every table as text."""
    with database.connect() as conn:
        for schema, table in conn.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall():
            query = sql.SQL("SELECT t::text FROM {} t").format(
                sql.Identifier(str(schema), str(table))
            )
            yield from (str(row[0]) for row in conn.execute(query))


@pytest.fixture
def private(server: Server) -> Iterator[Database]:
    """The demo app on a server of its own, which the test may stop."""
    own = Server(server.binaries)
    database = Database(own, own.create())
    create_app(database)
    yield database
    own.destroy()


def test_while_the_database_moves_requests_are_put_off_and_none_is_half_done(
    secops: Command, private: Database
) -> None:
    outages(secops, private, [("immediate", True)])


@pytest.mark.chaos
def test_however_often_the_database_goes_away_requests_are_put_off_and_none_is_half_done(
    secops: Command, private: Database
) -> None:
    outages(secops, private, [("fast", False), ("immediate", False), ("fast", True)] * 5)


def outages(secops: Command, private: Database, all_of_them: list[tuple[str, bool]]) -> None:
    """Refresh in threads while the server stops in some way, and starts again here or elsewhere."""
    home, away = private.server.port, free_port()
    url = f"postgresql://postgres@127.0.0.1:{home},127.0.0.1:{away}/{private.name}?target_session_attrs=read-write"
    command = secops.on(private, SECOPS_DATABASE_URL=url)
    assert command("migrate", "--yes").code == 0
    seen: Counter[int] = Counter()
    wrong: list[str] = []
    over = threading.Event()
    with serving(command, REFRESH_PREVIOUS_TOKEN="unused", **MANY) as there:
        with there.client() as client:
            client.post("/v1/auth/register", json=PERSON)
            cookies = [
                client.post("/v1/auth/login", json=PERSON).headers["set-cookie"].split(";")[0]
                for _ in range(4)
            ]

        def go_on(cookie: str) -> None:
            with there.client() as client:
                while not over.is_set():
                    answer = client.post("/v1/auth/refresh", headers={"cookie": cookie})
                    seen[answer.status_code] += 1
                    if answer.status_code == 200:
                        cookie = answer.headers["set-cookie"].split(";")[0]
                    elif answer.status_code != 503 or "retry-after" not in answer.headers:
                        wrong.append(f"{answer.status_code} {answer.text}")
                        return
                    time.sleep(0.02)

        threads = [threading.Thread(target=go_on, args=(cookie,)) for cookie in cookies]
        for thread in threads:
            thread.start()
        for mode, moves in all_of_them:
            time.sleep(1)
            private.server.stop(mode)
            time.sleep(7)  # longer than a request waits for a connection
            if moves:
                private.server.port = home + away - private.server.port
            private.server.start()
            recovered(seen)
        over.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert seen[503] > 0
    assert "Traceback" not in there.err
    [(sessions, live, rotated, told)] = private.execute(
        """SELECT count(DISTINCT family_id)::int, count(*) FILTER (WHERE NOT used AND NOT revoked)::int,
                  count(*) FILTER (WHERE parent_id IS NOT NULL)::int,
                  (SELECT count(*)::int FROM security_events WHERE event_type = 'token_refresh')
           FROM refresh_tokens"""
    )
    assert (sessions, live) == (4, 4)
    assert rotated == told
    assert private.value("SELECT count(*) FROM refresh_tokens WHERE used") == rotated


def recovered(seen: Counter[int]) -> None:
    """Wait until requests succeed again."""
    before, deadline = seen[200], time.monotonic() + 40
    while seen[200] < before + 20:
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)
