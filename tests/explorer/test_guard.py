"""Who may ask the explorer for what."""

import asyncio

import pytest

from unweave.cli.main import main
from unweave.errors import ConfigError
from unweave.explorer.guard import BURST, HEADERS, MOST_BYTES, Guard, require_safe

TOKEN = "a-token-of-some-length"
OWN = {"host": "127.0.0.1:8765"}
SAME = OWN | {"origin": "http://127.0.0.1:8765"}


def ask(method="GET", headers=OWN, *, host="127.0.0.1", token=None, path="/", query="", body=b"", guard=None):
    """The status, headers and body that a request gets; 299 is the application's own answer."""
    reached, sent = [], []

    async def app(scope, receive, send):
        read = b""
        while True:
            message = await receive()
            read += message["body"]
            if not message.get("more_body"):
                break
        reached.append(read)
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(), "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    guard = guard or Guard(app, host=host, token=token)
    asyncio.run(guard(scope, receive, send))
    given = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert bool(reached) == (sent[0]["status"] == 299)
    return sent[0]["status"], given


@pytest.mark.parametrize("name", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST", "[::1]:8765", "127.0.0.2"])
def test_the_machines_own_names_are_answered(name):
    assert ask(headers={"host": name})[0] == 299


@pytest.mark.parametrize(
    "name",
    ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8765", "[", "10.0.0.5:8765", "0.0.0.0:8765"],
)
def test_another_host_is_refused(name):
    assert ask(headers={"host": name})[0] == 421


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        "http://127.0.0.1:9999",
        "http://localhost:8765",
        "file://",
        "http://127.0.0.1:8765.evil.example",
    ],
)
def test_what_changes_something_comes_from_an_own_page(origin):
    headers = OWN | ({} if origin is None else {"origin": origin})
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(method, headers)[0] == 403
    assert ask("POST", SAME)[0] == 299


def test_other_sites_neither_read_nor_embed():
    for mode in ("cors", "no-cors"):
        assert ask(headers=OWN | {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode})[0] == 403
    # A link to a page, followed by a person.
    assert ask(headers=OWN | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})[0] == 299
    status, given = ask()
    assert status == 299
    assert {name: given[name] for name in HEADERS} == HEADERS
    assert "frame-ancestors 'none'" in given["content-security-policy"]
    assert "unsafe" not in given["content-security-policy"]


def test_large_bodies_are_refused_with_and_without_a_length():
    assert ask("POST", SAME | {"content-length": str(MOST_BYTES + 1)})[0] == 413
    assert ask("POST", SAME | {"content-length": "many"})[0] == 413
    assert ask("POST", SAME, body=b"x" * MOST_BYTES)[0] == 299
    assert ask("POST", SAME, body=b"x" * (MOST_BYTES + 1))[0] == 413


def test_too_many_requests_at_once_are_refused_and_reading_is_not():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def run():
        guard, found = Guard(app, host="127.0.0.1"), []

        async def send(message):
            found.append(message["status"]) if message["type"] == "http.response.start" else None

        scope = {"type": "http", "path": "/", "query_string": b"", "client": ("127.0.0.1", 1)}
        headers = [(name.encode(), value.encode()) for name, value in SAME.items()]
        for _ in range(BURST + 60):
            await guard(scope | {"method": "POST", "headers": headers}, None, send)
        await guard(scope | {"method": "GET", "headers": headers}, None, send)
        return found

    found = asyncio.run(run())
    assert found[:BURST] == [200] * BURST
    assert 429 in found
    assert found[-1] == 200


class TestToken:
    def test_nothing_is_seen_without_it(self):
        for headers in (OWN, OWN | {"cookie": "unweave_token=wrong"}, OWN | {"authorization": "Bearer wrong"}):
            assert ask(headers=headers, token=TOKEN)[0] == 401
        assert ask("POST", SAME, token=TOKEN, query=f"token={TOKEN}")[0] == 401

    def test_it_is_asked_for_once(self):
        status, given = ask(token=TOKEN, path="/rows", query=f"token={TOKEN}&search=a+b")
        assert (status, given["location"]) == (303, "/rows?search=a+b")
        assert given["set-cookie"] == f"unweave_token={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
        for headers in (OWN | {"cookie": f"a=b; unweave_token={TOKEN}"}, OWN | {"authorization": f"Bearer {TOKEN}"}):
            assert ask(headers=headers, token=TOKEN)[0] == 299

    def test_a_redirect_stays_here(self):
        status, given = ask(token=TOKEN, path="//evil.example/", query=f"token={TOKEN}")
        assert status == 303
        assert given["location"].startswith("/")
        assert not given["location"].startswith("//")

    def test_an_address_that_others_reach_needs_it(self):
        for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
            with pytest.raises(ConfigError, match="Others could reach"):
                require_safe(host, None)
            with pytest.raises(ConfigError, match="guessed"):
                require_safe(host, "short")
            require_safe(host, TOKEN)
        for host in ("127.0.0.1", "localhost", "::1"):
            require_safe(host, None)

    def test_with_it_addresses_are_hosts_and_foreign_names_are_not(self):
        known = {"cookie": f"unweave_token={TOKEN}"}
        for name in ("192.168.1.5:8765", "example.org", "127.0.0.1"):
            assert ask(headers=known | {"host": name}, host="example.org", token=TOKEN)[0] == 299
        assert ask(headers=known | {"host": "evil.example"}, host="0.0.0.0", token=TOKEN)[0] == 421


def test_the_command_refuses_before_anything_is_loaded(tmp_path, capsys):
    assert main(["serve", str(tmp_path), "--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert "--host" in said
    assert "--token" in said
