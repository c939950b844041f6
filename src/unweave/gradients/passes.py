"""One forward and one backward pass: over a batch with hooks, or over one of its examples alone."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unweave.data.batches import Batch
from unweave.gradients.capture import Collector, Consumer, captured, watched
from unweave.gradients.layout import ExampleLayout
from unweave.gradients.loss import TokenLosses, token_losses
from unweave.models.selection import SelectedParameter, gradient_shape

Reduction = Literal["mean", "sum"]


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
        with captured(hooked, layout, head, collector), watched(differentiated, took), torch.enable_grad():
            losses = token_losses(self.model, self.batch)
            values = losses.means() if self.reduction == "mean" else losses.sums()
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
    modes = [(module, module.training) for module in model.modules()]
    with contextlib.ExitStack() as stack:
        try:
            model.eval()
            for parameter, _ in flags:
                parameter.requires_grad_(False)
            for module, mode in modes:
                if mode and getattr(module, "gradient_checkpointing", False):
                    stack.enter_context(_checkpointing(module))
            yield
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
            for module, mode in modes:
                module.training = mode


@contextlib.contextmanager
def _checkpointing(module: nn.Module) -> Iterator[None]:
    """Gradient checkpointing works only in training mode: the layer gets it back, without dropout; what is inside it stays in evaluation."""
    changed = {name: value for name, value in vars(module).items() if "drop" in name and isinstance(value, float)}
    function = vars(module).get("_gradient_checkpointing_func")
    if function is not None:
        # Reentrant checkpoints pass on no gradient to what is inside when their inputs need none.
        changed["_gradient_checkpointing_func"] = function
    module.training = True
    try:
        for name in changed:
            setattr(module, name, 0.0)
        if function is not None:
            module._gradient_checkpointing_func = _checkpoint  # type: ignore[assignment]
        yield
    finally:
        for name, value in changed.items():
            setattr(module, name, value)


def _checkpoint(function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    return checkpoint(function, *inputs, use_reentrant=False, **options)
