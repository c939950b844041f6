"""What a student of values minimises: the values themselves, or their order."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

StudentLoss = Callable[[Float[Tensor, "B T"], Float[Tensor, "B T"]], Tensor]
"""Scores and targets of a batch, a column a task, to a scalar; targets have about unit spread."""


def regression(scores: Float[Tensor, "B T"], targets: Float[Tensor, "B T"]) -> Tensor:
    """Huber's loss with a bend at 1: values are heavy-tailed.

    Args:
        scores: Predictions.
        targets: What they should be.

    Returns:
        The mean over rows and tasks.
    """
    return functional.huber_loss(scores, targets)


def pairwise(scores: Float[Tensor, "B T"], targets: Float[Tensor, "B T"]) -> Tensor:
    """RankNet (Burges et al., ICML 2005): the logistic loss of every pair of rows of a batch, weighted by how far apart their targets are.

    Args:
        scores: Predictions.
        targets: What they should be ordered as.

    Returns:
        The weighted mean over pairs and tasks; 0 where no two targets differ.
    """
    gaps = targets[:, None] - targets[None, :]
    weights = gaps.clamp(min=0)
    losses = functional.softplus(-(scores[:, None] - scores[None, :]))
    return (weights * losses).sum() / weights.sum().clamp(min=torch.finfo(scores.dtype).tiny)


def listwise(scores: Float[Tensor, "B T"], targets: Float[Tensor, "B T"]) -> Tensor:
    """ListNet (Cao et al., ICML 2007): cross-entropy between the softmax over a batch of targets and that of scores.

    Args:
        scores: Predictions.
        targets: What they should be ordered as.

    Returns:
        The mean over tasks.
    """
    return -(torch.softmax(targets, dim=0) * torch.log_softmax(scores, dim=0)).sum(dim=0).mean()


LOSSES: dict[str, StudentLoss] = {"regression": regression, "pairwise": pairwise, "listwise": listwise}
"""Name to loss; a new one is one function and one line here."""
