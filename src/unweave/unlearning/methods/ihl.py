"""IHL, inverted hinge loss: the memorised token is pushed down just until another one wins (Cha et al., arXiv 2408.06621)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import ALL_REQUESTS, Method
from unweave.unlearning.steps import Role
from unweave.unlearning.view import Labelled, StepView


@dataclass(frozen=True, kw_only=True)
class IhlConfig(BalancedConfig):
    """The forget part is the mean over tokens of 1 + p(y) - max over other tokens v of p(v): bounded, and its gradient touches two tokens mainly.

    Attributes:
        method: The unlearning method.
    """

    method: str = "ihl"


class Ihl(Balanced):
    """The objective."""

    config: IhlConfig

    def forget_part(self, view: StepView) -> Tensor:
        """The inverted hinge loss of the forget rows.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        return view.masked_mean(
            view.per_sequence([inverted_hinge(part) for part in view.labelled]).means(), Role.UNWANTED
        )


def inverted_hinge(part: Labelled) -> Float[Tensor, " N"]:
    """1 + p(y) - max_{v != y} p(v) at each labelled token (equation 3).

    Args:
        part: Logits and targets.

    Returns:
        In [0, 2].
    """
    chances = torch.softmax(part.logits.to(torch.promote_types(part.logits.dtype, torch.float32)), dim=-1)
    own = chances.gather(1, part.targets[:, None]).squeeze(1)
    others = chances.scatter(1, part.targets[:, None], -1.0).amax(dim=-1)
    return 1 + own - others


METHOD = Method(
    name="ihl",
    summary="inverted hinge loss on the forget rows",
    paper="Cha et al., arXiv 2408.06621",
    config_type=IhlConfig,
    build=Ihl,
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 3e-4, 1e-3), "gamma": (0.5, 1.0)},
)
