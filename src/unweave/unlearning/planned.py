"""The planned steps of a method that trains."""

from typing import Any

from torch import nn

from unweave.models.blocks import can_join
from unweave.unlearning.context import Context
from unweave.unlearning.methods import Objective
from unweave.unlearning.steps import SampledStep, StepBatch, collate_part, collate_step, plan_steps
from unweave.unlearning.view import Reference, StepView


class Steps:
    """The planned steps of a method that trains, and what each looks like to its loss.

    Args:
        method: The method.
        context: The model, prepared, and the rows.
        steps: How many, where that is not the epochs'.
    """

    def __init__(self, method: Objective, context: Context, *, steps: int | None = None):
        self.method, self.context = method, context
        options, rows = context.options, context.rows
        keeps = method.samples_retain
        self.retain = [row for row in rows if row.among_retain or not row.is_forget] if keeps else []
        self.planned = plan_steps(
            [row for row in rows if row.is_forget and not (keeps and row.among_retain)],
            self.retain,
            retain_ratio=options.retain_ratio if keeps else 0.0,
            batch_size=options.batch_size,
            epochs=options.epochs,
            seed=options.seed,
            sampling=options.sampling,
            least=method.least_steps,
            steps=steps,
        )
        self.reference = Reference(context.loaded.model)
        self.lengths = [
            [len(example) for example, _, _ in step.sequences(with_clean=method.uses_clean)] for step in self.planned
        ]
        self.joined = can_join(context.loaded.model, longest=max(map(max, self.lengths)))

    def collate(self, step: SampledStep) -> StepBatch:
        """The sequences of a step.

        Args:
            step: Its rows.

        Returns:
            Its batch.
        """
        return collate_step(step, **self._shape())

    def collate_part(self, step: SampledStep, index: int, parts: int) -> StepBatch | None:
        """The sequences of a part of a step.

        Args:
            step: The rows of the whole step.
            index: Which part.
            parts: How many there are.

        Returns:
            Its batch; `None` where the step has fewer rows than parts.
        """
        if index >= len(step.rows):
            return None
        return collate_part(step, index, parts, **self._shape())

    def _shape(self) -> dict[str, Any]:
        pad = self.context.loaded.tokenizer.pad_token_id
        return {"pad_token_id": pad, "with_clean": self.method.uses_clean, "joined": self.joined}

    def view(self, model: nn.Module, step: StepBatch) -> StepView:
        """What the loss may look at.

        Args:
            model: The model.
            step: The step.

        Returns:
            The view.
        """
        return StepView(model, step.to(next(model.parameters()).device), self.reference, self.context)
