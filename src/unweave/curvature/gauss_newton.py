"""Products with the Gauss-Newton matrix of the rows' mean loss, without ever making it.

C = 1/n sum_i 1/T_i sum_t J_it^T (diag p_it - p_it p_it^T) J_it, J the derivative of the logits with respect to the chosen parameters. A product C v is
J v, a product in logit space, and J^T of that. J^T u is a backward pass and linear in u, so that J v is the derivative of its graph with respect to u
(Townsend's "double backward" trick). Both graphs are of the parameters alone, not of v: a solver that asks for many products pays for the forward pass
once, and then two passes a product, where forward-mode differentiation runs the model itself again each time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from unweave.curvature.base import Problem
from unweave.data.batches import Batch
from unweave.devices import free_memory
from unweave.gradients.loss import head_sees_only, predicting_positions

HELD_SHARE = 0.5
"""Graphs are held until so much of the memory that was free at first is taken; other batches are run anew for each product."""

GRAPH_BYTES = 3 << 30
"""What the graphs of one batch may take; a fixed number, so that batches, and with them rounding, are the same on every machine."""

GRAPH_VECTORS = 90
"""Vectors of the hidden size that both graphs keep of a token in a layer: 3 MB a token for SmolLM2-135M in bfloat16."""

Vectors = dict[str, Tensor]
"""Tensor's name to a stack of vectors."""


@dataclass(frozen=True)
class Linearised:
    """The map from parameters to a batch's logits, at the parameters as they are.

    Attributes:
        parameters: Name to parameter.
        logits: Of the positions that predict a label, [N, V], with the graph of J^T.
        cotangent: u, zeros.
        pulled: J^T u for each parameter, with the graph that is linear in u.
        chances: The softmax of the logits.
        weights: The share of each position in the mean loss over all rows.
    """

    parameters: Vectors
    logits: Tensor
    cotangent: Tensor
    pulled: Sequence[Tensor | None]
    chances: Tensor
    weights: Tensor

    def push(self, vector: Vectors) -> Tensor:
        """J v.

        Args:
            vector: Parameter's name to a tensor of its shape.

        Returns:
            Tangents of the logits, in float32 or wider.
        """
        reached = [
            (own, vector[name].to(own.dtype))
            for name, own in zip(self.parameters, self.pulled, strict=True)
            if own is not None
        ]
        own, tangents = zip(*reached, strict=True)
        (found,) = torch.autograd.grad(own, self.cotangent, grad_outputs=tangents, retain_graph=True)
        return found.to(self.chances.dtype)

    def pull(self, values: Tensor) -> list[Tensor | None]:
        """J^T u.

        Args:
            values: u.

        Returns:
            One for each parameter; `None` where the logits do not depend on it.
        """
        inputs = list(self.parameters.values())
        cotangent = values.to(self.logits.dtype)
        return list(
            torch.autograd.grad(self.logits, inputs, grad_outputs=cotangent, retain_graph=True, allow_unused=True)
        )

    def product(self, vector: Vectors) -> list[Tensor | None]:
        """The batch's part of C v.

        Args:
            vector: Parameter's name to a tensor of its shape.

        Returns:
            As `pull`.
        """
        forward = self.push(vector)
        inner = self.chances * (forward - (self.chances * forward).sum(dim=-1, keepdim=True)) * self.weights[:, None]
        return self.pull(inner)


def gauss_newton(problem: Problem, *, held_share: float = HELD_SHARE) -> Callable[[Vectors], Vectors]:
    """The Gauss-Newton product of the mean loss over the sampled rows, for each vector of a stack.

    Args:
        problem: Model and rows; the model must be frozen in evaluation mode, and its parameters must not change while products are made.
        held_share: How much of the free memory the batches' graphs may take; the rest of the batches is run anew for each product.

    Returns:
        v to C v, for each vector of a stack; it raises a RuntimeError once the parameters have changed.
    """
    held: list[Linearised] = []
    versions = _versions(problem)
    floor = (1 - held_share) * free_memory(problem.sketcher.device)
    batches = list(problem.batches(token_budget=_batch_tokens(problem)))

    def parts() -> Iterator[Linearised]:
        for index, batch in enumerate(batches):
            if index < len(held):
                yield held[index]
                continue
            part = _linearise(problem, batch)
            if index == len(held) and free_memory(problem.sketcher.device) > floor:
                held.append(part)
            yield part
            # Two batches' graphs need not be there at once.
            del part

    def product(vectors: Vectors) -> Vectors:
        if _versions(problem) != versions:
            raise RuntimeError("The parameters have changed since their Gauss-Newton matrix was made.")
        total = {name: torch.zeros_like(value) for name, value in vectors.items()}
        for part in parts():
            for index in range(len(next(iter(vectors.values())))):
                found = part.product({name: value[index] for name, value in vectors.items()})
                for own, name in zip(found, part.parameters, strict=True):
                    if own is not None:
                        total[name][index] += own.to(total[name].dtype)
            del part
        return total

    return product


def _batch_tokens(problem: Problem) -> int:
    text = problem.sketcher.model.config.get_text_config()
    a_token = GRAPH_VECTORS * text.num_hidden_layers * text.hidden_size * problem.sketcher.model.dtype.itemsize
    return max(1, min(GRAPH_BYTES // a_token, problem.sketcher.config.token_budget))


def _versions(problem: Problem) -> list[int]:
    return [item.parameter._version for item in problem.sketcher.parameters]


def _linearise(problem: Problem, batch: Batch) -> Linearised:
    """Run a batch, and make the graph of J^T u."""
    model = problem.sketcher.model
    positions, weights = _weights(problem, batch)
    # Aliases, so that the model's own flags stay as they are.
    parameters = {item.name: item.parameter.detach().requires_grad_() for item in problem.sketcher.parameters}
    # Fused attention has no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        with head_sees_only(model, positions):
            inputs = {**batch.model_inputs(), "use_cache": False}
            logits = torch.func.functional_call(model, parameters, kwargs=inputs).logits
        logits = logits.reshape(-1, logits.shape[-1])
        cotangent = torch.zeros_like(logits, requires_grad=True)
        pulled = torch.autograd.grad(
            logits, list(parameters.values()), grad_outputs=cotangent, create_graph=True, allow_unused=True
        )
    wide = torch.promote_types(logits.dtype, torch.float32)
    chances = torch.softmax(logits.detach().to(wide), dim=-1)
    return Linearised(parameters, logits, cotangent, pulled, chances, weights)


def _weights(problem: Problem, batch: Batch) -> tuple[Tensor, Tensor]:
    """Where labels are predicted, and the share of each token in the (weighted) mean loss over all rows."""
    positions, _, segments = predicting_positions(batch)
    counts = torch.bincount(segments, minlength=len(batch)).clamp(min=1)
    mean = problem.sketcher.config.reduction == "mean"
    each = counts[segments].reciprocal() if mean else torch.ones(len(segments), device=segments.device)
    rows = problem.weights_of(batch)
    return positions, (each if rows is None else each * rows.to(each)[segments]) / problem.total
