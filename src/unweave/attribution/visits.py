"""How much each row was trained on, and when: what a step's size becomes once momentum, clipping and weight decay have acted, and the share of each row in it.

A gradient enters AdamW's mean with the share 1 - b1 and leaves it by b1 a step, so that it moves the parameters over the steps that follow. With everything but
the step sizes standing still over these, what the gradient of step t is multiplied with in all is

    e_t = c_t sum_{k >= t} lr_k (1 - b1) b1^(k - t) / (1 - b1^(k + 1)) prod_{j > k} (1 - lr_j wd)

with c_t what clipping left of it. That is TracIn's step size (arXiv 2002.08484) for AdamW; the sum over the momentum's tail is ours.
"""

import re
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.data.batches import Batch
from unweave.gradients.passes import frozen_in_evaluation
from unweave.gradients.source import GradientSource
from unweave.models.selection import select_parameters
from unweave.train.record import Options
from unweave.train.replay import CLIP_EPSILON, Run
from unweave.train.states import State, Tensors

TOKEN_BUDGET = 2048


def effective_rates(
    rates: Sequence[float], options: Options, *, norms: Sequence[float] = ()
) -> Float[Tensor, " steps"]:
    """What the gradient of each step is multiplied with in all.

    Args:
        rates: Step sizes.
        options: Of AdamW.
        norms: Of each step's gradient before it was clipped; without them nothing counts as clipped.

    Returns:
        float64.
    """
    total = len(rates)
    found, tail, decay = [0.0] * total, 0.0, 1.0
    for step in reversed(range(total)):
        tail = rates[step] * (1 - options.beta1) / (1 - options.beta1 ** (step + 1)) * decay + options.beta1 * tail
        found[step] = tail
        decay *= 1 - rates[step] * options.weight_decay
    kept = torch.tensor(found, dtype=torch.float64)
    if options.max_grad_norm > 0 and norms:
        kept *= (options.max_grad_norm / (torch.tensor(norms, dtype=torch.float64) + CLIP_EPSILON)).clamp(max=1.0)
    return kept


def nearest(steps: int, places: Sequence[int]) -> list[int]:
    """Which snapshot stands for each step.

    Args:
        steps: Steps of the run.
        places: After how many steps each snapshot was taken.

    Returns:
        For each step the index of the snapshot that is nearest to the parameters that it began with; the earlier of two.
    """
    return [
        min(range(len(places)), key=lambda index: (abs(places[index] - step), places[index])) for step in range(steps)
    ]


def factors_of(run: Run, places: Sequence[int], rates: Float[Tensor, " steps"]) -> Float[Tensor, "s n"]:
    """What the gradient of each row's summed token losses at each snapshot is multiplied with.

    Args:
        run: The run.
        places: After how many steps each snapshot was taken.
        rates: From `effective_rates`.

    Returns:
        float64: of each snapshot and row, the sum over the steps for which the snapshot stands and which held the row.
    """
    found = torch.zeros(len(places), len(run.examples), dtype=torch.float64)
    for step, place in enumerate(nearest(len(run.steps), places)):
        found[place].index_add_(0, torch.tensor(list(run.steps[step])), run.shares(step) * rates[step])
    return found


def even_factors(run: Run, places: Sequence[int], rates: Sequence[float]) -> Float[Tensor, "s n"]:
    """The same of a run whose order is not recorded: every row alike, as often as every other.

    Args:
        run: Rows and mean; its steps and rates are not looked at.
        places: After how many steps each snapshot was taken.
        rates: The step size at each.

    Returns:
        float64; a snapshot stands for the steps up to half way to its neighbours.
    """
    tokens = torch.tensor([example.completion_length for example in run.examples], dtype=torch.float64).clamp(min=1)
    share = torch.full_like(tokens, 1 / float(tokens.sum())) if run.mean == "tokens" else 1 / (len(tokens) * tokens)
    counts = torch.bincount(torch.tensor(nearest(max(places), places)), minlength=len(places))
    return (counts * torch.tensor(rates, dtype=torch.float64))[:, None] * share


def visit_rows(
    run: Run,
    state: State,
    consume: Callable[[list[int], str, Float[Tensor, "B D"]], None],
    *,
    relabel: Callable[[Batch], Batch] = lambda batch: batch,
    places: Sequence[int] | None = None,
) -> None:
    """The gradients of the rows' summed token losses at a state, with dropout off.

    Args:
        run: The run; its model is left at the state.
        state: Where.
        consume: Called with the places of a batch's rows, a parameter's name, and their gradients in float32 or wider.
        relabel: Changes the labels of a batch.
        places: Of the rows; by default all.
    """
    run.load(state)
    names = [f"^{re.escape(name)}$" for name in run.parameters]
    chosen = select_parameters(run.model, names)
    source = GradientSource(run.model, run.pad_token_id, chosen, reduction="sum", token_budget=TOKEN_BUDGET)
    every = list(range(len(run.examples)) if places is None else places)
    rows = [run.examples[place] for place in every]
    with frozen_in_evaluation(run.model):
        for group in source.plan(rows):
            own = [every[index] for index in group]

            def take(name: str, piece: Tensor, own: list[int] = own) -> None:
                flat = piece.flatten(1)
                consume(own, name, flat.to(torch.promote_types(flat.dtype, torch.float32)))

            source.differentiate(relabel(source.batch([rows[index] for index in group])), take)


def add_products(
    run: Run,
    state: State,
    wanted: Tensors,
    factors: Float[Tensor, " n"],
    found: Float[Tensor, "q n"],
) -> None:
    """Add each row's factor times the inner products of its gradient at a state; rows whose factor is zero are not visited.

    Args:
        run: The run; its model is left at the state.
        state: Where.
        wanted: What the gradients are multiplied with: of each parameter, a stack of one a target.
        factors: One a row.
        found: Added to, in float64.
    """
    flat = {name: stack.flatten(1) for name, stack in wanted.items()}

    def consume(places: list[int], name: str, piece: Tensor) -> None:
        products = (flat[name].to(piece) @ piece.T).double().cpu()
        found.index_add_(1, torch.tensor(places), products * factors[places])

    visit_rows(run, state, consume, places=factors.nonzero().flatten().tolist())
