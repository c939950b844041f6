"""What an objective may look at in a step: token losses, logits and hidden states, under the model and under the model before forgetting."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unweave.gradients.loss import TokenLosses, answer_tokens, cross_entropies, labelled_logits
from unweave.gradients.scoring import example_losses
from unweave.models.evaluation import evaluating
from unweave.models.hidden import hidden_states
from unweave.unlearning.context import Context
from unweave.unlearning.roles import Role
from unweave.unlearning.steps import StepBatch


class Reference:
    """The model before forgetting, for no second copy: the trainable parameters as they were, put in place for as long as they are needed, without dropout.

    Args:
        model: The model, before the first step.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._pairs = [(own, own.detach().clone()) for own in model.parameters() if own.requires_grad]
        self._sums: dict[tuple[str, int], float] = {}

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """The model as it was, in evaluation; nothing in the block is differentiated. Parameters and modes are put back.

        Yields:
            Nothing.
        """
        now = [own.data for own, _ in self._pairs]
        try:
            for own, before in self._pairs:
                own.data = before
            with torch.no_grad(), evaluating(self._model):
                yield
        finally:
            for (own, _), values in zip(self._pairs, now, strict=True):
                own.data = values

    def sums(self, model: nn.Module, step: StepBatch, dtype: torch.dtype = torch.float32) -> Float[Tensor, " S"]:
        """The summed loss of each sequence of a forget row under the model before; each is computed once in a run.

        Args:
            model: The model.
            step: The step.
            dtype: Of the result.

        Returns:
            Nats; 0 for sequences of retain rows, which no objective compares so.
        """
        keys = [(example.row_id, int(role)) for example, role in zip(step.examples, step.roles.tolist(), strict=True)]
        new = {
            key: example
            for key, example in zip(keys, step.examples, strict=True)
            if key[1] != Role.RETAIN and key not in self._sums
        }
        if new:
            with self.active():
                # Padding is masked: any token will do.
                found = example_losses(model, list(new.values()), pad_token_id=0).sums
            self._sums |= dict(zip(new, found, strict=True))
        return torch.tensor([self._sums.get(key, 0.0) for key in keys], dtype=dtype, device=step.roles.device)


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


@dataclass(frozen=True)
class TokenStates:
    """Hidden states of the answers' tokens of a step.

    Attributes:
        states: In float32 or wider.
        segments: Which sequence of the step each belongs to.
        size: Sequences in the step.
    """

    states: Float[Tensor, "N H"]
    segments: Int[Tensor, " N"]
    size: int

    def means(self, values: Float[Tensor, " N"]) -> Float[Tensor, " S"]:
        """The mean of a value over the tokens of each sequence.

        Args:
            values: One a token.

        Returns:
            One a sequence.
        """
        return TokenLosses(values, self.segments, self.size).means()


class StepView:
    """One step, seen lazily: what an objective does not ask for is not computed.

    Args:
        model: The model.
        step: The step, on the model's device.
        reference: The model before forgetting.
        context: The run's model, rows and options, for methods that look beyond the step.
    """

    def __init__(self, model: Any, step: StepBatch, reference: Reference, context: Context):
        self.model, self.step, self.reference, self.context = model, step, reference, context
        self._states: dict[tuple[int, bool], TokenStates] = {}

    @cached_property
    def losses(self) -> TokenLosses:
        """Token losses of all sequences, attached to the graph, from the logits that `labelled` holds."""
        groups = zip(self.labelled, self.step.groups, strict=True)
        return self.per_sequence(
            [cross_entropies(part.logits, part.targets, first=group.row_ids[0]) for part, group in groups]
        )

    @cached_property
    def labelled(self) -> list[Labelled]:
        """The labelled logits, a part for each group of sequences, attached to the graph; one forward pass, whatever is made of them."""
        return self._labelled()

    @property
    def free_losses(self) -> TokenLosses | None:
        """Token losses with nothing attached, where an objective has made the logits that they take; `None` where it looks at hidden states alone."""
        if "labelled" not in self.__dict__:
            return None
        return replace(self.losses, nll=self.losses.nll.detach())

    def reference_labelled(self) -> list[Labelled]:
        """The same under the model before forgetting, detached.

        Returns:
            The parts in the order of `labelled`.
        """
        with self.reference.active():
            return self._labelled()

    def wide_labelled(self, *, before: bool = False) -> list[Labelled]:
        """The labelled logits in float32 or wider, attached to the graph.

        Args:
            before: Those of the model before forgetting instead, detached.

        Returns:
            The parts in the order of `labelled`.
        """
        parts = self.reference_labelled() if before else self.labelled
        wide = torch.promote_types(parts[0].logits.dtype, torch.float32)
        return [replace(part, logits=part.logits.to(wide)) for part in parts]

    def reference_sums(self) -> Float[Tensor, " S"]:
        """The summed loss of each sequence of a forget row under the model before forgetting."""
        return self.reference.sums(self.model, self.step, self.losses.nll.dtype)

    def answer_states(self, layer: int) -> TokenStates:
        """The hidden states of the answers' tokens behind a layer, attached to the graph; computed once, for all parts of an objective.

        Args:
            layer: From 0, as the model counts its layers: behind layer l stands `hidden_states[l + 1]`.

        Returns:
            The states.
        """
        return self._states_once(layer, before=False)

    def reference_answer_states(self, layer: int) -> TokenStates:
        """The same under the model before forgetting, detached.

        Args:
            layer: From 0.

        Returns:
            The states, in the order of `answer_states`.
        """
        with self.reference.active():
            return self._states_once(layer, before=True)

    def _states_once(self, layer: int, *, before: bool) -> TokenStates:
        if (layer, before) not in self._states:
            self._states[layer, before] = self._answer_states(layer)
        return self._states[layer, before]

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

    def mask(self, role: Role) -> Float[Tensor, " S"]:
        """Which sequences of a role count in this step: unwanted answers do not that are as unlikely as they are to become (`Context.limits`).

        Objectives that look at hidden states alone have no losses at hand, and bounds of their own: there all count.

        Args:
            role: Which sequences.

        Returns:
            One for each that counts, zero for the others.
        """
        mask, limits = self.step.mask(role), self.context.limits
        losses = self.free_losses if role == Role.UNWANTED and limits is not None else None
        if losses is None or limits is None:
            return mask
        most = [limits.get(example.row_id, math.inf) for example in self.step.examples]
        return mask * (losses.means() < losses.nll.new_tensor(most))

    def masked_mean(self, values: Float[Tensor, " S"], role: Role) -> Tensor:
        """The mean over the sequences of a role, times their rows' weights; those that do not count are zeros in it.

        Args:
            values: One a sequence.
            role: Which sequences.

        Returns:
            A scalar; 0 in a step without such a sequence.
        """
        mask = self.mask(role)
        return (self.step.weights * mask * values).sum() / self.step.count(role).clamp(min=1)

    def _answer_states(self, layer: int) -> TokenStates:
        states, segments, start = [], [], 0
        for group in self.step.groups:
            mask = answer_tokens(group)
            found = hidden_states(self.model, group)[layer + 1][mask]
            states.append(found.to(torch.promote_types(found.dtype, torch.float32)))
            segments.append(group.segments[mask] + start)
            start += len(group)
        return TokenStates(torch.cat(states), torch.cat(segments), start)

    def _labelled(self) -> list[Labelled]:
        parts, start = [], 0
        for group in self.step.groups:
            logits, targets, segments = labelled_logits(self.model, group)
            parts.append(Labelled(logits, targets, segments + start))
            start += len(group)
        return parts
