"""What a preconditioner is: it turns the queries' gradients g into (C + damping I)^-1 g for some curvature C of the training loss.

It acts on the queries alone, before they are sketched, so one store of plain row sketches serves all of them. A row's own gradients are needed to
know the curvature: they are computed again for a sample of rows.

Damping is relative: of the mean eigenvalue of C, for each tensor, or for the whole where C has no blocks (`trak`, `cg`: there the mean is over the
directions that the rows span, one a row). A value d means that directions with a d-th of the mean curvature are trusted half; larger values are
closer to no preconditioner, smaller ones trust flat directions that a sample can't know.

So 0.1 is not the same amount everywhere: over D coordinates and n < D rows the damping of `cg` is D / n times that of `ekfac`. Scores agree or not by it,
and each preconditioner gives its own in one measure (`Damping.of_mean`), for whoever compares two.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.data.batches import Batch
from unweave.data.encoding import Example
from unweave.gradients.capture import Interceptor
from unweave.gradients.passes import Reduction, frozen_in_evaluation
from unweave.sketch.sketcher import Sketcher

Gradients = dict[str, Float[Tensor, "q ..."]]
"""Tensor's name to one gradient a query."""


@dataclass(frozen=True)
class Damping:
    """What a preconditioner has added to its curvature.

    Attributes:
        relative: As it was asked for.
        scale: What that is relative to.
        least: The smallest amount that was added to a tensor's curvature.
        most: The largest.
        of_mean: The amount over the mean eigenvalue of all coordinates, trace(C) / D: the measure in which preconditioners are comparable; `None` where no
            curvature is damped, but its root.
    """

    relative: float
    scale: str
    least: float
    most: float
    of_mean: float | None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def of_tensors(cls, relative: float, amounts: Mapping[str, float]) -> "Damping":
        """Of curvatures that are damped tensor by tensor, relative to the mean eigenvalue of each.

        Args:
            relative: As it was asked for.
            amounts: Tensor's name to what was added.

        Returns:
            The damping.
        """
        return cls(relative, "mean eigenvalue of each tensor", min(amounts.values()), max(amounts.values()), relative)


def unnoted(damping: Damping) -> None:
    """Take no note of a damping.

    Args:
        damping: What was added.
    """


@dataclass(frozen=True)
class Problem:
    """What a preconditioner may know.

    Attributes:
        sketcher: The model and its parameters.
        rows: A sample of training rows.
        damping: Relative damping; `None` for the preconditioner's own default.
        seed: For sampled labels and probes.
        note: Is called with the damping that was used.
        weights: Of rows whose weight is not 1, by their ids: means over the rows are weighted means, sums weighted sums.
    """

    sketcher: Sketcher
    rows: Sequence[Example]
    damping: float | None = None
    seed: int = 0
    note: Callable[[Damping], None] = unnoted
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """The sum of the rows' weights; their number, where all are 1."""
        return sum(self.weights.get(row.row_id, 1.0) for row in self.rows)

    def weights_of(self, batch: Batch) -> Float[Tensor, " B"] | None:
        """The weights of a batch's rows.

        Args:
            batch: The batch.

        Returns:
            One a row; `None` where no row has a weight of its own.
        """
        if not self.weights:
            return None
        own = [self.weights.get(row_id, 1.0) for row_id in batch.row_ids]
        return torch.tensor(own, dtype=torch.float64, device=self.sketcher.device)

    def batches(self, *, token_budget: int | None = None) -> Iterator[Batch]:
        """The sampled rows in batches, on the model's device.

        Args:
            token_budget: Tokens a batch, padding included; by default the sketcher's.

        Yields:
            The batches, longest rows first.
        """
        source = self.sketcher.source
        for chosen in source.plan(self.rows, token_budget=token_budget):
            yield source.batch([self.rows[index] for index in chosen])

    def visit(
        self,
        consume: Callable[[str, Tensor], None],
        *,
        description: str,
        relabel: Callable[[Batch], Batch] = lambda batch: batch,
        reduction: Reduction | None = None,
        intercept: Interceptor | None = None,
        power: float = 1.0,
    ) -> None:
        """One pass over the gradients of the sampled rows, each times its weight.

        Args:
            consume: Called with a tensor's name and its gradients [B, D] in float32.
            description: For the progress bar.
            relabel: Changes the labels of a batch.
            reduction: Of a row's losses; by default the sketcher's.
            intercept: As in `per_sample_gradients`; what it takes has no weight.
            power: Of the weight: the root, for sums of squares.
        """
        source = self.sketcher.source
        with frozen_in_evaluation(source.model), progress.task(description, len(self.rows)) as advance:
            for batch in self.batches():
                weights = self.weights_of(batch)
                factors = None if weights is None else weights.pow(power)[:, None]

                def take(name: str, piece: Tensor, factors: Tensor | None = factors) -> None:
                    wide = _wide(piece.flatten(1))
                    consume(name, wide if factors is None else wide * factors.to(wide))

                source.differentiate(relabel(batch), take, reduction=reduction, intercept=intercept)
                advance(len(batch))


@runtime_checkable
class Preconditioner(Protocol):
    """A curvature and its damped inverse."""

    def __call__(self, problem: Problem, queries: Gradients) -> Gradients:
        """Precondition the gradients of queries.

        Args:
            problem: Model, rows, damping.
            queries: Their gradients.

        Returns:
            (C + damping I)^-1 g for each.
        """
        ...


def second_moments(
    problem: Problem,
    *,
    description: str,
    rotate: Callable[[str, Tensor], Tensor] = lambda _, piece: piece,
    relabel: Callable[[Batch], Batch] = lambda batch: batch,
    reduction: Reduction | None = None,
) -> dict[str, Tensor]:
    """The (weighted) mean of squared gradients over the sampled rows, a coordinate each.

    Args:
        problem: Model and rows.
        description: For the progress bar.
        rotate: Brings a tensor's gradients [B, D] into another basis first.
        relabel: Changes the labels of a batch.
        reduction: Of a row's losses; by default the sketcher's.

    Returns:
        Tensor's name to its moments, flat.
    """
    sums: dict[str, Tensor] = {}

    def consume(name: str, piece: Tensor) -> None:
        squares = rotate(name, piece).square().sum(dim=0)
        sums[name] = squares if name not in sums else sums[name].add_(squares)

    problem.visit(consume, description=description, relabel=relabel, reduction=reduction, power=0.5)
    return {name: total / problem.total for name, total in sums.items()}


def gradients_of(sketcher: Sketcher, examples: Sequence[Example]) -> Gradients:
    """Whole gradients of examples, in memory: for queries.

    Args:
        sketcher: The model and its parameters.
        examples: The examples.

    Returns:
        Their gradients, not normalised.
    """
    found: dict[str, list[Tensor]] = {item.name: [] for item in sketcher.parameters}
    for example in examples:
        batch = sketcher.source.batch([example])
        sketcher.source.differentiate(batch, lambda name, piece: found[name].append(_wide(piece)), frozen=False)
    return {name: torch.cat(pieces) for name, pieces in found.items()}


def _wide(piece: Tensor) -> Tensor:
    return piece.to(torch.promote_types(piece.dtype, torch.float32))
