"""One model of a server: its answers to prompts, and the log-probabilities that it gives to answers; all that came is kept."""

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, TypeVar

from unweave import progress
from unweave.data.encoding import EncodingConfig, Example, encode_prompt
from unweave.data.rows import Row
from unweave.data.templates import render_prompt
from unweave.evaluation.served.client import Endpoint, EndpointError, RefusedRequestError
from unweave.run.identity import identity_digest

T = TypeVar("T")
U = TypeVar("U")
NOTHING = SimpleNamespace(bos_token=None, eos_token=None, pad_token=None)
"""In the place of a tokenizer, where a template is plain text."""


class Kept:
    """The server's answers on the disk, a line each; a line that was cut off by a kill is asked for again.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self.path, self._lock = path, Lock()
        self.found: dict[str, Any] = {}
        for line in path.read_text(encoding="utf-8").split("\n") if path.is_file() else ():
            try:
                entry = json.loads(line)
                self.found[entry["key"]] = entry["value"]
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, key: str, value: Any) -> None:
        """Keep an answer.

        Args:
            key: Of what was asked.
            value: What came.
        """
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # A line break first: what a kill left unfinished must not swallow this one.
                file.write("\n" + json.dumps({"key": key, "value": value}) + "\n")
            self.found[key] = value


@dataclass
class Served:
    """A model behind a server.

    Attributes:
        endpoint: The server.
        name: What it calls the model.
        encoding: Template, and lengths where there is a tokenizer.
        tokenizer: The model's, where it is at hand: without one there are no log-probabilities, as a server counts tokens and not characters.
        kept: Where its answers are kept.
        parallel: Requests at a time.
        label: Names the model in progress.
        gives_log_probabilities: Whether the server gave any: `None` before it was asked.
    """

    endpoint: Endpoint
    name: str
    encoding: EncodingConfig
    kept: Kept
    tokenizer: Any = None
    parallel: int = 4
    label: str = "model"
    gives_log_probabilities: bool | None = field(default=None)

    def answers(self, rows: Sequence[Row], *, max_new_tokens: int, what: str) -> list[str]:
        """Greedy answers to the prompts of rows.

        Args:
            rows: Their completions are not shown to the model.
            max_new_tokens: Longest answer.
            what: For progress.

        Returns:
            The answers, without outer spaces, in the order of the rows.
        """
        return self._each(lambda row: self._answer(row, max_new_tokens), rows, what)

    def values(self, examples: Sequence[Example], *, what: str) -> list[dict[str, list[Any]]] | None:
        """Loss of each labelled token, and whether it was the likeliest.

        Args:
            examples: Encoded with the model's tokenizer.
            what: For progress.

        Returns:
            `losses` in nats and `hits` of each example; `None` where the server gives no log-probabilities of a prompt's tokens.
        """
        if self.gives_log_probabilities is None and examples:
            self.gives_log_probabilities = self._tokens(examples[0]) is not None
        if not self.gives_log_probabilities:
            return None
        found = self._each(self._tokens, examples, what)
        return [self._required(one) for one in found]

    def _each(self, ask: Callable[[T], U], items: Sequence[T], what: str) -> list[U]:
        with progress.task(f"{self.label}: {what}", len(items)) as advance, ThreadPoolExecutor(self.parallel) as pool:
            found = []
            try:
                for one in pool.map(ask, items):
                    found.append(one)
                    advance(1)
            except BaseException:
                # What is asked now is answered and kept; what waits is not asked any more.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return found

    def _post(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], Any]) -> Any:
        """Ask, or look up what was answered, of which only what is needed is kept."""
        key = identity_digest({"url": self.endpoint.url + path, "body": body})
        if key not in self.kept.found:
            self.kept.add(key, read(self.endpoint.post(path, body)))
        return self.kept.found[key]

    def _answer(self, row: Row, most: int) -> str:
        options = {"model": self.name, "max_tokens": most, "temperature": 0}
        encoding = self.encoding
        if encoding.template == "chat" and not row.is_plain_text:
            messages = [turn.message() for turn in row.conversation[:-1]]
            if encoding.system_prompt is not None and messages[0]["role"] != "system":
                messages.insert(0, {"role": "system", "content": encoding.system_prompt})
            tools = {"tools": list(row.tools)} if row.tools else {}
            return self._post("/chat/completions", {**options, "messages": messages, **tools}, self._message)
        prompt: Any = (
            render_prompt(row, NOTHING, template=encoding.template)
            if self.tokenizer is None
            else list(encode_prompt(row, self.tokenizer, encoding))
        )
        return self._post("/completions", {**options, "prompt": prompt}, self._text)

    def _message(self, answer: dict[str, Any]) -> str:
        message = self._choice(answer).get("message")
        content = message.get("content") if isinstance(message, dict) else self._bad("a choice without a message")
        return self._stripped(content)

    def _text(self, answer: dict[str, Any]) -> str:
        return self._stripped(self._choice(answer).get("text"))

    def _stripped(self, text: Any) -> str:
        if text is not None and not isinstance(text, str):
            self._bad("an answer that is no text")
        return (text or "").strip()

    def _tokens(self, example: Example) -> dict[str, list[Any]] | None:
        """The labelled tokens' values: as `echo` gives them, or vLLM's `prompt_logprobs`; `None` where a server has neither."""
        ids = list(example.input_ids)
        body = {"model": self.name, "prompt": ids, "max_tokens": 1, "temperature": 0}
        for more, read in (({"echo": True, "logprobs": 1}, _echoed), ({"prompt_logprobs": 1}, _of_prompt)):
            try:
                found = self._post(
                    "/completions", {**body, **more}, lambda answer, read=read: read(self._choice(answer), ids)
                )
            except RefusedRequestError:
                if self.gives_log_probabilities:
                    raise
                continue
            if found is not None:
                places = [place for place in example.label_positions if place]  # the first token follows nothing
                return {name: [column[place] for place in places] for name, column in found.items()}
        return None

    def _required(self, found: dict[str, list[Any]] | None) -> dict[str, list[Any]]:
        if found is None or any(loss is None for loss in found["losses"]):
            self._bad("log-probabilities of some prompts, and not of others")
        assert found is not None, "refused above"
        return found

    def _choice(self, answer: dict[str, Any]) -> dict[str, Any]:
        choices = answer.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            return choices[0]
        return self._bad("an answer without choices")

    def _bad(self, what: str) -> Any:
        raise EndpointError(
            f"The server gave {what}.",
            where=self.endpoint.url,
            remedy="use a server with the API of OpenAI's completions",
        )


def _echoed(choice: dict[str, Any], ids: Sequence[int]) -> dict[str, list[Any]] | None:
    """The prompt's tokens of an answer that repeats them."""
    found = choice.get("logprobs")
    values = found.get("token_logprobs") if isinstance(found, dict) else None
    if not isinstance(values, list) or len(values) < len(ids) or len(ids) < 2:
        return None
    values, best = values[: len(ids)], (found or {}).get("top_logprobs") or []
    if not all(map(_is_number, values[1:])):
        return None
    top = [max(one.values(), default=-math.inf) if isinstance(one, dict) else -math.inf for one in best[: len(ids)]]
    top += [-math.inf] * (len(ids) - len(top))
    return {
        "losses": [None, *(-value for value in values[1:])],
        # Without the likeliest token's own value only a token of more than one half is known to be it.
        "hits": [False, *(value >= most if most > -math.inf else value > -math.log(2) for value, most in zip(values[1:], top[1:], strict=True))],
    }  # fmt: skip


def _of_prompt(choice: dict[str, Any], ids: Sequence[int]) -> dict[str, list[Any]] | None:
    """The prompt's tokens as vLLM gives them: of each place the tokens with value and rank, the prompt's own among them."""
    found = choice.get("prompt_logprobs")
    if not isinstance(found, list) or len(found) != len(ids) or len(ids) < 2:
        return None
    own = [one.get(str(token)) if isinstance(one, dict) else None for one, token in zip(found, ids, strict=True)][1:]
    if not all(isinstance(one, dict) and _is_number(one.get("logprob")) for one in own):
        return None
    return {
        "losses": [None, *(-one["logprob"] for one in own if one)],
        "hits": [False, *(one.get("rank") == 1 for one in own if one)],
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
