"""Conversations in the words of a model's chat template: what is prompt, what is an answer, where each answer ends."""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unweave.data.controls import hold, is_control
from unweave.data.dates import dated_template, reads_clock
from unweave.data.rendering import RefusedError, render
from unweave.data.rows import Row
from unweave.errors import ConfigError

MARKER = "unweave-answer-{}."


@dataclass(frozen=True)
class Piece:
    """A stretch of a row as the model sees it.

    Attributes:
        text: The text; control tokens that the row itself holds are held back (`controls.py`).
        is_answer: Whether it is what an assistant's turn says, with the template's end of that turn.
        is_learned: Whether the loss is taken on it.
        end: Tokens that end it and stand in no template.
    """

    text: str
    is_answer: bool = False
    is_learned: bool = False
    end: tuple[int, ...] = ()


@dataclass(frozen=True)
class EndOfTurn:
    """What ends an answer, and what training must teach.

    Attributes:
        ids: Its tokens.
        text: What the template writes; empty where it writes nothing and EOS takes its place.
        stop: The single token that stops a generation, where there is one.
    """

    ids: tuple[int, ...]
    text: str
    stop: int | None


class ChatFormat:
    """A tokenizer's chat template, and what it does with every conversation.

    Args:
        tokenizer: A Hugging Face tokenizer.
        date: The date that the template writes, where it reads the clock.

    Attributes:
        end: What ends an answer.
        controls: The tokens that the template and the model give a meaning.
        space: White space that the template puts in front of an answer, and that a generation writes itself.
    """

    def __init__(self, tokenizer: Any, *, date: str | None = None):
        if not getattr(tokenizer, "chat_template", None):
            raise ConfigError(
                "This tokenizer has no chat template.",
                where=str(tokenizer.name_or_path),
                remedy="choose `template` alpaca, dolly, plain or none",
            )
        self._tokenizer = weakref.proxy(tokenizer)
        self.date = date
        marker = MARKER.format(0)
        question = [{"role": "user", "content": "a"}]
        try:
            text = self.render([*question, {"role": "assistant", "content": marker}])
            opening = self.render(question, opening=True)
        except RefusedError as error:
            raise self._unusable(f"it refuses a question and its answer: {error}") from error
        if marker not in text:
            raise self._unusable("it leaves out answers")
        before, _, after = text.rpartition(marker)
        lead = before.removeprefix(opening) if before.startswith(opening) else ""
        self.space = lead if lead.isspace() else ""
        added = [token for token in tokenizer.get_added_vocab() if not token.isspace()]
        added = list(dict.fromkeys([*added, *tokenizer.all_special_tokens]))
        self.end = self._end(after, added)
        # What the template puts around turns, and what begins and ends a sequence; a token that it puts into answers (<think>) may stand in a row's own.
        around = opening + after
        own = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token]
        self.controls = tuple(token for token in added if is_control(token) and (token in own or token in around))

    def render(self, messages: Sequence[dict[str, Any]], *, tools: Sequence[Any] = (), opening: bool = False) -> str:
        """Write messages out.

        Args:
            messages: As a chat template reads them.
            tools: The tools that may be called.
            opening: Whether an assistant's turn is opened at the end.

        Returns:
            The text.

        Raises:
            RefusedError: When the template refuses them.
        """
        tokenizer = self._tokenizer
        try:
            template = tokenizer.get_chat_template(tools=list(tools) or None)
        except ValueError as error:
            raise RefusedError(" ".join(str(error).split())) from error
        if reads_clock(tokenizer):
            template = dated_template(template, self.date)
        name, tokens = str(tokenizer.name_or_path), tokenizer.special_tokens_map
        return render(template, messages, tools=tools, opening=opening, tokens=tokens, name=name)

    def pieces(self, row: Row, *, system_prompt: str | None, last_only: bool) -> list[Piece]:
        """Cut a row into what is prompt and what are answers.

        Args:
            row: The row.
            system_prompt: A system turn for rows that bring none.
            last_only: Whether of several answers only the last one is learned.

        Returns:
            The pieces in their order; the last one is the last answer.

        Raises:
            RefusedError: When the template can't write the row as it stands.
        """
        turns = row.conversation
        messages = self._messages(row, system_prompt)
        shift = len(messages) - len(turns)
        tools = hold(list(row.tools), self.controls)
        answers = [
            place
            for place, turn in enumerate(turns, start=shift)
            if turn.role == "assistant" and (turn.is_learned or place == len(messages) - 1)
        ]
        if last_only:
            answers = answers[-1:]
        full = self.render(messages, tools=tools)
        spans = self._by_marker(messages, tools, answers, full) or self._by_opening(messages, tools, answers, full)
        self._require_all(row, full)
        return list(self._cut(full, spans, [turns[place - shift].is_learned for place in answers]))

    def prompt(self, row: Row, *, system_prompt: str | None) -> str:
        """What stands in front of a row's last answer, whatever the answer is.

        Args:
            row: The row.
            system_prompt: A system turn for rows that bring none.

        Returns:
            The text.

        Raises:
            RefusedError: When the template can't write it.
        """
        marker = MARKER.format(0)
        messages = [*self._messages(row, system_prompt)[:-1], {"role": "assistant", "content": marker}]
        text = self.render(messages, tools=hold(list(row.tools), self.controls))
        if marker not in text:
            raise RefusedError("the chat template leaves out the answer")
        return text[: text.rindex(marker)].removesuffix(self.space)

    def left_out(self, row: Row, text: str) -> list[str]:
        """What of a row's prompt does not show in its text.

        Args:
            row: The row.
            text: The row as rendered.

        Returns:
            Names of the parts.
        """
        parts = [
            f"the {turn.role} turn"
            for turn in row.conversation[:-1]
            if turn.role in ("system", "developer", "user") and hold(turn.content.strip(), self.controls) not in text
        ]
        names = [str(tool.get("function", tool).get("name", "")) for tool in row.tools]
        parts += ["the tools"] if any(name not in text for name in names) else []
        return list(dict.fromkeys(parts))

    def takes_system(self) -> bool:
        """Whether the template writes a system turn.

        Returns:
            True or False.
        """
        marker = MARKER.format(0)
        try:
            text = self.render([{"role": "system", "content": marker}, {"role": "user", "content": "a"}], opening=True)
        except RefusedError:
            return False
        return marker in text

    def _messages(self, row: Row, system_prompt: str | None) -> list[dict[str, Any]]:
        messages = [turn.message() for turn in row.conversation]
        if system_prompt is not None and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": system_prompt})
        return hold(messages, self.controls)

    def _by_marker(
        self, messages: list[dict[str, Any]], tools: Any, answers: list[int], full: str
    ) -> list[tuple[int, int]] | None:
        """Where answers begin and end, by rendering markers in their place: what is around a marker is the template's.

        Returns:
            Begin and end of each; `None` where the template does more with an answer than to write it.
        """
        if any(not messages[place].get("content") or len(messages[place]) > 2 for place in answers):
            return None
        marked = list(messages)
        for number, place in enumerate(answers):
            marked[place] = {**messages[place], "content": MARKER.format(number)}
        try:
            skeleton = self.render(marked, tools=tools)
        except RefusedError:
            return None
        spans, rest, at = [], skeleton, 0
        for number, place in enumerate(answers):
            before, marker, rest = rest.partition(MARKER.format(number))
            begin = at + len(before)
            if not marker or not full.startswith(before, at):
                return None
            written = next((text for text in _trims(messages[place]["content"]) if full.startswith(text, begin)), None)
            if written is None:
                return None
            at = begin + len(written)
            spans.append((begin, at))
        return spans if full[at:] == rest else None

    def _by_opening(
        self, messages: list[dict[str, Any]], tools: Any, answers: list[int], full: str
    ) -> list[tuple[int, int]]:
        """Where answers begin and end, by what the template writes before them: for calls of tools, and answers with reasoning."""
        spans = []
        for place in answers:
            before = self.render(messages[:place], tools=tools, opening=True)
            if not full.startswith(before):
                raise RefusedError("the chat template does not write the same before an answer when more follows")
            end = full.find(self.end.text, len(before)) if self.end.text else -1
            if end < 0 and place == len(messages) - 1:
                end = len(full.rstrip())
            if end < 0:
                raise RefusedError("the chat template does not say where an answer ends")
            spans.append((len(before), end))
        return spans

    def _cut(self, full: str, spans: list[tuple[int, int]], learned: list[bool]) -> Iterator[Piece]:
        at = 0
        for number, ((begin, end), is_learned) in enumerate(zip(spans, learned, strict=True)):
            if self.space and full.startswith(self.space, begin - len(self.space)):
                begin -= len(self.space)
            yield Piece(full[at:begin])
            text, own = full[begin:end], ()
            if self.end.text and full.startswith(self.end.text, end):
                at = end + len(self.end.text)
                text = full[begin:at]
            else:
                at = end
                own = self.end.ids if number == len(spans) - 1 else ()
            yield Piece(text, is_answer=True, is_learned=is_learned, end=own)

    def _require_all(self, row: Row, full: str) -> None:
        names = [
            str(call.get("function", call).get("name", ""))
            for turn in row.conversation
            for call in turn.extra.get("tool_calls", ())
        ]
        if missing := [name for name in names if name not in full]:
            raise RefusedError(f"the chat template leaves out the call of the tool '{missing[0]}'")

    def _end(self, after: str, added: list[str]) -> EndOfTurn:
        """What the template writes behind the last answer, up to its first token of a meaning."""
        tokenizer = self._tokenizer
        places = [(after.index(token), -len(token), token) for token in added if token in after]
        if places:
            place, _, token = min(places)
            text = after[: place + len(token)]
            return EndOfTurn(
                tuple(tokenizer(text, add_special_tokens=False).input_ids), text, tokenizer.convert_tokens_to_ids(token)
            )
        if text := after.rstrip():
            ids = tuple(tokenizer(text, add_special_tokens=False).input_ids)
            return EndOfTurn(ids, text, ids[0] if len(ids) == 1 else None)
        return eos_of(tokenizer)

    def _unusable(self, why: str) -> ConfigError:
        return ConfigError(
            f"The chat template can't be used: {why}.",
            where=str(self._tokenizer.name_or_path),
            remedy="choose `template` alpaca, dolly, plain or none",
        )


