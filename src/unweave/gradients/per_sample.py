"""Per-sample gradients of a batch, from one forward and one activations-only backward of the summed example losses.

No weight gradient is ever computed and no example is run alone. A forward hook keeps what went into each chosen module; a hook on the
module's output gets the gradient as the backward pass arrives there, makes the per-sample gradients of that one module, hands them on, and
lets go of both. The graph begins at the lowest chosen module: nothing below it is differentiated.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unweave.data.batches import Batch
from unweave.errors import ModelError
from unweave.gradients.loss import TokenLosses, predicting_positions, token_losses
from unweave.gradients.pieces import gradient_piece
from unweave.models.selection import SelectedParameter, Use, is_linear_weight

Reduction = Literal["mean", "sum"]
Consumer = Callable[[str, Float[Tensor, "B ..."]], None]
Interceptor = Callable[[SelectedParameter, Use, Tensor, Tensor], bool]
"""Sees the inputs and output gradients of a use in example layout [B, T, features], and says whether it has dealt with them."""


def per_sample_gradients(
    model: nn.Module,
    batch: Batch,
    parameters: Sequence[SelectedParameter],
    consume: Consumer,
    *,
    reduction: Reduction = "mean",
    intercept: Interceptor | None = None,
    frozen: bool = False,
) -> TokenLosses:
    """Compute the gradient of every example's own loss, one parameter at a time.

    Equal to a loop of `torch.autograd.grad` over the examples, whatever the padding, packing, gradient checkpointing or tying
    of weights; dropout is off.

    Args:
        model: A Hugging Face causal model.
        batch: The examples, on the model's device.
        parameters: Whose gradients, from `select_parameters`.
        consume: Called once a parameter with its name and the gradients [B, *shape of the parameter], as soon as they are
            complete, in the order of the backward pass. It must not keep the tensor it is given unless it wants the memory spent.
        reduction: `mean` differentiates the mean loss over an example's labelled tokens, `sum` their sum.
        intercept: Gets the factors of each use, padding zeroed in one of the two at least; where it returns True, no gradient is
            made of them and `consume` does not hear of that use.
        frozen: Whether the model is in `frozen_in_evaluation` already, as when many batches follow each other.

    Returns:
        The token losses, detached.

    Raises:
        ModelError: When a chosen parameter took no part in the loss, so that it has no gradient.
    """
    layout = _ExampleLayout(batch)
    pending = {item.name: len(item.uses) for item in parameters}
    partial: dict[str, Tensor] = {}

    def arrived(item: SelectedParameter, use: Use, values: Tensor, grads: Tensor) -> None:
        if not pending.get(item.name):
            raise ModelError(
                f"The module of {item.name} runs twice in one forward pass.", remedy="leave it out of --parameters"
            )
        pending[item.name] -= 1
        if not (intercept and intercept(item, use, values, grads)):
            piece = gradient_piece(use, values, grads)
            if len(item.uses) > 1:
                piece = piece.to(torch.promote_types(piece.dtype, torch.float32))
            partial[item.name] = partial.pop(item.name).add_(piece) if item.name in partial else piece
        if not pending[item.name] and item.name in partial:
            consume(item.name, partial.pop(item.name))

    head = model.get_output_embeddings()  # type: ignore[operator]
    freeze = contextlib.nullcontext() if frozen else frozen_in_evaluation(model)
    with freeze, _hooks(parameters, layout, head, arrived), torch.enable_grad():
        losses = token_losses(model, batch)
        per_example = losses.means() if reduction == "mean" else losses.sums()
        if not per_example.requires_grad:
            raise ModelError("No chosen parameter takes part in the loss.", remedy="choose other --parameters")
        per_example.sum().backward()
    if missing := sorted(name for name, uses in pending.items() if uses):
        raise ModelError(
            f"{len(missing)} chosen parameter(s) took no part in the loss: {', '.join(missing[:3])}.",
            remedy="leave them out of --parameters",
        )
    return TokenLosses(losses.nll.detach(), losses.segments, losses.size)


class _ExampleLayout:
    """Brings tensors of token layout [B, T, ...] into example layout [N, longest, ...]; for padded batches they are the same."""

    def __init__(self, batch: Batch):
        self.tokens = batch.segments.shape
        self.labelled, _, _ = predicting_positions(batch)
        self.index: Tensor | None = None
        self.mask = batch.segments >= 0
        if batch.attention_mask is None:
            lengths = torch.bincount(batch.segments[0], minlength=len(batch))
            offsets = torch.arange(int(lengths.max()), device=lengths.device)
            self.index = ((lengths.cumsum(0) - lengths)[:, None] + offsets).clamp(max=self.tokens[1] - 1)
            self.mask = offsets[None, :] < lengths[:, None]
        self.inside_hook = False

    def __call__(self, tensor: Tensor, *, zero: bool, of_head: bool) -> Tensor:
        # Padding on the right needs no clearing: no token sees it, so its gradients are exactly zero. What `zero` clears are the
        # tokens of other examples in a packed sequence.
        if of_head:
            tensor = self._scatter(tensor)
        if self.index is None:
            return tensor
        tensor = tensor[0][self.index]
        if not zero:
            return tensor
        return tensor * self.mask.reshape(*self.mask.shape, *[1] * (tensor.ndim - 2))

    def per_example(self, tensor: Tensor) -> Tensor:
        """What is computed once for all examples, as position embeddings are, with a batch dimension of its own."""
        return tensor.expand(self.tokens[0], *tensor.shape[1:]) if len(tensor) == 1 else tensor

    def _scatter(self, tensor: Tensor) -> Tensor:
        """The output head sees labelled positions only, as [1, N, ...]: put them back where they came from."""
        full = tensor.new_zeros((*self.tokens, *tensor.shape[2:]))
        full[self.labelled] = tensor[0]
        return full


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
    try:
        model.eval()
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        # Gradient checkpointing works only in training mode: the checkpointed layer gets it back, what is inside it stays without dropout.
        for module, mode in modes:
            if getattr(module, "gradient_checkpointing", False):
                module.training = mode
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def _hooks(
    parameters: Sequence[SelectedParameter],
    layout: _ExampleLayout,
    head: nn.Module | None,
    arrived: Callable[[SelectedParameter, Use, Tensor, Tensor], None],
) -> Iterator[None]:
    """Hooks on every module that holds a chosen parameter."""
    by_module: dict[nn.Module, list[tuple[SelectedParameter, Use]]] = {}
    for item in parameters:
        for use in item.uses:
            by_module.setdefault(use.module, []).append((item, use))
    handles = [
        module.register_forward_hook(_forward_hook(held, layout, module is head, arrived))
        for module, held in by_module.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _forward_hook(
    held: list[tuple[SelectedParameter, Use]],
    layout: _ExampleLayout,
    of_head: bool,
    arrived: Callable[[SelectedParameter, Use, Tensor, Tensor], None],
) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    only_products = all(is_linear_weight(use) for _, use in held)

    def forward(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        # Pieces of norms run their module again, for its derivative.
        if layout.inside_hook:
            return output
        activations = inputs[0].detach()
        if not of_head:
            activations, output = layout.per_example(activations), layout.per_example(output)
        # The lowest chosen modules get inputs outside the graph: the graph begins at their output.
        if not output.requires_grad:
            output = output.detach().requires_grad_()

        def backward(gradient: Tensor) -> None:
            layout.inside_hook = True
            try:
                with torch.no_grad():
                    # One of two factors without padding is enough for their product, and for all else it must be the gradients.
                    narrow_inputs = only_products and activations.shape[-1] < gradient.shape[-1]
                    grads = layout(gradient, zero=not narrow_inputs, of_head=of_head)
                    values = layout(activations, zero=narrow_inputs, of_head=of_head)
                    for item, use in held:
                        arrived(item, use, values, grads)
            finally:
                layout.inside_hook = False

        output.register_hook(backward)
        return output

    return forward
