"""Whether what training made of a model is sound: finite weights, finite outputs, and any change at all."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unweave.errors import TrainingError
from unweave.models.pretrained import not_finite
from unweave.models.probe import fixed_logits


def require_trained(model: nn.Module, *, what: str) -> None:
    """Refuse what training or an edit made of a model's trainable weights, where some are no finite numbers.

    Args:
        model: The model.
        what: What made them.

    Raises:
        TrainingError: Naming the first of them.
    """
    trained = ((name, own) for name, own in model.named_parameters() if own.requires_grad)
    if (name := not_finite(trained)) is not None:
        raise TrainingError(
            f"{what} made weights that are not all finite numbers, the first in {name}.",
            remedy="lower `learning_rate`; what was there before is kept",
        )


def require_outputs(model: nn.Module) -> None:
    """Refuse a model whose weights are finite, and what it computes is not: steps that were far too large leave one.

    Args:
        model: The model, in evaluation mode.

    Raises:
        TrainingError: When a logit of a short text is no finite number.
    """
    if not bool(torch.isfinite(fixed_logits(model)).all()):
        raise TrainingError(
            "What the model computes is no longer finite after the last step.", remedy="lower `learning_rate`"
        )


@torch.no_grad()
def sums(parameters: Iterable[Tensor]) -> list[tuple[float, float]]:
    """What shows cheaply whether any weight has changed: the sum and the norm of each tensor.

    Args:
        parameters: The tensors.

    Returns:
        Two numbers each; one that is no number equals nothing, itself included.
    """
    wide = torch.float64
    return [
        (float(own.sum(dtype=wide)), float(torch.linalg.vector_norm(own, dtype=wide)))
        for own in map(_plain, parameters)
    ]


def _plain(parameter: Tensor) -> Tensor:
    return parameter.detach().reshape(-1)
