"""Per-sample gradients of a batch, from one forward and one activations-only backward of the summed example losses.

No weight gradient is computed and no example is run alone, as long as a batch can be taken apart: a forward hook keeps what went into each chosen
module; a hook on the module's output gets the gradient as the backward pass arrives there, makes the per-sample gradients of that one module, hands
them on, and lets go of both. The graph begins at the lowest chosen module: nothing below it is differentiated. What hooks can't do, or do wrongly, is
found out before the first batch (`routes`), and is left to autograd, one example at a time.
"""

import contextlib
from collections.abc import Sequence

from torch import Tensor, nn

from unweave.data.batches import Batch, collate
from unweave.data.encoding import Example
from unweave.errors import ModelError
from unweave.gradients.capture import Collector, Consumer, Interceptor
from unweave.gradients.loss import TokenLosses
from unweave.gradients.passes import Pass, Reduction, frozen_in_evaluation, zero_gradients
from unweave.gradients.pieces import gradient_piece
from unweave.gradients.routes import Route, find_routes, send_alone
from unweave.models.selection import SelectedParameter

__all__ = ["Consumer", "Interceptor", "Reduction", "frozen_in_evaluation", "per_sample_gradients", "rows_a_batch"]


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

    Equal to a loop of `torch.autograd.grad` over the examples, whatever the model, the padding, packing, gradient checkpointing or tying
    of weights; dropout is off.

    Args:
        model: A Hugging Face causal model.
        batch: The examples, on the model's device.
        parameters: Whose gradients, from `select_parameters`.
        consume: Called once a parameter with its name and the gradients [B, *shape of the parameter], as soon as they are
            complete, mostly in the order of the backward pass. It must not keep the tensor it is given unless it wants the memory spent.
        reduction: `mean` differentiates the mean loss over an example's labelled tokens, `sum` their sum.
        intercept: Gets the factors of each parameter that is used once, padding zeroed in one of the two at least; where it returns True, no
            gradient is made of them and `consume` does not hear of that parameter.
        frozen: Whether the model is in `frozen_in_evaluation` already, as when many batches follow each other.

    Returns:
        The token losses, detached.

    Raises:
        ModelError: When a chosen parameter takes no part in the loss, so that it has no gradient.
    """
    freeze = contextlib.nullcontext() if frozen else frozen_in_evaluation(model)
    with freeze:
        routes = find_routes(model, batch, parameters)
        by_route = {route: [item for item in parameters if routes[item.name] is route] for route in Route}
        hooked, alone, idle = by_route[Route.HOOKS], by_route[Route.ALONE], by_route[Route.IDLE]
        _refuse_idle(idle, of=len(parameters))
        single = len(batch) == 1
        took: set[str] = set()

        def differentiated(item: SelectedParameter, gradient: Tensor) -> None:
            # The gradient of a batch of one is its example's.
            took.add(item.name)
            if single:
                consume(item.name, gradient[None].contiguous())

        run = Pass(model, batch, reduction)
        collector = Collector(consume, intercept=intercept, piece=gradient_piece)
        observed = [item for item in idle if item.parameter.is_floating_point()]
        losses = run.run(hooked, collector, differentiated=[*observed, *(alone if single else ())], took=differentiated)
        unseen = [item for item in hooked if item.name not in collector.done]
        unseen += [item for item in observed if item.name in took]
        if unseen:
            send_alone(model, unseen)
        again = [item for item in [*unseen, *alone] if not (single and item.name in took)]
        if again:
            _refuse_quantised(again)
            run.run_alone(again, consume)
    for item in idle:
        if item.name not in took:
            consume(item.name, zero_gradients(item, len(batch)))
    return TokenLosses(losses.nll.detach(), losses.segments, losses.size)


def rows_a_batch(
    model: nn.Module, parameters: Sequence[SelectedParameter], examples: Sequence[Example], *, pad_token_id: int
) -> int | None:
    """The most rows that a batch should have: one where some gradients are computed one row at a time anyway, which then take no pass of their own.

    Args:
        model: The model.
        parameters: The parameters.
        examples: What will be in the batches.
        pad_token_id: What to pad with.

    Returns:
        1, or `None` for no limit; for `plan_batches`.
    """
    if not examples:
        return None
    batch = collate(examples[:1], pad_token_id=pad_token_id).to(next(model.parameters()).device)
    with frozen_in_evaluation(model):
        routes = find_routes(model, batch, parameters)
    return 1 if Route.ALONE in routes.values() else None


def _refuse_idle(idle: Sequence[SelectedParameter], *, of: int) -> None:
    if len(idle) == of:
        raise ModelError("No chosen parameter takes part in the loss.", remedy="choose other `parameters`")
    if named := sorted(item.name for item in idle if not item.of_group):
        raise ModelError(
            f"{len(named)} chosen parameter(s) took no part in the loss: {', '.join(named[:3])}.",
            remedy="leave them out of `parameters`",
        )


def _refuse_quantised(items: Sequence[SelectedParameter]) -> None:
    if stored := sorted(item.name for item in items if not item.parameter.is_floating_point()):
        raise ModelError(
            f"{len(stored)} chosen parameter(s) are quantised, and used in another way than as a linear layer's weight: {', '.join(stored[:3])}.",
            where="`parameters`",
            remedy="load the model without `quantization`, or leave them out of `parameters`",
        )
