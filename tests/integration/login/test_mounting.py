"""The lines of docs/backend.md, run as they stand, on a users table of other names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from secops.accounts.login.hashing import Hasher
from support.databases import Database

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

PAGE = Path(__file__).resolve().parents[3] / "docs" / "backend.md"
PASSWORD = "SecurePass123!"


def test_the_lines_of_the_guide_mount_it_in_another_app(
    hardened: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hardened.execute("CREATE SCHEMA crm")
    hardened.execute("ALTER TABLE users RENAME COLUMN email TO login")
    hardened.execute("ALTER TABLE users RENAME COLUMN password_hash TO pw_hash")
    hardened.execute("ALTER TABLE users RENAME TO people")
    hardened.execute("UPDATE people SET pw_hash = %s", (Hasher().hash(PASSWORD),))
    (tmp_path / "secops.yaml").write_text(
        "schema: public\nusers: {schema: public, table: people, email: login, password: pw_hash}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECOPS_DATABASE_URL", hardened.url)
    monkeypatch.setenv("JWT_SECRET", "k" * 40)
    mounting, guarding = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )[:2]
    names: dict[str, object] = {}
    exec(mounting, names)
    exec(guarding, names)
    with TestClient(names["app"], base_url="https://api.example.com") as client:  # type: ignore[arg-type]
        refused = client.get("/orders")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "INVALID_TOKEN")
        given = client.post(
            "/v1/auth/login", json={"email": "alice@example.com", "password": PASSWORD}
        )
        bearer = {"authorization": f"Bearer {given.json()['data']['accessToken']}"}
        assert client.get("/orders", headers=bearer).json() == {
            "of": given.json()["data"]["user"]["id"]
        }
        guarded = TestClient(names["guarded"], base_url="https://api.example.com")  # type: ignore[arg-type]
        assert guarded.get("/anything").status_code == 401
        assert guarded.get("/orders", headers=bearer).status_code == 200
        assert guarded.get("/public/x").status_code == 404
