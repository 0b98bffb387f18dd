"""Who may ask the review server for what: every rule of it refused once, and allowed once."""

import asyncio
import json
from typing import Any

import pytest

from dubbing.review.safety import Guard, is_loopback, new_token

TOKEN = "a-token-of-this-test"
PORT = 8300
HOST = f"127.0.0.1:{PORT}"


async def inner(scope: Any, receive: Any, send: Any) -> None:
    """A page behind the guard."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"the page"})


def ask(
    path: str = "/", query: str = "", method: str = "GET", listen: str = "127.0.0.1", token: str = TOKEN, **headers: str
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of one request; headers with _ for -."""
    told: dict[str, Any] = {"body": b""}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            told.update(status=message["status"], headers=message["headers"])
        else:
            told["body"] += message["body"]

    named = {"host": HOST, **{k.replace("_", "-"): v for k, v in headers.items()}}
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(),
             "headers": [(k.encode(), v.encode()) for k, v in named.items()]}  # fmt: skip
    asyncio.run(Guard(inner, token, listen, PORT)(scope, None, send))  # type: ignore[arg-type]
    return told["status"], {k.decode(): v.decode() for k, v in told["headers"]}, told["body"].decode()


@pytest.fixture(scope="module")
def cookie() -> str:
    """What a browser holds once it has opened the URL."""
    return ask(query=f"token={TOKEN}")[1]["set-cookie"].split(";")[0]


def test_the_token_becomes_a_cookie_and_leaves_the_address() -> None:
    status, headers, body = ask("/shot/reel/fr/shot_0001", f"a=1&token={TOKEN}")
    assert (status, headers["location"], body) == (303, "/shot/reel/fr/shot_0001?a=1", "")
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=Lax" in headers["set-cookie"]
    assert TOKEN not in headers["set-cookie"]


def test_with_the_cookie_the_page_comes(cookie: str) -> None:
    assert ask(cookie=cookie)[0::2] == (200, "the page")
    assert ask(cookie=f"other=1; {cookie}")[0] == 200


@pytest.mark.parametrize("brought", ["", "dub_review_8300=", "dub_review_8300=x", "dub_review_1=" + "0" * 64, "§§§"])
@pytest.mark.parametrize("path", ["/", "/api/shots", "/static/page.js", "/proxy/a.mp4", "/report.html"])
def test_without_it_nothing_comes(path: str, brought: str) -> None:
    status, _, body = ask(path, cookie=brought)
    assert status == 401 and "dub review" in json.loads(body)["error"]


@pytest.mark.parametrize("wrong", ["x", "", TOKEN + "x", TOKEN[:-1], "ü"])
def test_a_wrong_token_gives_no_cookie(wrong: str) -> None:
    status, headers, _ = ask(query=f"token={wrong}")
    assert status == 403 and "set-cookie" not in headers


def test_a_cookie_of_another_token_is_none(cookie: str) -> None:
    assert ask(cookie=cookie, token="another")[0] == 401


def test_a_redirect_stays_on_this_server() -> None:
    assert ask("//evil.example/x", f"token={TOKEN}")[1]["location"] == "/evil.example/x"
    assert not ask("/\\evil.example", f"token={TOKEN}")[1]["location"].startswith(("//", "/\\"))
    assert ask("/\t/evil.example", f"token={TOKEN}")[1]["location"] == "/%09/evil.example"  # browsers drop a tab
    assert ask("/a\r\nset-cookie: b", f"token={TOKEN}")[1]["location"] == "/a%0D%0Aset-cookie%3A%20b"
    assert ask("/shot/फ़िल्म", f"token={TOKEN}")[1]["location"].isascii()


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8300", "127.0.0.1.evil.example", ""])
def test_another_hosts_name_is_refused(name: str, cookie: str) -> None:
    """A name that an attacker points at this machine (DNS rebinding) reads nothing."""
    assert ask(cookie=cookie, host=name)[0] == 421


@pytest.mark.parametrize("name", ["localhost:8300", "127.0.0.1:8300", "[::1]:8300", "LOCALHOST:8300"])
def test_its_own_names_are_known(name: str, cookie: str) -> None:
    assert ask(cookie=cookie, host=name)[0] == 200


def test_on_another_host_any_name_is_known_but_the_token_is_asked_for(cookie: str) -> None:
    assert ask(host="studio-7:8300", listen="0.0.0.0", cookie=cookie)[0] == 200
    assert ask(host="studio-7:8300", listen="0.0.0.0")[0] == 401


JSON = {"method": "POST", "content_type": "application/json", "content_length": "2"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"http://{HOST}.evil.example"},
        {"origin": f"http://{HOST}", "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_a_write_from_elsewhere_is_refused_even_with_the_cookie(headers: dict[str, str], cookie: str) -> None:
    assert ask("/api/decide", cookie=cookie, **JSON, **headers)[0] == 403


def test_a_write_from_the_page_is_let_through_with_the_cookie_only(cookie: str) -> None:
    same = {"origin": f"http://{HOST}", "sec_fetch_site": "same-origin"}
    assert ask("/api/decide", cookie=cookie, **JSON, **same)[0] == 200
    assert ask("/api/decide", **JSON, **same)[0] == 401
    assert ask("/api/decide", f"token={TOKEN}", **JSON, **same)[0] == 401, "a token in a write's address is no cookie"


@pytest.mark.parametrize("length", ["", "-1", "x", str(2 << 20), "9" * 30])
def test_a_write_that_is_huge_or_does_not_say_how_long_it_is_is_not_read(length: str, cookie: str) -> None:
    told = JSON | {"content_length": length, "origin": f"http://{HOST}"}
    assert ask("/api/decide", cookie=cookie, **told)[0] == 413


def test_a_body_of_no_told_length_is_not_read_whatever_it_says_beside(cookie: str) -> None:
    chunks = {"transfer_encoding": "chunked", "cookie": cookie, "origin": f"http://{HOST}"}
    for told in (ask("/api/decide", **JSON, **chunks), ask("/api/shots", **chunks)):
        assert (told[0], told[1]["connection"]) == (413, "close")
    assert ask("/api/shots", cookie=cookie, content_length="7")[0] == 413
    assert ask("/api/shots", cookie=cookie, content_length="0")[0] == 200


def test_a_form_cannot_write(cookie: str) -> None:
    kinds = {"method": "POST", "content_type": "application/x-www-form-urlencoded", "origin": f"http://{HOST}"}
    assert ask("/api/decide", cookie=cookie, **kinds)[0] == 415
    assert ask("/api/decide", cookie=cookie, method="DELETE", origin=f"http://{HOST}")[0] == 405


@pytest.mark.parametrize("path", ["/", "/api/shots", "/report.html"])
def test_every_answer_says_what_may_be_loaded_and_nothing_from_outside(path: str, cookie: str) -> None:
    for brought in (cookie, ""):
        _, headers, _ = ask(path, cookie=brought)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "http" not in policy and "*" not in policy
        assert "'unsafe-eval'" not in policy and "script-src 'unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50 and min(map(len, tokens)) >= 32


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.4", "studio"])
def test_what_others_can_reach_is_no_loopback(host: str) -> None:
    assert not is_loopback(host)
