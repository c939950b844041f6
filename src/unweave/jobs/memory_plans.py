"""What the long jobs hold in memory, from their own configs: no weights are loaded."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from unweave.config import part_of
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.rows import Row
from unweave.evaluation.config import AuditConfig
from unweave.jobs.config import TraceConfig
from unweave.models.loading import held, place_of, tokenizer_of
from unweave.store.store import GradientStore
from unweave.train.config import LoraOptions, TrainConfig
from unweave.unlearning.config import ForgetConfig

EVALUATED_TOKENS = 4096
"""Tokens a batch, padding included, where losses are read."""
ANSWERED, SAMPLED = 32, 64
"""Prompts at a time that are answered, and that the attack `sampling` samples."""


def memory_of_training(
    config: TrainConfig, steps: Sequence[Sequence[Example]], parameters: dict[str, int]
) -> dict[str, int]:
    """Fine-tuning.

    Args:
        config: The run.
        steps: The rows of each step.
        parameters: Of the model; none of one whose description is in its weights.

    Returns:
        Name to bytes, the peak among them; nothing where nothing can be said.
    """
    if not parameters:
        return {}
    from unweave.jobs.memory import Outline, largest, of_training

    lora = part_of(LoraOptions, config) if config.tuning == "lora" else None
    # An adapter that is there becomes part of the base before another is trained.
    outline = Outline(config, lora, own=False)
    return of_training(outline, largest(map(_sizes, steps)), full=lora is None).to_bytes()


def memory_of_unlearning(config: ForgetConfig, steps: Sequence[Sequence[Example]]) -> dict[str, int]:
    """Unlearning by steps.

    Args:
        config: The run.
        steps: What the model reads in each step.

    Returns:
        Name to bytes, the peak among them.
    """
    from unweave.jobs.memory import Outline, largest, of_training
    from unweave.models.evaluation import without_dropout
    from unweave.unlearning.config import method_of

    fresh = config.adapter_mode == "new" or place_of(config).adapter is None
    outline = Outline(config, part_of(LoraOptions, config) if fresh else None)
    # A loss that compares the model with the one before takes both without dropout, whose masks are kept otherwise.
    with without_dropout(outline.model) if getattr(method_of(config), "compares", False) else contextlib.nullcontext():
        return of_training(outline, largest(map(_sizes, steps))).to_bytes()


def memory_of_audit(config: AuditConfig, rows: Sequence[Row]) -> dict[str, int]:
    """An audit of models at hand, one after the other: that of the model under test.

    Args:
        config: The audit.
        rows: Those that the models are measured on.

    Returns:
        Name to bytes, the peak among them; nothing of a server's models, or of one whose description is in its weights.
    """
    if config.endpoint is not None:
        return {}
    from unweave.jobs.memory import Outline, Shape, largest, of_reading, of_training

    model = held(config, config.after)
    if Path(place_of(model).base).is_file():
        return {}
    tokenizer = tokenizer_of(model)
    examples = encode_rows(rows, tokenizer, dated(config, tokenizer, config.after)).examples
    longest = max(map(len, examples))
    outline = Outline(model)
    at_a_time = max(1, min(len(examples), EVALUATED_TOKENS // longest))
    labelled = sum(sorted((one.completion_length for one in examples), reverse=True)[:at_a_time])
    passes = {"losses": outline.reading_pass(Shape(at_a_time, longest, labelled))}
    if config.max_new_tokens:
        prompt = max(len(example) - example.completion_length for example in examples)
        batch = SAMPLED if "sampling" in config.attacks else ANSWERED
        passes["answers"] = outline.generating(min(batch, len(examples)), prompt, config.max_new_tokens)
    if "relearn" in config.attacks:
        few = sorted(_sizes(examples), reverse=True)[: config.relearn_rows]
        trained = Outline(model, LoraOptions() if place_of(model).adapter is None else None)
        memory = of_training(trained, largest([few]))
        passes["relearning"] = memory.terms["optimizer"] + memory.passes["step"]
    return of_reading(outline, passes).to_bytes()


def memory_of_tracing(config: TraceConfig, store: GradientStore) -> dict[str, int]:
    """Tracing.

    Args:
        config: The run.
        store: Its store.

    Returns:
        Name to bytes, the peak among them.
    """
    from unweave.attribution.model import store_model
    from unweave.jobs.memory import Outline, Shape, of_reading, traced_modules
    from unweave.sketch.numbers import stored_bytes
    from unweave.store.shards import BLOCK_BYTES

    model = store_model(store.spec, config)
    outline, longest = Outline(model), model.max_length
    # Of a file of queries the longest that the store's encoding lets in: it is read later.
    if config.prompt is not None and config.queries is None:
        row = Row(id="query", instruction=config.prompt, context="", completion=config.completion or "answer")
        answer = 0 if config.completion else config.max_new_tokens
        encoding = EncodingConfig(**store.spec.encoding)
        found = encode_rows([row], tokenizer_of(model), encoding).examples
        longest = min(longest, (len(found[0]) if found else len(config.prompt)) + answer)
    shape = Shape(1, longest, longest)
    passes = {"query": outline.gradient_pass(shape, traced_modules(outline.model, store.spec.parameters))}
    if config.completion is None:
        passes["answer"] = outline.generating(1, longest, config.max_new_tokens)
    block = min(BLOCK_BYTES, len(store.row_ids()) * stored_bytes(store.spec.dimension, store.spec.number_format))
    return of_reading(outline, passes, more={"block of the store": block}).to_bytes()


def _sizes(examples: Iterable[Example]) -> list[tuple[int, int]]:
    return [(len(example), example.completion_length) for example in examples]
