"""A fixed teacher of the rows to forget: what another model, or this one without its adapter, gives the tokens of their answers.

Each row is read once in a run. What is kept of it are the states that go into the teacher's output head, with a copy of the head: hidden size numbers a token,
where logits would be as many as the vocabulary has words, some eighty times as much. Where a head is not a plain matrix, or the model does something to what
comes out of it (a cap, a scale), logits are kept, on the CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from unweave import progress
from unweave.data.batches import Batch
from unweave.data.encoding import Example
from unweave.errors import ConfigError
from unweave.gradients.loss import cross_entropies, labelled_logits
from unweave.gradients.source import GradientSource
from unweave.models.adapters import switched_off
from unweave.models.evaluation import evaluating
from unweave.models.fingerprint import tokenizer_fingerprint
from unweave.models.loading import load_model
from unweave.models.model import Model
from unweave.models.vocabulary import vocabulary_size

Kind = Literal["base", "model", "reweighted"]
"""Who the teacher is: the model without its adapter, another model, or the model itself with the unwanted tokens lowered."""

TOKEN_BUDGET = 4096


@dataclass(frozen=True)
class Kept:
    """What is kept of a row.

    Attributes:
        values: The states in front of the head, or the logits behind it.
        states: Whether they are states.
    """

    values: Float[Tensor, "T _"]
    states: bool


@dataclass(frozen=True)
class Teacher:
    """What a teacher gives the answers' tokens of rows.

    Attributes:
        rows: Row id to what is kept of it.
        head: Weight and bias of the output head, where states are kept.
        beta: How much the logit of the token that stands there is lowered.
        loss: The mean loss of the rows under the teacher, in nats a token: where a student ends that learns all of it.
    """

    rows: dict[str, Kept]
    head: tuple[Float[Tensor, "V H"], Float[Tensor, " V"] | None] | None
    beta: float
    loss: float

    def logits(self, row_ids: Sequence[str], targets: Int[Tensor, " N"], dtype: torch.dtype) -> Float[Tensor, "N V"]:
        """The teacher's logits of the tokens of some rows' answers.

        Args:
            row_ids: The rows, one after another.
            targets: The tokens of their answers.
            dtype: Of the result.

        Returns:
            Logits that predict the tokens, each token's own lowered by `beta`, detached.
        """
        found = torch.cat([self._of_row(self.rows[row_id]).to(targets.device, dtype) for row_id in row_ids])
        return _lowered(found, targets, self.beta)

    def _of_row(self, kept: Kept) -> Float[Tensor, "T V"]:
        if not kept.states:
            return kept.values
        assert self.head is not None
        return functional.linear(kept.values, *self.head)


def make_teacher(loaded: Model, examples: Sequence[Example], *, kind: Kind, other: str | None, beta: float) -> Teacher:
    """Let a teacher read the rows to forget.

    Args:
        loaded: The model before forgetting.
        examples: The rows, with their unwanted answers.
        kind: Who teaches.
        other: Folder or hub id of another model, where that is the teacher; it is loaded, and let go when it has read the rows.
        beta: How much the logit of the token that stands there is lowered.

    Returns:
        The teacher.

    Raises:
        ConfigError: When there is no such teacher, or it reads other tokens than the model.
        ModelError: When the adapter can't be switched off, or the other model can't be loaded.
    """
    if kind != "model" and other is not None:
        raise ConfigError(
            f"Another model is named as the teacher, and the teacher is '{kind}'.",
            where="`teacher_model`",
            remedy="give teacher='model' with it, or leave it out",
        )
    if kind == "model":
        return _read(_other(loaded, other), examples, beta=beta)
    if kind == "reweighted":
        return _read(loaded, examples, beta=beta)
    if not hasattr(loaded.model, "peft_config"):
        raise ConfigError(
            "The model has no adapter that could be switched off: there is no base to learn from.",
            where="`teacher`",
            remedy="give teacher='model' with the base as teacher_model, or teacher='reweighted'",
        )
    with switched_off(loaded.model):
        return _read(loaded, examples, beta=beta)


def _other(loaded: Model, name: str | None) -> Model:
    """Another model, held as this one is."""
    if name is None:
        raise ConfigError(
            "The teacher is another model, and none is named.",
            where="`teacher_model`",
            remedy="give its folder or hub id, or teacher='base'",
        )
    dtype: Any = str(loaded.model.dtype).removeprefix("torch.")
    attention: Any = getattr(loaded.model.config, "_attn_implementation", None) or "auto"
    # Nothing of a teacher is differentiated.
    own: Any = {"attn_implementation": attention, "quantization": loaded.quantization}
    found = load_model(name, dtype=dtype, device=str(loaded.device), **own)
    sizes = [vocabulary_size(model.model) for model in (loaded, found)]
    if tokenizer_fingerprint(found.tokenizer) != tokenizer_fingerprint(loaded.tokenizer) or sizes[0] != sizes[1]:
        raise ConfigError(
            f"'{name}' has another tokenizer than the model, or as many tokens as it has not: it can't teach the same tokens.",
            where="`teacher_model`",
            remedy="give the model that was fine-tuned, or an early snapshot of the training",
        )
    return found


def _read(loaded: Model, examples: Sequence[Example], *, beta: float) -> Teacher:
    """The teacher's pass over the rows, without dropout."""
    model, pad = loaded.model, loaded.tokenizer.pad_token_id
    rows: dict[str, Kept] = {}
    losses: dict[str, float] = {}

    def read(_: list[int], batch: Batch) -> tuple[list[Kept], list[float]]:
        kept, logits, targets, segments = _predicted(model, batch)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        nll = cross_entropies(_lowered(wide, targets, beta), targets, first=batch.row_ids[0])
        own = [segments == index for index in range(len(batch))]
        place = logits.device if kept.states else "cpu"
        return [Kept(kept.values[mask].to(place), kept.states) for mask in own], [
            nll[mask].mean().item() for mask in own
        ]

    source = GradientSource(model, pad, token_budget=TOKEN_BUDGET)
    with torch.no_grad(), evaluating(model), progress.task("teacher", len(examples)) as advance:
        for places, found in source.each(examples, read, advance=advance):
            names = [examples[place].row_id for place in places]
            rows |= dict(zip(names, found[0], strict=True))
            losses |= dict(zip(names, found[1], strict=True))
        head = model.get_output_embeddings()
        # A copy: the head may be merged into, or trained.
        copied = (head.weight.clone(), None if head.bias is None else head.bias.clone()) if _is_plain(head) else None
    return Teacher(rows, copied, beta, fmean(losses.values()))


def _predicted(model: Any, batch: Batch) -> tuple[Kept, Tensor, Tensor, Tensor]:
    """What is to be kept of a batch, its logits, the tokens that they predict, and the row that each belongs to."""
    head, seen = model.get_output_embeddings(), []
    handle = head.register_forward_hook(lambda _, given, made: seen.append((given[0], made)))
    try:
        logits, targets, segments = labelled_logits(model, batch)
    finally:
        handle.remove()
    states, made = seen[-1]
    if _is_plain(head) and torch.equal(made.reshape(logits.shape).to(logits.dtype), logits):
        return Kept(states.reshape(len(logits), -1), True), logits, targets, segments
    return Kept(logits, False), logits, targets, segments


def _is_plain(head: nn.Module) -> bool:
    return type(head) is nn.Linear


def _lowered(logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"], beta: float) -> Float[Tensor, "N V"]:
    return logits.scatter_add(1, targets[:, None], logits.new_full((len(targets), 1), -beta)) if beta else logits
