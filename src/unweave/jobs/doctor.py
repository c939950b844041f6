"""A check-up of a model and its data for the mistakes that ruin influence without a word."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from unweave.attribution.caching import open_examples
from unweave.curvature.base import gradients_of
from unweave.data.batches import IGNORE, collate
from unweave.data.dates import dated, reads_clock
from unweave.data.encoding import Example
from unweave.data.rows import Row
from unweave.data.templates import end_of_turn, typed
from unweave.errors import UnweaveError
from unweave.gradients.loss import token_losses
from unweave.gradients.per_sample import frozen_in_evaluation
from unweave.jobs.config import DoctorConfig
from unweave.models.loading import Loaded, load
from unweave.sketch.sketcher import Sketcher

ROWS = 8
Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        check: What was looked at.
        verdict: `ok`, `warning` or `failed`.
        detail: What was found, and what to do about it.
    """

    check: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class Examined:
    """What is examined.

    Attributes:
        config: The options.
        loaded: The model.
        rows: How many rows the data has.
        examples: All of them, encoded.
        touched: How many were cut or dropped for their length.
        typed: How many hold control tokens of the template in their own text.
        recognized: How they were read, and what of them is not used.
    """

    config: DoctorConfig
    loaded: Loaded
    rows: int
    examples: list[Example]
    touched: int
    typed: int = 0
    recognized: str = ""

    @property
    def few(self) -> list[Example]:
        """Some rows of different lengths, for checks that run the model."""
        by_length = sorted(self.examples, key=lambda example: (len(example), example.row_id))
        step = max(1, len(by_length) // ROWS)
        return by_length[::step][:ROWS]

    def sketcher(self) -> Sketcher:
        """Whole gradients of the chosen parameters, unless there are too many for that."""
        return Sketcher(self.loaded.model, pad_token_id=self.loaded.tokenizer.pad_token_id, config=self.config)


def examine(config: DoctorConfig, *, loaded: Loaded | None = None) -> list[Finding]:
    """Make all checks.

    Args:
        config: Model, rows, parameters.
        loaded: The model, where it is loaded already.

    Returns:
        The findings; a check that can't be made has failed.
    """
    loaded = loaded or load(config)
    config = dated(config, loaded.tokenizer, loaded.adapter, loaded.base)
    rows, examples, problems = open_examples(config.data, config, loaded)
    held = [row for row in rows if typed(row, loaded.tokenizer, config.template, date=config.date)]
    examined = Examined(config, loaded, len(rows), examples, len(problems), len(held), _recognized(rows))
    findings = []
    for name, check in CHECKS.items():
        try:
            findings += [Finding(name, *verdict) for verdict in check(examined)]
        except (UnweaveError, IndexError, RuntimeError, ValueError) as error:
            # What is wrong with the model may be what breaks the check.
            findings.append(Finding(name, "failed", " ".join(str(error).split())))
    return findings


def _recognized(rows: Sequence[Row]) -> str:
    layouts = Counter(row.layout for row in rows).most_common()
    unused = dict.fromkeys(name for row in rows for name in row.unused)
    read = ", ".join(f"{name} ({count})" for name, count in layouts)
    return f"read as {read}; not used: {', '.join(unused) or 'nothing'} (unweave rows shows what the model sees)"


def _mask(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    end = end_of_turn(examined.loaded.tokenizer, template=examined.config.template, date=examined.config.date)
    stop = end.ids[-1]
    ends = sum(example.input_ids[example.label_positions[-1]] == stop for example in examined.examples)
    labels = collate(examined.few, pad_token_id=examined.loaded.tokenizer.pad_token_id).labels
    counted = int((labels != IGNORE).sum())
    expected = sum(example.completion_length for example in examined.few)
    answers = [len(example.stretches) for example in examined.examples]
    several = sum(count > 1 for count in answers)
    learned = f"loss on {sum(answers)} answers of {len(answers)} rows only"
    if several:
        learned += f": {several} rows have several, and each is learned (`loss` last-turn learns the last)"
    yield ("ok", learned) if counted == expected else ("failed", f"{counted} labels, {expected} answer tokens")
    if ends < len(examined.examples):
        yield "warning", f"{len(examined.examples) - ends} answers are cut before their end: raise `max_length`"
    else:
        yield "ok", f"the end of the answer is learned: {examined.loaded.tokenizer.decode(end.ids)!r}"


def _template(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    if examined.config.template != "chat" or not reads_clock(examined.loaded.tokenizer):
        yield "ok", "every day it writes the same"
        return
    date = examined.config.date
    yield (
        "warning",
        f"the chat template reads the clock: all rows are written as of {date} (`date`), which each run records; elsewhere the model reads another day",
    )


def _bos(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    bos = examined.loaded.tokenizer.bos_token_id
    doubled = sum(bos is not None and example.input_ids[:2] == (bos, bos) for example in examined.examples)
    yield ("failed", f"{doubled} rows begin with two BOS tokens") if doubled else ("ok", "no doubled BOS")


def _vocabulary(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    size = examined.loaded.model.get_input_embeddings().weight.shape[0]
    highest = max(max(example.input_ids) for example in examined.examples)
    if highest >= size:
        yield "failed", f"token {highest} is outside the model's {size}: this is another model's tokenizer"
    else:
        yield "ok", f"all tokens are in the model's {size}"


def _weights(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    bad = [name for name, value in examined.loaded.model.named_parameters() if not torch.isfinite(value).all()]
    yield (
        ("failed", f"{len(bad)} tensors hold NaN or infinity, such as {bad[0]}")
        if bad
        else ("ok", "all weights are finite")
    )
    fresh = [
        name for name, value in examined.loaded.model.named_parameters() if ".lora_B." in name and not bool(value.any())
    ]
    if fresh:
        yield "warning", f"{len(fresh)} LoRA B matrices are zero: the adapter is untrained, and A has no gradient"


def _shift(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    """The model's own loss, where it has one, is the mean over all tokens of a row: ours on a batch of one."""
    model, worst = examined.loaded.model, 0.0
    with frozen_in_evaluation(model), torch.no_grad():
        for example in examined.few[:2]:
            batch = collate([example], pad_token_id=0).to(examined.loaded.device)
            own = float(token_losses(model, batch).means()[0])
            theirs = float(model(**batch.model_inputs(), labels=batch.labels, use_cache=False).loss)
            worst = max(worst, abs(own - theirs) / max(abs(theirs), 1e-6))
    tolerance = 0.02 if model.dtype in (torch.bfloat16, torch.float16) else 1e-3
    yield ("ok" if worst < tolerance else "failed", f"the loss differs from the model's own by {worst:.1e}")


def _batches(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    """A row's gradient must not know who shares its batch."""
    sketcher, few = examined.sketcher(), examined.few
    # Two of different lengths show it, and gradients are what a check-up spends most on.
    examples = few[:: max(1, min(3, len(few) - 1))][:2]
    together = sketcher.sketch_batch(examples).sketches
    alone = torch.cat([sketcher.sketch_batch([example]).sketches for example in examples])
    cosine = torch.nn.functional.cosine_similarity(together, alone)
    low = examined.loaded.model.dtype in (torch.bfloat16, torch.float16)
    worst = float(1 - cosine.min())
    if not torch.isfinite(together).all():
        yield "failed", "a gradient is not finite: use `dtype` float32"
    else:
        yield (
            "ok" if worst < (0.05 if low else 1e-4) else "failed",
            f"alone and in a batch differ by 1 - cos = {worst:.1e}",
        )


def _losses(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    with torch.no_grad():
        batch = collate(examined.few, pad_token_id=examined.loaded.tokenizer.pad_token_id).to(examined.loaded.device)
        losses = token_losses(examined.loaded.model, batch).means()
    mean = float(losses.mean())
    if mean < 0.05:
        yield (
            "warning",
            f"mean loss {mean:.3f}: the model knows these rows by heart and their gradients vanish or cancel; trace with an early "
            "checkpoint (`unweave train --snapshots 0.06`)",
        )
    else:
        yield "ok", f"mean loss {mean:.3f} nats a token"


def _finite_difference(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    """Along its own gradient g a loss rises by |g|^2: by central differences, for which fewer bits than those of float32 don't do."""
    model, copied = examined.loaded.model, ""
    if any(not parameter.is_floating_point() for parameter in model.parameters()):
        yield "warning", "not possible with quantized weights: it needs all of them in float32"
        return
    if model.dtype not in (torch.float32, torch.float64):
        model, copied = copy.deepcopy(model).float(), ", in a float32 copy of the model"
        examined = replace(examined, loaded=replace(examined.loaded, model=model))
    example = examined.few[0]
    sketcher = examined.sketcher()
    gradient = {name: piece[0] for name, piece in gradients_of(sketcher, [example]).items()}
    square = sum(float(piece.double().square().sum()) for piece in gradient.values())
    batch = collate([example], pad_token_id=0).to(examined.loaded.device)
    losses = []
    step = 1e-2 / max(square**0.5, 1e-12)
    values = {item.name: item.parameter.data.clone() for item in sketcher.parameters}
    with frozen_in_evaluation(model), torch.no_grad():
        try:
            for sign in (1, -1):
                for item in sketcher.parameters:
                    item.parameter.data.copy_(values[item.name] + sign * step * gradient[item.name])
                found = token_losses(model, batch)
                losses.append(float((found.means() if sketcher.config.reduction == "mean" else found.sums())[0]))
        finally:
            for item in sketcher.parameters:
                item.parameter.data.copy_(values[item.name])
    measured = (losses[0] - losses[1]) / (2 * step)
    error = abs(measured - square) / max(square, 1e-12)
    yield ("ok" if error < 0.02 else "failed", f"loss difference against |g|^2: {error:.1e} apart{copied}")


def _data(examined: Examined) -> Iterator[tuple[Verdict, str]]:
    yield "ok", examined.recognized
    if examined.typed:
        yield (
            "warning",
            f"{examined.typed} rows hold control tokens of the template in their text: they are encoded as text",
        )
    seen = [example.input_ids for example in examined.examples]
    repeated = len(seen) - len(set(seen))
    if repeated:
        yield "warning", f"{repeated} rows repeat another row: influence is shared among copies"
    if examined.touched:
        yield "warning", f"{examined.touched} of {examined.rows} rows are cut or dropped: raise `max_length`"
    if not repeated and not examined.touched:
        yield "ok", f"{examined.rows} rows, none repeated, none cut"


CHECKS: dict[str, Callable[[Examined], Iterator[tuple[Verdict, str]]]] = {
    "rows": _data,
    "vocabulary": _vocabulary,
    "template": _template,
    "loss mask": _mask,
    "BOS": _bos,
    "weights": _weights,
    "shifted loss": _shift,
    "loss": _losses,
    "batch invariance": _batches,
    "finite difference": _finite_difference,
}
