"""What influence is on: any differentiable number that a model gives, the loss of an answer first of all.

A target is a function of the model that returns a scalar attached to the graph. Influence is positive where a row lowers it, as a row that teaches an
answer lowers its loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unweave.data.batches import collate
from unweave.data.encoding import Example
from unweave.gradients.loss import differentiable_losses
from unweave.models.evaluation import evaluating

Target = Callable[[Any], Tensor]
"""Model to a scalar."""


@dataclass(frozen=True)
class AnswerLoss:
    """The loss of an answer: the mean over its tokens; or the margin between two answers to one prompt, the loss of the first less that of the second.

    Attributes:
        example: Prompt and answer.
        pad_token_id: What to pad with.
        against: Prompt and the other answer.
    """

    example: Example
    pad_token_id: int
    against: Example | None = None

    def __call__(self, model: Any) -> Tensor:
        """The loss, or the margin, in nats a token.

        Args:
            model: The model.

        Returns:
            A scalar.
        """
        own = [self.example] if self.against is None else [self.example, self.against]
        device = next(model.parameters()).device
        losses = differentiable_losses(model, collate(own, pad_token_id=self.pad_token_id).to(device)).means()
        return losses[0] if self.against is None else losses[0] - losses[1]


@dataclass(frozen=True)
class OfLogits:
    """A function of one's own of the logits after a prompt.

    Attributes:
        input_ids: The tokens.
        function: Logits at each of them, [T, V] in float32 or wider, to a scalar.
    """

    input_ids: tuple[int, ...]
    function: Callable[[Float[Tensor, "T V"]], Tensor]

    def __call__(self, model: Any) -> Tensor:
        """The function's value.

        Args:
            model: The model.

        Returns:
            A scalar.
        """
        return self.function(logits_after(model, self.input_ids))


@dataclass(frozen=True)
class Divergence:
    """KL(other || model), summed over the tokens of a text: what rows have taken a model away from another.

    Attributes:
        input_ids: The tokens.
        other: log probabilities of the other model at each of them, [T, V]; from `log_chances`.
    """

    input_ids: tuple[int, ...]
    other: Float[Tensor, "T V"]

    def __call__(self, model: Any) -> Tensor:
        """The divergence, in nats.

        Args:
            model: The model.

        Returns:
            A scalar.
        """
        own = torch.log_softmax(logits_after(model, self.input_ids), dim=-1)
        return nn.functional.kl_div(own, self.other.to(own), log_target=True, reduction="sum")


def logits_after(model: Any, input_ids: Sequence[int]) -> Float[Tensor, "T V"]:
    """A model's logits at each token of a text.

    Args:
        model: The model.
        input_ids: The tokens.

    Returns:
        In float32 or wider.
    """
    device = next(model.parameters()).device
    ids: Int[Tensor, "1 T"] = torch.tensor([list(input_ids)], device=device)
    logits = model(input_ids=ids, use_cache=False).logits[0]
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def log_chances(model: Any, input_ids: Sequence[int]) -> Float[Tensor, "T V"]:
    """What `Divergence` takes of the other model.

    Args:
        model: The other model.
        input_ids: The tokens.

    Returns:
        Log probabilities of each next token.
    """
    with torch.no_grad(), evaluating(model):
        return torch.log_softmax(logits_after(model, input_ids), dim=-1)


def target_gradients(
    model: nn.Module, parameters: dict[str, nn.Parameter], targets: Sequence[Target]
) -> dict[str, Float[Tensor, "q ..."]]:
    """The gradients of targets at the model's parameters as they are, with dropout off.

    Args:
        model: The model.
        parameters: Name to parameter, each requiring gradients.
        targets: The targets.

    Returns:
        Name to one gradient a target, in float32 or wider.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in parameters}
    own = list(parameters.values())
    for target in targets:
        with torch.enable_grad(), evaluating(model):
            gradients = torch.autograd.grad(target(model), own, allow_unused=True)
        for name, parameter, gradient in zip(parameters, own, gradients, strict=True):
            value = torch.zeros_like(parameter) if gradient is None else gradient
            found[name].append(value.to(torch.promote_types(value.dtype, torch.float32)))
    return {name: torch.stack(pieces) for name, pieces in found.items()}
