"""Requests to an OpenAI-compatible server: with a time limit, tried again where that may help, and with a key that nobody gets to see."""

import os
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from unweave.errors import ConfigError, UnweaveError

KEY_VARIABLE = "UNWEAVE_API_KEY"
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers of a server that is busy, restarting or overloaded: the same request may do later."""
TRIES = 5
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second try, doubled each time; a server that names another time is given it, up to the longest."""
SHOWN = 300
"""Characters of a server's own words in an error."""
LOCAL = ("localhost", "127.0.0.1", "::1")


class EndpointError(UnweaveError):
    """A server did not answer, or not as an OpenAI-compatible one does."""


class RefusedRequestError(EndpointError):
    """A server would not do what it was asked: not another time either."""


def require_endpoint(url: str) -> str:
    """Refuse an address that is none, or that holds a secret: it is written into what a run keeps.

    Args:
        url: Such as `http://localhost:8000/v1`.

    Returns:
        The address without a slash at its end.

    Raises:
        ConfigError: When it is no such address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            "The address of a server begins with http:// or https://.",
            where="`endpoint`",
            remedy="give one such as http://localhost:8000/v1",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "The address would be written into the run's records, with the name, password or query in it.",
            where="`endpoint`",
            remedy=f"give the address alone, and the key in the environment variable {KEY_VARIABLE}",
        )
    return url.rstrip("/")


@dataclass(frozen=True)
class Endpoint:
    """A server.

    Attributes:
        url: Its address, up to and with `/v1`.
        key_variable: The environment variable that holds its key, where it wants one.
        timeout: Seconds without an answer after which a request counts as lost.
    """

    url: str
    key_variable: str = KEY_VARIABLE
    timeout: float = 120.0
    _clients: list[Any] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "url", require_endpoint(self.url))
        parts = urlsplit(self.url)
        if self._key() and parts.scheme == "http" and parts.hostname not in LOCAL:
            raise ConfigError(
                "The key would cross the network in the clear.",
                where="`endpoint`",
                remedy=f"use https, or unset {self.key_variable}",
            )

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the server.

        Args:
            path: Below the address, such as `/chat/completions`.
            body: The request, as JSON holds it.

        Returns:
            Its answer.

        Raises:
            EndpointError: When it can't be reached, is overloaded for long, or answers with something else than a JSON object.
            RefusedRequestError: When it refuses the request.
        """
        httpx = _httpx()
        why = ""
        for attempt in range(TRIES):
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
            try:
                answer = self._client().post(self.url + path, json=body)
            except httpx.TransportError as error:
                why = f"{type(error).__name__}: {error}"
            else:
                if answer.is_success:
                    return self._object(answer)
                why = f"status {answer.status_code}: {self._shown(answer.text)}"
                if answer.status_code not in PASSING:
                    raise RefusedRequestError(
                        f"The server refuses a request to {path}: {why}", where=self.url, remedy=_remedy(answer.status_code, self.key_variable)
                    )  # fmt: skip
                wait = min(LONGEST_WAIT, _asked_to_wait(answer.headers.get("retry-after")) or wait)
            if attempt + 1 < TRIES:
                time.sleep(wait)
        raise EndpointError(
            f"The server did not answer {TRIES} requests to {path}; the last one: {self._shown(why)}",
            where=self.url,
            remedy="check that it runs, and run the command again: answers that came are kept",
        )

    def close(self) -> None:
        """Close its connections."""
        while self._clients:
            self._clients.pop().close()

    def _client(self) -> Any:
        if not self._clients:
            key = self._key()
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            self._clients.append(_httpx().Client(timeout=self.timeout, headers=headers, follow_redirects=False))
        return self._clients[0]

    def _key(self) -> str:
        return os.environ.get(self.key_variable, "").strip()

    def _object(self, answer: Any) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        raise EndpointError(
            f"The server's answer is no JSON object: {self._shown(answer.text)}",
            where=self.url,
            remedy="give the address up to and with /v1",
        )

    def _shown(self, text: str) -> str:
        """What a server says, without the key, which some repeat."""
        key = self._key()
        return (text.replace(key, "***") if key else text)[:SHOWN]


def _httpx() -> Any:
    """The client that `huggingface_hub` brings, by the name that it has there."""
    try:
        import httpx2 as httpx
    except ImportError:
        import httpx  # pyright: ignore[reportMissingImports]
    return httpx


def _asked_to_wait(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:  # a date
        return 0.0


def _remedy(status: int, variable: str) -> str:
    if status in (401, 403):
        return f"put the server's key into the environment variable {variable}"
    if status == 404:
        return "give the address up to and with /v1, and a model that the server has"
    return "see what the server says"