def eos_of(tokenizer: Any) -> EndOfTurn:
    """The end of an answer where no template has one of its own: EOS.

    Args:
        tokenizer: A Hugging Face tokenizer.

    Returns:
        The end.

    Raises:
        ConfigError: When the tokenizer has no EOS.
    """
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            "The tokenizer has no end-of-sequence token.", where=str(tokenizer.name_or_path), remedy="set its eos_token"
        )
    return EndOfTurn((tokenizer.eos_token_id,), "", tokenizer.eos_token_id)


_FORMATS: weakref.WeakKeyDictionary[Any, dict[Any, ChatFormat]] = weakref.WeakKeyDictionary()


def chat_format(tokenizer: Any, *, date: str | None = None) -> ChatFormat:
    """The chat format of a tokenizer, made once.

    Args:
        tokenizer: A Hugging Face tokenizer.
        date: The date that its template writes, where it reads the clock.

    Returns:
        The format.
    """
    formats = _FORMATS.setdefault(tokenizer, {})
    key = (str(getattr(tokenizer, "chat_template", None)), date, len(tokenizer), tokenizer.eos_token)
    if key not in formats:
        formats[key] = ChatFormat(tokenizer, date=date)
    return formats[key]


def _trims(text: str) -> Iterator[str]:
    """A text as templates may write it, longest first."""
    yield from dict.fromkeys((text, text.rstrip(), text.lstrip(), text.strip()))
