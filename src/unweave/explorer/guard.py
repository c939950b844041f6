"""Who may ask the explorer for what: a guard before every request, and the headers of every answer.

A page of another site that is open in the same browser may try to reach a server on this machine. Requests are therefore refused unless they name a host
that is this server's (a name that an attacker points to 127.0.0.1 is not), and requests that change something unless they come from its own pages.
"""

import hmac
import ipaddress
import socket
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from unweave.errors import ConfigError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

COOKIE = "unweave_token"
SAFE = ("GET", "HEAD")
MOST_BYTES = 2**20
"""The largest body of a request."""
BURST, EACH_SECOND = 120, 30
"""Requests that change or compute something: so many at once, and so many a second after that."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, which no other reaches.

    Args:
        host: A name or an address.

    Returns:
        The answer.
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def require_safe(host: str, token: str | None) -> None:
    """Refuse to listen where others reach the server without a token.

    Args:
        host: The address to listen at.
        token: What a browser must show.

    Raises:
        ConfigError: When there is none, or one that could be guessed, and the address is not this machine's own.
    """
    if is_loopback(host) and not token:
        return
    if not token:
        raise ConfigError(
            "Others could reach the explorer at this address, with the model and its training rows.",
            where="`host`",
            remedy="give a `token`, or leave `host` out and use a tunnel such as ssh -L",
        )
    if len(token) < 16:
        raise ConfigError("The token could be guessed.", where="`token`", remedy="give 16 characters or more")


class Guard:
    """ASGI middleware that refuses what no page of the explorer sends.

    Args:
        app: The application.
        host: The address that the server listens at.
        token: What a browser must show; `None` asks for nothing.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], *, host: str, token: str | None = None):
        self.app, self.host, self.token = app, host, token
        self._spent: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, time.monotonic()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it.

        Args:
            scope: The request.
            receive: Gives its body.
            send: Takes the answer.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused is None and self.token and not self._is_known(headers):
            query = parse_qs(scope["query_string"].decode("latin-1"))
            shown = query.pop("token", [""])[0]
            if scope["method"] == "GET" and hmac.compare_digest(shown.encode(), self.token.encode()):
                # Two slashes would lead to another host.
                place = f"/{scope['path'].lstrip('/')}" + (f"?{urlencode(query, doseq=True)}" if query else "")
                cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
                await _answer(send, 303, "", {"location": place, "set-cookie": cookie})
                return
            refused = 401, "This explorer asks for its token: open it as ADDRESS/?token=TOKEN."
        if refused is not None:
            await _answer(send, *refused)
            return

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name.decode("latin-1").lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in HEADERS.items() if name not in given),
                ]
            await send(message)

        begun: list[bool] = []

        async def noticed(message: MutableMapping[str, Any]) -> None:
            begun.append(True)
            await with_headers(message)

        try:
            await self.app(scope, _limited(receive), noticed)
        except _BodyTooLargeError as error:
            # What has begun to be answered is cut off.
            if not begun:
                await _answer(send, 413, f"The request is larger than allowed: {error}.")

    def _refusal(self, scope: Scope, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        if not self._is_own(headers.get("host", "")):
            return 421, "The request names another host than this server's."
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not (
            scope["method"] in SAFE and headers.get("sec-fetch-mode") == "navigate"
        ):
            return 403, "The request comes from another site."
        if scope["method"] in SAFE:
            return None
        origin = urlsplit(headers.get("origin", ""))
        if origin.scheme not in ("http", "https") or origin.netloc != headers.get("host"):
            return 403, "The request does not come from a page of this server."
        if not headers.get("content-length", "0").isdigit() or int(headers.get("content-length", "0")) > MOST_BYTES:
            return 413, f"The request is larger than {MOST_BYTES} bytes."
        if not self._within_rate((scope.get("client") or ("",))[0]):
            return 429, "Too many requests: wait a second."
        return None

    def _is_own(self, host: str) -> bool:
        """Whether a `Host` header names this server: a name of this machine, or, where others may reach it, an address, which no name server answers for."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if is_loopback(name):
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in {self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        return True

    def _is_known(self, headers: MutableMapping[str, str]) -> bool:
        assert self.token is not None
        cookies = SimpleCookie()
        cookies.load(headers.get("cookie", ""))
        shown = cookies[COOKIE].value if COOKIE in cookies else headers.get("authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(shown.encode(), self.token.encode())

    def _within_rate(self, client: str) -> bool:
        spent, then = self._spent[client]
        now = time.monotonic()
        spent = max(0.0, spent - EACH_SECOND * (now - then)) + 1
        self._spent[client] = min(spent, BURST + 1.0), now
        return spent <= BURST


class _BodyTooLargeError(Exception):
    """A body without a length is longer than allowed."""


def _limited(receive: Receive) -> Receive:
    read = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MOST_BYTES:
            raise _BodyTooLargeError(f"more than {MOST_BYTES} bytes")
        return message

    return limited


async def _answer(send: Send, status: int, text: str, more: dict[str, str] | None = None) -> None:
    headers = HEADERS | {"content-type": "text/plain; charset=utf-8"} | (more or {})
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": text.encode()})
