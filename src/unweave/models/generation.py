"""Answers to many prompts, in batches: greedy, or several sampled ones a prompt."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unweave import progress
from unweave.data.encoding import EncodingConfig, Example, encode_prompt
from unweave.data.rows import Row
from unweave.data.templates import end_of_turn
from unweave.models.evaluation import evaluating
from unweave.models.loading import Loaded
from unweave.models.quiet import quiet_transformers
from unweave.models.vocabulary import require_tokens


def greedy_answers(
    loaded: Loaded,
    rows: Sequence[Row],
    encoding: EncodingConfig,
    *,
    max_new_tokens: int = 24,
    total_tokens: int | None = None,
    batch_size: int = 32,
    description: str = "generate",
    streamer: Any = None,
) -> list[str]:
    """Generate the answer to each row's prompt, greedily.

    Args:
        loaded: The model.
        rows: The prompts; their completions are not shown to the model.
        encoding: Template and system prompt.
        max_new_tokens: Longest answer in tokens.
        total_tokens: In its place, the most tokens of prompt and answer together, one of the answer at least.
        batch_size: Prompts at a time; prompts of like length go together, padded on the left.
        description: For the progress bar.
        streamer: Gets the tokens of a single prompt's answer as they come, as `transformers` hands them out.

    Returns:
        The answers, without special tokens and outer spaces, in the order of the rows. Where a row has no prompt, the text begins after BOS, or after
        EOS where the tokenizer has no BOS.
    """
    limit = _Limit(max_new_tokens, total_tokens)
    streaming = {} if streamer is None else {"streamer": streamer}
    return _answers(loaded, rows, encoding, limit, batch_size, description, {"do_sample": False, **streaming})


def sampled_answers(
    loaded: Loaded,
    rows: Sequence[Row],
    encoding: EncodingConfig,
    *,
    samples: int,
    temperature: float = 1.0,
    max_new_tokens: int = 24,
    batch_size: int = 64,
    seed: int = 0,
    description: str = "sample",
) -> list[list[str]]:
    """Sample several answers to each row's prompt from the model's own distribution.

    Args:
        loaded: The model.
        rows: The prompts.
        encoding: Template and system prompt.
        samples: Answers a prompt.
        temperature: Of the distribution.
        max_new_tokens: Longest answer in tokens.
        batch_size: Sequences at a time.
        seed: Of the sampling.
        description: For the progress bar.

    Returns:
        The answers of each row.
    """
    repeated = [row for row in rows for _ in range(samples)]
    options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    with torch.random.fork_rng(devices=[loaded.device] if loaded.device.type == "cuda" else []):
        torch.manual_seed(seed)
        answers = _answers(loaded, repeated, encoding, _Limit(max_new_tokens), batch_size, description, options)
    return [answers[start : start + samples] for start in range(0, len(answers), samples)]


@dataclass(frozen=True)
class _Limit:
    """How long an answer may be.

    Attributes:
        new: Its tokens.
        total: In their place, those of prompt and answer together.
    """

    new: int
    total: int | None = None

    def after(self, prompt: Sequence[int]) -> int:
        """The tokens of the answer to a prompt."""
        return self.new if self.total is None else max(1, self.total - len(prompt))


@dataclass(frozen=True)
class _Stop:
    """Where a generation ends.

    Attributes:
        tokens: Tokens of which any ends it: EOS, and the chat template's end of turn.
        text: A text that ends it, where the template's end of turn is no single token.
    """

    tokens: frozenset[int]
    text: str | None

    @classmethod
    def of(cls, tokenizer: Any, encoding: EncodingConfig) -> "_Stop":
        """What a template's answers end with."""
        end = end_of_turn(tokenizer, template=encoding.template, date=encoding.date)
        tokens = {tokenizer.eos_token_id, end.stop} - {None}
        return cls(frozenset(tokens), end.text.strip() if end.stop is None else None)

    def answer(self, ids: list[int], tokenizer: Any) -> str:
        """The text of an answer, without what ends it."""
        length = next((place for place, token in enumerate(ids) if token in self.tokens), len(ids))
        text = tokenizer.decode(ids[:length], skip_special_tokens=True)
        return (text.partition(self.text)[0] if self.text else text).strip()


def _answers(
    loaded: Loaded,
    rows: Sequence[Row],
    encoding: EncodingConfig,
    limit: _Limit,
    batch_size: int,
    description: str,
    options: dict[str, Any],
) -> list[str]:
    start = _start_of_text(loaded.tokenizer)
    prompts = [encode_prompt(row, loaded.tokenizer, encoding) or start for row in rows]
    asked = [Example(row.id, prompt, len(prompt)) for row, prompt in zip(rows, prompts, strict=True)]
    require_tokens(loaded.model, asked, tokenizer=loaded.tokenizer)
    stop = _Stop.of(loaded.tokenizer, encoding)
    order = sorted(range(len(rows)), key=lambda index: len(prompts[index]))
    answers = [""] * len(rows)
    with (
        progress.task(description, len(rows)) as advance,
        quiet_transformers(),
        warnings.catch_warnings(),
        torch.inference_mode(),
        evaluating(loaded.model),
    ):
        warnings.simplefilter("ignore")
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            longest = max(limit.after(prompts[index]) for index in chosen)
            generated = _generate(loaded, [prompts[index] for index in chosen], stop, longest, options)
            for index, ids in zip(chosen, generated, strict=True):
                answers[index] = stop.answer(ids[: limit.after(prompts[index])].tolist(), loaded.tokenizer)
            advance(len(chosen))
    return answers


def _start_of_text(tokenizer: Any) -> tuple[int, ...]:
    """What stands before the first token of a text without a prompt: BOS, or the EOS of the text before, as lm-evaluation-harness has it too."""
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return () if token is None else (token,)


def _generate(
    loaded: Loaded, prompts: list[tuple[int, ...]], stop: "_Stop", max_new_tokens: int, options: dict[str, Any]
) -> list[Any]:
    width = max(map(len, prompts))
    pad = loaded.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=loaded.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=loaded.device)
    output = loaded.model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        **options,
        eos_token_id=sorted(stop.tokens) or None,
        **({"stop_strings": [stop.text], "tokenizer": loaded.tokenizer} if stop.text else {}),
        pad_token_id=pad,
    )
    return [sequence[width:] for sequence in output]
