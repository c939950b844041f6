"""What an unlearning run did: forget and retain rows before and after it, and a word where that is nothing, too little, or too much."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from unweave.data.batches import Batch
from unweave.data.encoding import Example
from unweave.gradients.loss import cross_entropies, labelled_logits
from unweave.gradients.source import GradientSource
from unweave.models.evaluation import evaluating

ROWS = 32
"""Rows of each kind that are measured."""

BEGINS = 8
"""Tokens of an answer that a model must choose by itself for its answer to begin as the row's does; all of a shorter answer."""

LITTLE = 0.05
"""A change of a mean loss that may be noise, in nats a token."""

FASTER, SLOWER = 2.5, 0.4
"""Factors of the rate for the next run, after one that did too little, or too much."""


@dataclass(frozen=True)
class Measured:
    """Answers of some rows under a model.

    Attributes:
        losses: l(z) of each row, nats a token.
        begins: Whether greedy decoding begins as the row's answer does: teacher-forced first choices up to a token are what it gives up to it.
        uniform: The loss of a model that gives each of its tokens the same probability.
    """

    losses: list[float]
    begins: list[bool]
    uniform: float

    @property
    def loss(self) -> float:
        """The mean; NaN without rows."""
        return fmean(self.losses) if self.losses else float("nan")


@dataclass(frozen=True)
class Judged:
    """Whether a run did too little, or too much.

    Attributes:
        little: The forget rows' loss hardly rose.
        begins: Some of their answers still begin as the rows' do.
        overshot: Their loss is above that of a model that knows nothing, which betrays them too.
        costly: The retain rows' loss rose.
    """

    little: bool
    begins: bool
    overshot: bool
    costly: bool

    @property
    def short(self) -> bool:
        """Whether it did too little."""
        return self.little or self.begins

    @property
    def factor(self) -> float | None:
        """Of the rate of a run that does better; `None` where this one will do."""
        return SLOWER if self.overshot or self.costly else FASTER if self.short else None


def judged(figures: Mapping[str, Any]) -> Judged:
    """Judge a run by its figures.

    Args:
        figures: As `Effect.to_json` gives them; those that are not there say nothing.

    Returns:
        The judgement.
    """
    was, now = figures.get("forget_loss", (math.nan, math.nan))
    kept_was, kept_now = figures.get("retain_loss", (0.0, 0.0))
    return Judged(
        little=now - was < LITTLE,
        begins=any(figures.get("forget_begins", ())[1:]),
        overshot=now - was >= LITTLE and now > figures.get("uniform_loss", math.inf),
        costly=kept_now - kept_was > LITTLE,
    )


@dataclass(frozen=True)
class Effect:
    """Forget and retain rows before and after.

    Attributes:
        forget: Of the forget rows.
        retain: Of the retain rows.
    """

    forget: tuple[Measured, Measured]
    retain: tuple[Measured, Measured]

    def cautions(self) -> list[str]:
        """What whoever takes the model for one without the rows should know.

        Returns:
            Sentences; none where the forget rows' loss rose, none of their answers comes out, and the retain rows' loss stayed.
        """
        (was, now), (kept_was, kept_now) = self.forget, self.retain
        if (was.losses, kept_was.losses) == (now.losses, kept_now.losses):
            return ["no loss of any row measured changed: the model is the one before"]
        found, verdict = [], judged(self.to_json())
        if verdict.little:
            found.append(
                f"the forget rows' loss went from {was.loss:.3f} to {now.loss:.3f} nats a token: the run did next to nothing to them"
            )
        if verdict.overshot:
            found.append(
                f"the forget rows' loss is {now.loss:.3f} nats a token, above the {now.uniform:.3f} of a model that knows nothing, which betrays them too"
            )
        if verdict.begins:
            found.append(
                f"{sum(now.begins)} of {len(now.begins)} answers still begin as the rows' do ({sum(was.begins)} before)"
            )
        if verdict.costly:
            found.append(
                f"the retain rows' loss rose too, from {kept_was.loss:.3f} to {kept_now.loss:.3f} nats a token"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """The figures; `uniform_loss` is that of a model that knows nothing."""
        found: dict[str, Any] = {}
        for name, pair in (("forget", self.forget), ("retain", self.retain)):
            if pair[0].losses:
                found |= {
                    f"{name}_rows": len(pair[0].losses),
                    f"{name}_loss": [own.loss for own in pair],
                    f"{name}_begins": [sum(own.begins) for own in pair],
                }
        if self.forget[1].losses:
            found["uniform_loss"] = self.forget[1].uniform
        return found


def measured(model: Any, examples: Sequence[Example], *, pad_token_id: int, token_budget: int = 4096) -> Measured:
    """Measure the answers of some rows, with dropout off.

    Args:
        model: A Hugging Face causal model.
        examples: The rows.
        pad_token_id: What to pad with.
        token_budget: Tokens a batch, padding included.

    Returns:
        Loss and beginning of each row's answer.
    """
    losses, begins, uniform = [0.0] * len(examples), [False] * len(examples), math.inf

    def work(_: list[int], batch: Batch) -> tuple[list[float], list[bool], int]:
        logits, targets, segments = labelled_logits(model, batch)
        tokens = cross_entropies(logits, targets, first=batch.row_ids[0])
        hits = logits.argmax(dim=-1) == targets
        own = [segments == slot for slot in range(len(batch))]
        means, starts = (
            [float(tokens[mine].double().mean()) for mine in own],
            [bool(hits[mine][:BEGINS].all()) for mine in own],
        )
        return means, starts, logits.shape[-1]

    source = GradientSource(model, pad_token_id, token_budget=token_budget)
    with torch.inference_mode(), evaluating(model):
        for chosen, (means, starts, vocabulary) in source.each(examples, work):
            uniform = math.log(vocabulary)
            for index, mean, start in zip(chosen, means, starts, strict=True):
                losses[index], begins[index] = mean, start
    return Measured(losses, begins, uniform)
