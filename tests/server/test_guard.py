"""What gets past the guard: host, origin, key and size, each tried from both sides."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from keepsight.core import InputError, StoreError
from keepsight.server.config import TEMPLATE, ServerConfig, load_config
from keepsight.server.errors import ApiError, install_errors
from keepsight.server.guard import COOKIE, Guard

KEY = "a long enough key"
PAGE = "http://127.0.0.1:8000"
ERRORS = {"input": InputError("bad"), "store": StoreError("busy"), "api": ApiError(404, "not_found", "no")}


def client(**settings):
    app = FastAPI()
    install_errors(app)

    @app.get("/health")
    def health():
        return {}

    @app.get("/api/thing")
    def thing():
        return {"ok": True}

    @app.post("/api/thing")
    async def change(request: Request):
        return {"bytes": len(await request.body())}

    @app.post("/api/typed")
    def typed(body: dict[str, int]):
        return body

    @app.get("/api/fails/{kind}")
    def fails(kind: str):
        raise ERRORS[kind]

    guard = Guard(app, load_config(None, **settings), lambda path: 1000, lambda path: path == "/")
    return TestClient(guard, base_url=PAGE)


def test_without_a_key_this_machine_may_do_everything():
    with client() as c:
        assert c.get("/api/thing").json() == {"ok": True}
        assert c.post("/api/thing", content=b"x" * 1000).json() == {"bytes": 1000}
        assert c.get("/api/thing").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_a_foreign_name_is_turned_away(host):
    with client() as c:
        assert c.get("/api/thing", headers={"Host": host}).status_code == 421


def test_another_page_may_not_use_the_server_unless_it_was_allowed():
    with client(origins=["https://tools.example"]) as c:
        assert c.post("/api/thing", headers={"Origin": "https://evil.example"}).status_code == 403
        assert c.post("/api/thing", headers={"Origin": PAGE}).status_code == 200
        allowed = c.post("/api/thing", headers={"Origin": "https://tools.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://tools.example"
        seen = c.get("/api/thing", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in seen.headers, "a browser does not hand this answer to the page"


def test_key_and_cors_work_together():
    with client(api_key=KEY, origins=["https://tools.example"]) as c:
        asked = {"Origin": "https://tools.example", "Access-Control-Request-Method": "POST"}
        preflight = c.options("/api/thing", headers=asked)
        assert preflight.status_code == 204
        assert "Token" in preflight.headers["access-control-allow-headers"]
        refused = c.post("/api/thing", headers={"Origin": "https://tools.example"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://tools.example", "so that the page sees why"
        for good in ({"Token": KEY}, {"Authorization": f"Bearer {KEY}"}, {"Cookie": f'{COOKIE}="{KEY}"'}):
            assert c.post("/api/thing", headers=good).status_code == 200, good
        for bad in ({"Token": KEY + "x"}, {"Authorization": f"Basic {KEY}"}, {"Cookie": f"{COOKIE}=no"}):
            assert c.post("/api/thing", headers=bad).status_code == 401, bad
        assert c.get("/health").status_code == 200
        assert c.get("/docs").status_code == 401


def test_a_body_beyond_the_limit_is_refused_declared_or_not():
    with client() as c:
        assert c.post("/api/thing", content=b"x" * 1001).status_code == 413
        assert c.post("/api/thing", content=iter([b"x" * 600, b"x" * 600])).status_code == 413
        assert c.post("/api/typed", content=iter([b"{" + b" " * 600, b" " * 600 + b"}"])).status_code == 413


def test_errors_are_one_line_and_repeat_nothing():
    with client() as c:
        assert c.get("/api/fails/input").json()["error"] == {"code": "bad_request", "message": "bad"}
        assert [c.get(f"/api/fails/{kind}").status_code for kind in ERRORS] == [422, 409, 404]
        wrong = c.post("/api/typed", json={"secret word": "another secret"})
        assert wrong.status_code == 422
        assert "another secret" not in wrong.text


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"host": "0.0.0.0"}, "set an api_key"),
        ({"api_key": "short"}, "8 characters"),
        ({"port": 70000}, "port"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, says):
    with pytest.raises(InputError, match=says):
        load_config(None, **settings)


def test_the_template_says_the_defaults(tmp_path):
    path = tmp_path / "server.yaml"
    path.write_text(TEMPLATE)
    assert load_config(path) == ServerConfig()
    assert load_config(path, port=9000).port == 9000
    path.write_text("- a list")
    with pytest.raises(InputError, match="--write-config"):
        load_config(path)
