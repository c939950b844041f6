"""Influence summed over snapshots, with AdamW's own preconditioner at each: what TracIn (Pruthi et al., arXiv 2002.08484) is for plain gradient descent.

    I(z, f) = sum_s <P_s grad f(x_s), grad l(z, x_s)> sum_{t stands at s} e_t [z in batch t] share_t(z),     P_s = 1 / (sqrt(v_s / (1 - b2^s)) + eps)

P_s is the optimizer's own at the snapshot, e_t the step size with momentum's tail, clipping and weight decay (`unweave.attribution.visits`), and the share
what the mean over a batch makes of a row. What is ours: P_s, e_t and the actual visits of each row where a record has them. What is approximated: a step stands
at its nearest snapshot; a row changes its own step alone, not the gradients of later steps (no curvature: `segments` has some, `unrolled` all of it), nor the
second moments that divide them; dropout is off.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.attribution.targets import Target, target_gradients
from unweave.attribution.trained import Trained
from unweave.attribution.visits import add_products, visit_rows
from unweave.train.replay import Run
from unweave.train.states import State, Tensors


def trajectory(
    run: Run,
    targets: Sequence[Target],
    snapshots: Sequence[State],
    factors: Float[Tensor, "s n"],
    *,
    at: Literal["snapshot", "end"] = "snapshot",
    advance: Callable[[int], None] = lambda _: None,
) -> Float[Tensor, "q n"]:
    """The sum over snapshots.

    Args:
        run: Model, rows and options of the optimizer; the model stands at the last snapshot afterwards.
        targets: Functions of the model.
        snapshots: States after at least one step, in their order.
        factors: What rows' gradients are multiplied with at each, from `factors_of` or `even_factors`.
        at: Whether the targets' gradients are those at each snapshot (TracIn), or at the last one.
        advance: Called with 1 for each snapshot done.

    Returns:
        float64: positive where a row's steps lowered the target.
    """
    found = torch.zeros(len(targets), len(run.examples), dtype=torch.float64)
    fixed: Tensors | None = None
    if at == "end":
        run.load(snapshots[-1])
        fixed = target_gradients(run.model, run.parameters, targets)
    for number, state in enumerate(snapshots):
        own = fixed
        if own is None:
            run.load(state)
            own = target_gradients(run.model, run.parameters, targets)
        preconditioner = state.preconditioner(beta=run.options.beta2, epsilon=run.options.epsilon)
        wanted = {name: stack * preconditioner[name].to(stack) for name, stack in own.items()}
        add_products(run, state, wanted, factors[number], found)
        advance(1)
    return found


def estimate(trained: Trained, targets: Sequence[Target]) -> Float[Tensor, "q n"]:
    """`trajectory`, of what a training left.

    Args:
        trained: What it left.
        targets: Functions of the model.

    Returns:
        Scores of the run's rows.
    """
    with progress.task("trajectory", len(trained.snapshots)) as advance:
        return trajectory(trained.run, targets, trained.snapshots, trained.factors, advance=advance)


def self_influence(run: Run, snapshots: Sequence[State], factors: Float[Tensor, "s n"]) -> Float[Tensor, " n"]:
    """The influence of each row on its own summed token losses, by the same sum: large for rows that nothing else supports, wrong ones among them.

    Args:
        run: Model, rows and options of the optimizer.
        snapshots: States after at least one step.
        factors: As for `trajectory`.

    Returns:
        float64, not negative.
    """
    found = torch.zeros(len(run.examples), dtype=torch.float64)
    for number, state in enumerate(snapshots):
        preconditioner = state.preconditioner(beta=run.options.beta2, epsilon=run.options.epsilon)

        def consume(
            places: list[int], name: str, piece: Tensor, scale: Tensors = preconditioner, number: int = number
        ) -> None:
            squares = (piece.square() * scale[name].flatten().to(piece)).sum(dim=1).double().cpu()
            found.index_add_(0, torch.tensor(places), squares * factors[number, places])

        visit_rows(run, state, consume, places=factors[number].nonzero().flatten().tolist())
    return found
