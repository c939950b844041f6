"""What is traced: whole answers, or parts of them."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.rows import Row, content_id
from unweave.data.turns import Turn
from unweave.errors import ConfigError
from unweave.models.generation import greedy_answers
from unweave.models.model import Model


@dataclass(frozen=True)
class Query:
    """One answer, or one part of it.

    Attributes:
        row: Prompt and whole answer.
        example: Its tokens; loss on the traced part.
        part: The traced part, where it is not the whole.
        against: The tokens of another answer to the same prompt: what is traced is then why the first was given and not that, by the gradient of the
            difference of their losses.
        other: Their text.
    """

    row: Row
    example: Example
    part: str | None = None
    against: Example | None = None
    other: str | None = None


def make_queries(
    rows: Sequence[Row],
    tokenizer: Any,
    encoding: EncodingConfig,
    *,
    span: str | tuple[int, int] | None = None,
    words: bool = False,
    tokens: bool = False,
    against: str | None = None,
) -> list[Query]:
    """Encode answers, and cut them where only parts are asked for.

    Args:
        rows: Prompts with answers; those that the length limit drops are left out.
        tokenizer: A Hugging Face tokenizer.
        encoding: Template and lengths.
        span: Only this text of each answer, at its first place; or the characters from one place up to another.
        words: Each word by itself.
        tokens: Each token by itself, the end of the answer included.
        against: The other answer of each query.

    Returns:
        The queries, in the order of rows and of their parts.

    Raises:
        ConfigError: When two ways of cutting are asked for, or a span does not occur in an answer.
    """
    if sum((span is not None, words, tokens)) > 1:
        raise ConfigError("An answer can be cut in one way only.", where="`span`, `words`, `tokens`", remedy="give one")
    by_id = {row.id: row for row in rows}
    queries: list[Query] = []
    # What is traced is the answer; those before it are part of the question.
    encoding = replace(encoding, loss="last-turn")
    for example in encode_rows(rows, tokenizer, encoding).examples:
        row = by_id[example.row_id]
        if span is not None:
            queries += _cut(row, example, tokenizer, [_place(span, row.completion)])
        elif words:
            queries += _cut(row, example, tokenizer, [match.span() for match in re.finditer(r"\S+", row.completion)])
        elif tokens:
            queries += [
                Query(row, replace(example, labelled=(place,)), tokenizer.decode([example.input_ids[place]]))
                for place in example.label_positions
            ]
        else:
            queries.append(Query(row, example))
    if against is None:
        return queries
    if not against.strip():
        raise ConfigError("The other answer is empty.", where="`against`", remedy="give a text, or leave it out")
    others = encode_rows([row.with_completion(against) for row in rows], tokenizer, encoding).examples
    other_of = {example.row_id: example for example in others}
    return [replace(query, against=other_of[query.row.id], other=against) for query in queries]


def queries_of_spans(
    row: Row, tokenizer: Any, encoding: EncodingConfig, spans: Sequence[tuple[int, int]]
) -> list[Query | None]:
    """Parts of one answer, each a query of its own.

    Args:
        row: Prompt and answer.
        tokenizer: A Hugging Face tokenizer.
        encoding: Template and lengths.
        spans: Characters of the answer, from one place up to another.

    Returns:
        A query each; `None` where no token stands there.
    """
    found: list[Query | None] = [None] * len(spans)
    for example in encode_rows([row], tokenizer, replace(encoding, loss="last-turn")).examples:
        for place, span in enumerate(spans):
            found[place] = next(iter(_cut(row, example, tokenizer, [span])), None)
    return found


def _place(span: str | tuple[int, int], answer: str) -> tuple[int, int]:
    """Where a span stands in an answer."""
    if isinstance(span, str):
        place = answer.find(span)
        first, last = (place, place + len(span)) if span else (-1, -1)
    else:
        first, last = span
    if not 0 <= first < last <= len(answer):
        raise ConfigError(
            f"The answer does not contain the span: {answer!r}",
            where="`span`",
            remedy="give a text that occurs in the answer, letter for letter",
        )
    return first, last


def query_row(
    model: Model,
    prompt: str | Row,
    *,
    completion: str | None = None,
    system: str | None = None,
    encoding: EncodingConfig,
    max_new_tokens: int = 48,
    description: str = "",
) -> Row:
    """A prompt with the answer that is to be traced.

    Args:
        model: The model, which answers where no answer is given.
        prompt: The prompt; or a row, whose own answer is traced where it has one.
        completion: The answer.
        system: The system text that the prompt stands under; by default the template's own, or none.
        encoding: Template.
        max_new_tokens: Longest generated answer, in tokens.
        description: For the progress bar; by default there is none.

    Returns:
        The row; its id is a hash of what it holds.

    Raises:
        ConfigError: When the answer is empty.
    """
    if isinstance(prompt, Row):
        row, completion = prompt, completion if completion is not None else prompt.completion or None
    else:
        turns = () if system is None else (Turn("system", system),)
        row = Row(id="query", instruction=prompt, completion="", turns=turns)
    if completion is None:
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "description": description}
        completion = greedy_answers(model, [row], encoding, **options)[0]
    if not completion.strip():
        raise ConfigError(
            "The answer to trace is empty.", where="`completion`", remedy="give another prompt, or an answer with it"
        )
    if isinstance(prompt, Row):
        return row.with_completion(completion)
    return replace(row, id=content_id(prompt, "", row.turns, completion), completion=completion)


def _cut(row: Row, example: Example, tokenizer: Any, spans: list[tuple[int, int]]) -> list[Query]:
    """Queries of the tokens that overlap each span of the answer's text."""
    offsets = _offsets(row, example, tokenizer)
    queries = []
    for begin, end in spans:
        places = [
            example.prompt_length + index for index, (first, last) in enumerate(offsets) if first < end and last > begin
        ]
        if places:
            queries.append(Query(row, replace(example, labelled=tuple(places)), row.completion[begin:end]))
    return queries


def _offsets(row: Row, example: Example, tokenizer: Any) -> list[tuple[int, int]]:
    """Where in the answer's text each of its tokens stands."""
    ids = example.input_ids[example.prompt_length :]
    alone = tokenizer(row.completion, add_special_tokens=False, return_offsets_mapping=True)
    count = min(len(alone.input_ids), len(ids))
    if tuple(alone.input_ids[:count]) == ids[:count]:
        return alone["offset_mapping"][:count]
    # The template trims the answer, or its first token looks otherwise behind the prompt: what the tokens say is set against the text.
    lengths = [len(tokenizer.decode(ids[:stop])) for stop in range(len(ids) + 1)]
    said = tokenizer.decode(ids)
    lead = row.completion.find(row.completion.strip()) - said.find(row.completion.strip())
    return [(first + lead, last + lead) for first, last in itertools.pairwise(lengths)]
