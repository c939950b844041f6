"""Fast-NTK: the linearised adapter retrained in closed form with and without the forget rows (Li et al., arXiv 2312.14923; Golatkar et al., arXiv 2003.02960).

In the tangent space of the adapter each output f has a gradient, and the linear model that fits outputs y on a set S by ridge regression, from outputs f0
before training, moves the parameters by w(S) = -G'(G G' + n lambda I)^-1 (f0 - y), G the gradients of the outputs on S, n their number. The edit is
w(R) - w(R and F): what training on the retain rows alone would have made otherwise.

Outputs are the log-odds log p / (1 - p) of the answers' tokens, averaged over each of `outputs` stretches of a row. A loss will not do: its gradient dies
with 1 - p, so that rows known by heart have nothing to move. f0 are the outputs with the adapter off, y those with it on: the linear model explains what
the adapter has learned, and its w(R) what would be known of F without F. So the retrained model's outputs follow, instead of being set.

A linear model's steps are seldom as long as the real ones. `scaling` says how far to go along the edit: until the forget rows have the loss that is the
target, by default the one that they had before the adapter; by the formula, times `scale`; or by the papers' trapezium: the step from the linear model of
all rows to that of R, and the step from the real model to the unknown retrained one, are taken for the parallel sides of an isosceles trapezium, whose legs
are the linear models' errors e. The real side is then longer by 2 |cos(e, edit)| |e|. (The adapter's beginning is B = 0; what A was at first is not known,
and counts as not moved.)
"""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unweave import progress
from unweave.curvature.base import Problem
from unweave.data.batches import collate
from unweave.data.encoding import Example
from unweave.errors import ConfigError
from unweave.gradients.loss import labelled_logits
from unweave.gradients.per_sample import frozen_in_evaluation
from unweave.models.adapters import switches_off
from unweave.unlearning.applying import apply_edit
from unweave.unlearning.context import Context
from unweave.unlearning.edits.problem import parameters_of, problem_of
from unweave.unlearning.stopping import checked_rows
from unweave.unlearning.target import adapter_off, loss_at_base

if TYPE_CHECKING:
    from unweave.unlearning.methods.fast_ntk import FastNTK

Kernel = Float[Tensor, "n n"]
Vector = Float[Tensor, " n"]


BIASES = (
    "the adapter was trained with biases of the base, which stay when it is switched off: fast-ntk's starting point is the base with these biases, "
    "so that what they learned is not taken out"
)


def refit(method: "FastNTK", context: Context) -> dict[str, Any]:
    """Solve both regressions and add their difference.

    Args:
        method: Outputs, ridge and scaling.
        context: Model and rows.

    Returns:
        The edit's own length, and what `apply_edit` gives.

    Raises:
        ConfigError: When the gradients do not fit, or a target is given that the scaling does not use.
    """
    if method.scaling != "target" and context.target is not None:
        raise ConfigError(
            f"The scaling '{method.scaling}' says how far to go: there is no target to stop at.",
            where="`scaling`, `target`, `target_loss`",
            remedy="leave one of them out",
        )
    rows = [row for row in context.rows if row.weight]
    problem = problem_of(context, method, rows)
    parameters = parameters_of(problem)
    counts = [min(method.outputs, len(row.example.label_positions)) for row in rows]
    size = sum(parameter.numel() for parameter in parameters.values())
    if (need := 4 * size * sum(counts) / 2**30) > method.max_gib:
        raise ConfigError(
            f"The gradients of {sum(counts)} outputs take {need:.1f} GiB.",
            where="`max_gib`",
            remedy="raise it, lower `outputs`, or give fewer rows",
        )
    now, gradients = output_gradients(problem, method.outputs)
    with adapter_off(context.loaded.model):
        start = outputs_of(problem, method.outputs)
    kernel = sum((own @ own.T).double() for own in gradients.values())
    assert isinstance(kernel, Tensor)
    owners = [row for row, count in zip(rows, counts, strict=True) for _ in range(count)]
    weights = torch.tensor([row.weight for row in owners], dtype=torch.float64, device=kernel.device)
    retain = torch.tensor([not row.is_forget for row in owners], device=kernel.device)
    ridge = method.ridge * float(kernel.diagonal().mean()) / len(owners)
    learned = now - start
    combined = coefficients(kernel, learned, weights, ridge=ridge)
    kept = torch.zeros_like(combined)
    kept[retain] = coefficients(kernel[retain][:, retain], learned[retain], weights[retain], ridge=ridge)
    difference = kept - combined
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    delta = {name: (difference.to(own) @ own).view(shapes[name]) for name, own in gradients.items()}
    whole = {name: (combined.to(own) @ own).view(shapes[name]) for name, own in gradients.items()}
    gradients.clear()
    target, first = None, method.scale
    if method.scaling == "target":
        target = _target(context)
    elif method.scaling == "trapezium":
        first *= trapezium(delta, _error(parameters, whole))
    applied = apply_edit(context, parameters, delta, name=method.name, first=first, target=target)
    if not switches_off(context.loaded.model):
        applied["cautions"] = [*applied["cautions"], BIASES]
    return {"edit_norm": _norm(delta), **applied}


