"""LinFiK by exact inner products: each candidate's gradient meets the tasks' mean gradients as it arrives, and is let go (arXiv 2503.01052).

The paper's equation 3 is not public in full; this is the reading that the docs state: the first-order change of the task's loss by a step on the row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.curvature.base import Problem, second_moments
from unweave.data.batches import Batch
from unweave.data.encoding import Example
from unweave.gradients.passes import Reduction, frozen_in_evaluation
from unweave.sketch.sketcher import Sketcher

ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class Values:
    """What one pass over candidates gives, in their order.

    Attributes:
        products: <mean gradient of the task, gradient of the row>, a column a task.
        cosines: LESS: the cosine of the task's gradient with the row's, scaled by Adam's second moments; `None` where it was not asked for.
        norms: Norm of the row's gradient.
        losses: l(z), nats a token.
    """

    products: Float[Tensor, "n T"]
    cosines: Float[Tensor, "n T"] | None
    norms: Float[Tensor, " n"]
    losses: Float[Tensor, " n"]


class TaskGradients:
    """The mean gradients of tasks, and the inner products of rows with them.

    Args:
        sketcher: Model and parameters; nothing is sketched.
        tasks: The validation rows of each task, at least one.
        reduction: Of a candidate's loss: `sum` or `mean` over its tokens. A task's is always the mean.
    """

    def __init__(self, sketcher: Sketcher, tasks: Sequence[Sequence[Example]], *, reduction: Reduction = "mean"):
        self.sketcher = sketcher
        self.reduction: Reduction = reduction
        self.tasks = tasks
        self.means: dict[str, Float[Tensor, "T D"]] = {}
        columns = [self._mean(rows, f"task {number}") for number, rows in enumerate(tasks, start=1)]
        for item in sketcher.parameters:
            self.means[item.name] = torch.stack([column[item.name] for column in columns])
        self.norms = sum(mean.square().sum(dim=1) for mean in self.means.values()).sqrt()  # type: ignore[union-attr]
        self._scales: dict[str, Tensor] = {}

    def prepare_less(self, sample: Sequence[Example]) -> None:
        """Estimate Adam's second moments, which LESS needs (arXiv 2402.04333), from a sample of the candidates.

        Args:
            sample: Some candidates.
        """
        moments = second_moments(Problem(self.sketcher, sample), description="second moments")
        self._scales = {name: 1.0 / (own.flatten().sqrt() + ADAM_EPSILON) for name, own in moments.items()}

    def values(self, examples: Sequence[Example], *, advance: Callable[[int], None] = lambda _: None) -> Values:
        """Value candidates.

        Args:
            examples: The candidates.
            advance: Called with the number of rows just done.

        Returns:
            Their values, in the order given.
        """
        count, tasks = len(examples), len(self.tasks)
        products, squares = torch.zeros(count, tasks), torch.zeros(count)
        scaled, scaled_squares = torch.zeros(count, tasks), torch.zeros(count)
        losses = torch.zeros(count)
        source = self.sketcher.source

        def work(_: list[int], batch: Batch) -> tuple[Tensor, ...]:
            size = len(batch)
            found = torch.zeros(size, tasks), torch.zeros(size), torch.zeros(size, tasks), torch.zeros(size)

            def consume(name: str, piece: Tensor) -> None:
                flat = piece.flatten(1).to(torch.promote_types(piece.dtype, torch.float32))
                found[0].add_((flat @ self.means[name].to(flat.dtype).T).float().cpu())
                found[1].add_(flat.square().sum(dim=1).float().cpu())
                if self._scales:
                    flat = flat * self._scales[name]
                    found[2].add_((flat @ self.means[name].to(flat.dtype).T).float().cpu())
                    found[3].add_(flat.square().sum(dim=1).float().cpu())

            own = source.differentiate(batch, consume, reduction=self.reduction)
            return *found, own.means().float().cpu()

        with frozen_in_evaluation(source.model):
            for chosen, found in source.each(examples, work, advance=advance):
                for whole, part in zip((products, squares, scaled, scaled_squares, losses), found, strict=True):
                    whole[chosen] = part
        lengths = scaled_squares.sqrt()[:, None] * self.norms.float().cpu()[None, :]
        cosines = scaled / lengths.clamp(min=torch.finfo(torch.float32).tiny) if self._scales else None
        return Values(products, cosines, squares.sqrt(), losses)

    def _mean(self, rows: Sequence[Example], description: str) -> dict[str, Tensor]:
        totals: dict[str, Tensor] = {}

        def consume(name: str, piece: Tensor) -> None:
            totals[name] = totals[name] + piece.sum(dim=0) if name in totals else piece.sum(dim=0)

        Problem(self.sketcher, rows).visit(consume, description=description)
        return {name: total / len(rows) for name, total in totals.items()}
