"""One forward and one backward pass: over a batch with hooks, or over one of its examples alone."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from unweave.data.batches import Batch
from unweave.gradients.capture import Collector, Consumer, captured, observed
from unweave.gradients.layout import ExampleLayout
from unweave.gradients.loss import TokenLosses, token_losses
from unweave.models.evaluation import evaluating
from unweave.models.selection import SelectedParameter, gradient_shape

Reduction = Literal["mean", "sum", "root"]
"""Of an example's T token losses: their mean, their sum, or the sum over the root of T, whose gradients under labels drawn from the model have the
Gauss-Newton matrix of the mean as their covariance: each token's own covariance is added up once, and weighs 1/T."""


@dataclass(frozen=True)
class Pass:
    """What is differentiated.

    Attributes:
        model: A Hugging Face causal model, in `frozen_in_evaluation`.
        batch: The examples, on the model's device.
        reduction: Of an example's losses.
    """

    model: nn.Module
    batch: Batch
    reduction: Reduction = "mean"

    def run(
        self,
        hooked: Sequence[SelectedParameter],
        collector: Collector,
        *,
        differentiated: Sequence[SelectedParameter] = (),
        took: Callable[[SelectedParameter, Tensor], None] = lambda *_: None,
        only: int | None = None,
    ) -> TokenLosses:
        """Differentiate the sum of the examples' losses.

        Args:
            hooked: Parameters whose gradients the collector makes.
            collector: Gets their parts.
            differentiated: Parameters that autograd differentiates.
            took: Gets the gradient of each of these that the loss depends on.
            only: Differentiate the loss of this example only.

        Returns:
            The losses.
        """
        head = self.model.get_output_embeddings()  # type: ignore[operator]
        layout = ExampleLayout(self.batch)
        with captured(hooked, layout, head, collector), observed(differentiated, took), torch.enable_grad():
            losses = token_losses(self.model, self.batch)
            values = losses.means() if self.reduction == "mean" else losses.sums()
            if self.reduction == "root":
                values = losses.means() * losses.counts().sqrt()
            collector.begin_backward()
            if values.requires_grad:
                (values.sum() if only is None else values[only]).backward()
        collector.finish()
        return losses

    def run_alone(self, items: Sequence[SelectedParameter], consume: Consumer) -> None:
        """Let autograd differentiate the loss of one example after the other: exact whatever a parameter is used for.

        Args:
            items: The parameters.
            consume: Gets their gradients.
        """
        found: dict[str, Tensor] = {}
        for index in range(len(self.batch)):
            single = Pass(self.model, example_of(self.batch, index), self.reduction)

            def took(item: SelectedParameter, gradient: Tensor, index: int = index) -> None:
                if item.name not in found:
                    found[item.name] = gradient.new_zeros((len(self.batch), *gradient.shape))
                found[item.name][index] = gradient

            single.run((), Collector(consume), differentiated=items, took=took)
        for item in items:
            gradient = found.pop(item.name, None)
            consume(item.name, zero_gradients(item, len(self.batch)) if gradient is None else gradient)


def example_of(batch: Batch, index: int) -> Batch:
    """One example of a batch as a batch of its own, without padding.

    Args:
        batch: A padded or packed batch.
        index: Which.

    Returns:
        A padded batch of one row.
    """
    own = batch.segments == index
    ids, labels, positions = (
        tensor.expand(own.shape)[own][None] for tensor in (batch.input_ids, batch.labels, batch.position_ids)
    )
    return Batch((batch.row_ids[index],), ids, labels, torch.zeros_like(ids), positions, torch.ones_like(ids))


def zero_gradients(item: SelectedParameter, examples: int) -> Tensor:
    """The gradients of a parameter that had no part in the losses.

    Args:
        item: The parameter.
        examples: How many.

    Returns:
        Zeros.
    """
    dtype = item.parameter.dtype if item.parameter.is_floating_point() else torch.float32
    return torch.zeros(examples, *gradient_shape(item), dtype=dtype, device=item.parameter.device)


@contextlib.contextmanager
def frozen_in_evaluation(model: nn.Module) -> Iterator[None]:
    """Dropout off and no parameter differentiated, within the block; both are put back afterwards.

    Args:
        model: The model.

    Yields:
        Nothing.
    """
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with evaluating(model):
        try:
            for parameter, _ in flags:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
