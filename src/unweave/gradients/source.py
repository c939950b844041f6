"""Whose gradients of which loss, in which batches: the one loop that losses, norms, sketches, curvature and exact products share.

It plans batches of like length by a budget of tokens, pads them, moves them to the model's device, and cuts a batch in halves when the device's memory
runs out: a GPU's, or the CPU's, before the system ends the process.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.data.batches import Batch, collate, plan_batches
from unweave.data.encoding import Example
from unweave.devices import is_out_of_memory, release, within_memory
from unweave.errors import ModelError
from unweave.gradients.capture import Consumer, Interceptor
from unweave.gradients.loss import TokenLosses
from unweave.gradients.passes import Reduction, frozen_in_evaluation
from unweave.gradients.per_sample import per_sample_gradients, rows_a_batch
from unweave.models.selection import SelectedParameter

T = TypeVar("T")


@dataclass(frozen=True)
class GradientSource:
    """A model, whose gradients count, and how much of it goes into a batch.

    Attributes:
        model: A Hugging Face causal model.
        pad_token_id: What to pad with.
        parameters: Whose gradients, from `select_parameters`; none where only losses or activations are asked for.
        reduction: Of a row's token losses.
        token_budget: Tokens a batch, padding included.
    """

    model: Any
    pad_token_id: int
    parameters: Sequence[SelectedParameter] = ()
    reduction: Reduction = "mean"
    token_budget: int = 1024

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def batch(self, examples: Sequence[Example]) -> Batch:
        """Some examples as one batch.

        Args:
            examples: The examples.

        Returns:
            The batch, on the model's device.
        """
        return collate(examples, pad_token_id=self.pad_token_id).to(self.device)

    def plan(self, examples: Sequence[Example], *, token_budget: int | None = None) -> list[list[int]]:
        """Group examples into batches that suit the model.

        Args:
            examples: The examples.
            token_budget: Tokens a batch; by default the source's.

        Returns:
            As `plan_batches`; one row a batch where gradients are computed one row at a time anyway.
        """
        most = None
        if self.parameters:
            most = rows_a_batch(self.model, self.parameters, examples, pad_token_id=self.pad_token_id)
        budget = token_budget or self.token_budget
        return plan_batches([len(example) for example in examples], token_budget=budget, max_rows=most)

    def each(
        self,
        examples: Sequence[Example],
        work: Callable[[list[int], Batch], T],
        *,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Iterator[tuple[list[int], T]]:
        """Do something with every batch; where memory runs out, with its halves.

        Args:
            examples: The examples.
            work: Called with the places of a batch's examples and the batch, and again with its halves: what the first call left behind must not count.
            advance: Called with the number of examples just done.

        Yields:
            The places of a batch's examples, and what `work` gave.

        Raises:
            ModelError: When memory runs out on a single example.
        """
        for places in self.plan(examples):
            yield from self._halving(examples, places, work, advance)

    def _halving(
        self,
        examples: Sequence[Example],
        places: list[int],
        work: Callable[[list[int], Batch], T],
        advance: Callable[[int], None],
    ) -> Iterator[tuple[list[int], T]]:
        done: list[T] = []
        # A single row is tried whatever is left: others may have taken the memory.
        guard = within_memory(self.device) if len(places) > 1 else contextlib.nullcontext()
        try:
            with guard:
                done.append(work(places, self.batch([examples[place] for place in places])))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(places) == 1:
                example = examples[places[0]]
                raise ModelError(
                    f"Out of memory on the single row {example.row_id} of {len(example)} tokens.",
                    remedy="lower `max_length`, use `quantization` 4bit, or a larger device",
                ) from None
        if done:
            advance(len(places))
            yield places, done[0]
            return
        release(self.device)
        for half in (places[: len(places) // 2], places[len(places) // 2 :]):
            yield from self._halving(examples, half, work, advance)

    def differentiate(
        self,
        batch: Batch,
        consume: Consumer,
        *,
        reduction: Reduction | None = None,
        intercept: Interceptor | None = None,
        frozen: bool = True,
    ) -> TokenLosses:
        """The per-sample gradients of one batch.

        Args:
            batch: The batch.
            consume: Gets each parameter's gradients, as in `per_sample_gradients`.
            reduction: Of a row's losses; by default the source's.
            intercept: As in `per_sample_gradients`.
            frozen: Whether the model is in `frozen_in_evaluation` already.

        Returns:
            The token losses, detached.
        """
        return per_sample_gradients(
            self.model,
            batch,
            self.parameters,
            consume,
            reduction=reduction or self.reduction,
            intercept=intercept,
            frozen=frozen,
        )

    def norms(
        self, examples: Sequence[Example], *, advance: Callable[[int], None] = lambda _: None
    ) -> Float[Tensor, " n"]:
        """The norm of each example's whole gradient.

        Args:
            examples: The examples.
            advance: Called with the number of examples just done.

        Returns:
            float64, in the order of the examples.
        """
        squares = torch.zeros(len(examples), dtype=torch.float64)

        def work(_: list[int], batch: Batch) -> Tensor:
            own = torch.zeros(len(batch), dtype=torch.float64)

            def add(_: str, piece: Tensor) -> None:
                own.add_(piece.flatten(1).float().square().sum(dim=1).double().cpu())

            self.differentiate(batch, add)
            return own

        with frozen_in_evaluation(self.model):
            for places, own in self.each(examples, work, advance=advance):
                squares[places] = own
        return squares.sqrt()
