"""What an objective may look at in a step: token losses, logits and hidden states, under the model and under the model before forgetting."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unweave.data.batches import Batch
from unweave.forget.steps import Role, StepBatch
from unweave.gradients.loss import TokenLosses, grouped_token_losses, labelled_logits
from unweave.models.hidden import hidden_states


class Reference:
    """The model before forgetting, for no second copy: the trainable parameters as they were, put in place for as long as they are needed.

    Args:
        model: The model, before the first step.
    """

    def __init__(self, model: nn.Module):
        self._pairs = [(own, own.detach().clone()) for own in model.parameters() if own.requires_grad]
        self._sums: dict[tuple[str, int], float] = {}

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """The model as it was; nothing in the block is differentiated.

        Yields:
            Nothing.
        """
        now = [own.data for own, _ in self._pairs]
        try:
            for own, before in self._pairs:
                own.data = before
            with torch.no_grad():
                yield
        finally:
            for (own, _), values in zip(self._pairs, now, strict=True):
                own.data = values

    def sums(self, model: nn.Module, step: StepBatch) -> Float[Tensor, " S"]:
        """The summed loss of each sequence under the model before; each row's is computed once in a run.

        Args:
            model: The model.
            step: The step.

        Returns:
            Nats.
        """
        keys = list(zip(step.row_ids, step.roles.tolist(), strict=True))
        if any(key not in self._sums for key in keys):
            with self.active():
                found = grouped_token_losses(model, step.groups).sums().tolist()
            self._sums |= dict(zip(keys, found, strict=True))
        return torch.tensor([self._sums[key] for key in keys], device=step.roles.device)


@dataclass(frozen=True)
class Labelled:
    """The logits that predict the labelled tokens of a batch.

    Attributes:
        logits: In the model's dtype.
        targets: The tokens that they predict.
        segments: Which sequence of the step each belongs to.
    """

    logits: Float[Tensor, "N V"]
    targets: Int[Tensor, " N"]
    segments: Int[Tensor, " N"]


class StepView:
    """One step, seen lazily: what an objective does not ask for is not computed.

    Args:
        model: The model.
        step: The step, on the model's device.
        reference: The model before forgetting.
    """

    def __init__(self, model: nn.Module, step: StepBatch, reference: Reference):
        self.model = model
        self.step = step
        self.reference = reference

    @cached_property
    def losses(self) -> TokenLosses:
        """Token losses of all sequences, attached to the graph."""
        return grouped_token_losses(self.model, self.step.groups)

    @cached_property
    def labelled(self) -> list[Labelled]:
        """The labelled logits, a part for each group of sequences, attached to the graph."""
        return self._labelled()

    def reference_labelled(self) -> list[Labelled]:
        """The same under the model before forgetting, detached.

        Returns:
            The parts in the order of `labelled`.
        """
        with self.reference.active():
            return self._labelled()

    def reference_sums(self) -> Float[Tensor, " S"]:
        """The summed loss of each sequence under the model before forgetting."""
        return self.reference.sums(self.model, self.step)

    def hidden(self, layer: int) -> list[tuple[Float[Tensor, "B T H"], Batch]]:
        """The hidden states behind a layer, attached to the graph; computed once, for all parts of an objective.

        Args:
            layer: From 1.

        Returns:
            States and batch of each group.
        """
        return [(states[layer], group) for states, group in zip(self._hidden, self.step.groups, strict=True)]

    def reference_hidden(self, layer: int) -> list[Float[Tensor, "B T H"]]:
        """The same under the model before forgetting, detached.

        Args:
            layer: From 1.

        Returns:
            States of each group.
        """
        with self.reference.active():
            return [hidden_states(self.model, group)[layer] for group in self.step.groups]

    def per_sequence(self, values: list[Float[Tensor, " _"]]) -> TokenLosses:
        """Token values of all groups as if they were losses, so that sums and means by sequence come the same way.

        Args:
            values: One a labelled token, a tensor a group.

        Returns:
            The values.
        """
        return TokenLosses(
            torch.cat(values), torch.cat([part.segments for part in self.labelled]), len(self.step.roles)
        )

    def masked_mean(self, values: Float[Tensor, " S"], role: Role) -> Tensor:
        """The mean over the sequences of a role, times their rows' weights.

        Args:
            values: One a sequence.
            role: Which sequences.

        Returns:
            A scalar; 0 in a step without such a sequence.
        """
        mask = self.step.mask(role)
        return (self.step.weights * mask * values).sum() / mask.sum().clamp(min=1)

    @cached_property
    def _hidden(self) -> list[tuple[Tensor, ...]]:
        return [hidden_states(self.model, group) for group in self.step.groups]

    def _labelled(self) -> list[Labelled]:
        parts, start = [], 0
        for group in self.step.groups:
            logits, targets, segments = labelled_logits(self.model, group)
            parts.append(Labelled(logits, targets, segments + start))
            start += len(group)
        return parts