def coefficients(kernel: Kernel, learned: Vector, weights: Vector, *, ridge: float) -> Vector:
    """The weights c of the outputs' gradients in the ridge solution w = G' c, c = (K + n lambda W^-1)^-1 (y - f0).

    Args:
        kernel: K, inner products of the outputs' gradients.
        learned: y - f0, what the linear model is to explain.
        weights: W, how much the square of each output's error counts.
        ridge: lambda.

    Returns:
        One an output.
    """
    return torch.linalg.solve(kernel + (len(learned) * ridge / weights).diag(), learned.to(kernel.dtype))


def log_odds(logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """log p / (1 - p) of each target: its logit less the log-sum-exp of all others, so that no 1 - p is rounded to 0.

    Args:
        logits: Logits.
        targets: The tokens.

    Returns:
        In float32 or wider.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    own = wide.gather(1, targets[:, None])
    return (own - wide.scatter(1, targets[:, None], float("-inf")).logsumexp(dim=1, keepdim=True)).squeeze(1)


def output_gradients(problem: Problem, outputs: int) -> tuple[Vector, dict[str, Float[Tensor, "n D"]]]:
    """The outputs of all rows, and their gradients.

    Args:
        problem: Rows and parameters.
        outputs: Outputs a row.

    Returns:
        Outputs; and parameter's name to one gradient an output, in float32 or wider.
    """
    model, items = problem.sketcher.model, problem.sketcher.parameters
    found: dict[str, list[Tensor]] = {item.name: [] for item in items}
    values: list[Tensor] = []
    with frozen_in_evaluation(model), progress.task("fast-ntk", len(problem.rows)) as advance:
        for item in items:
            item.parameter.requires_grad_(True)
        for example in problem.rows:
            with torch.enable_grad():
                own = _outputs(problem, example, outputs)
                for index, value in enumerate(own):
                    pieces = torch.autograd.grad(
                        value, [item.parameter for item in items], retain_graph=index + 1 < len(own), allow_unused=True
                    )
                    for item, piece in zip(items, pieces, strict=True):
                        whole = torch.zeros_like(item.parameter) if piece is None else piece
                        found[item.name].append(whole.flatten().to(own.dtype))
            values.append(own.detach())
            advance(1)
    return torch.cat(values).double(), {name: torch.stack(found.pop(name)) for name in list(found)}


@torch.no_grad()
def outputs_of(problem: Problem, outputs: int) -> Vector:
    """The outputs of all rows.

    Args:
        problem: Rows and model.
        outputs: Outputs a row.

    Returns:
        Log-odds in nats, stretch by stretch, row by row.
    """
    with frozen_in_evaluation(problem.sketcher.model):
        return torch.cat([_outputs(problem, example, outputs) for example in problem.rows]).double()


def _outputs(problem: Problem, example: Example, outputs: int) -> Vector:
    batch = collate([example], pad_token_id=problem.sketcher.pad_token_id).to(problem.sketcher.device)
    logits, targets, _ = labelled_logits(problem.sketcher.model, batch)
    parts = log_odds(logits, targets).tensor_split(min(outputs, len(targets)))
    return torch.stack([part.mean() for part in parts])


def trapezium(delta: dict[str, Tensor], error: dict[str, Tensor]) -> float:
    """The factor of the edit by which the real step is longer than the linear one.

    Args:
        delta: The linear step.
        error: What the real model of all rows has beyond the linear one.

    Returns:
        1 + 2 |<e, delta>| / |delta|^2.
    """
    inner = sum(float((delta[name].double() * error[name].double()).sum()) for name in delta)
    square = _norm(delta) ** 2
    return 1 + 2 * abs(inner) / square if square else 1.0


def _error(parameters: dict[str, Tensor], whole: dict[str, Tensor]) -> dict[str, Tensor]:
    """The real move of the parameters from the adapter's beginning, less the linear model's."""
    moved = {
        name: own.detach().to(whole[name]) if ".lora_B." in name else torch.zeros_like(whole[name])
        for name, own in parameters.items()
    }
    return {name: moved[name] - whole[name] for name in moved}


def _norm(vectors: dict[str, Tensor]) -> float:
    return sum(float(own.double().square().sum()) for own in vectors.values()) ** 0.5


def _target(context: Context) -> float:
    """The target given, or the loss of the forget rows before anything of them was learned."""
    if context.target is not None:
        return context.target
    found = loss_at_base(context.loaded, checked_rows(context)[0])
    progress.say(f"fast-ntk: the target is {found:.2f} nats a token, which the forget rows have with the adapter off")
    return found
