"""DP2Unlearning, by DP-SGD: fine-tune a privately trained model on the rows that are kept (arXiv 2504.13774).

What protects the forget rows is the training before the request: `unweave train --dp-epsilon`. Unlearning trains on the retain rows only, which can't bring the
forget rows back. So give all rows that are to be kept, and half of the training's epochs. The guarantee is for the model as it was first trained: rows that an
earlier request has trained on again without privacy have none, and such a model is refused. The paper's other path, a masked language model's rewriting of the
rows, carries no formal (epsilon, delta) in training and is left out.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from unweave.errors import ConfigError
from unweave.unlearning.methods.base import Default, Objective
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.context import Context
    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class DP2(Objective):
    """Fine-tuning on retain rows after private training.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.DP2())
        Traceback (most recent call last):
        ...
        unweave.errors.ConfigError: This model was not trained privately, or was trained on without privacy since.
          ...
    """

    name: ClassVar = "dp2"
    summary: ClassVar = "fine-tuning on retain rows, after training with differential privacy"
    paper: ClassVar = "DP2Unlearning, arXiv 2504.13774"
    cost: ClassVar = "one forward and one backward pass a step, over half of the training's steps; the training before it, per-sample gradients"
    ignores: ClassVar = ("forget_weights",)
    search: ClassVar = {"learning_rate": (1e-4, 2e-4, 4e-4)}
    defaults: ClassVar = {
        "adapter_mode": Default("continue", "The private adapter is trained on."),
        "epochs": Default(1.5, "Half of the training's, whose default is 3."),
        "batch_size": Default(16, "Rows a step."),
        "learning_rate": Default(2e-4, "Peak step size of AdamW."),
        "retain_ratio": Default(
            math.inf, "Infinite: no forget row is sampled, and an epoch is one pass over the retain rows."
        ),
    }

    def loss(self, step: "StepView") -> "Tensor":
        """The retain rows' mean loss.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        return step.masked_mean(step.losses.means(), Role.RETAIN)

    def cautions(self, context: "Context") -> list[str]:
        """Refuse a model that was not trained privately.

        Args:
            context: The model.

        Returns:
            Nothing.
        """
        self.details(context)
        return []

    def details(self, context: "Context") -> dict[str, Any]:
        """What holds of the forget rows, whatever the fine-tuning does.

        Args:
            context: The model and rows.

        Returns:
            `epsilon` and `delta` of one row and of all of them together.

        Raises:
            ConfigError: When nothing says that the model was trained privately.
        """
        from unweave.models.model import IN_MEMORY
        from unweave.train.private import read_privacy

        place = context.loaded.adapter or context.loaded.base
        if place == IN_MEMORY:
            raise ConfigError(
                "How a model in memory was trained is recorded nowhere: dp2 needs the record of private training beside its adapter.",
                where="`model`",
                remedy="load it with uw.load_model from the folder that `unweave train --dp-epsilon E` has made",
            )
        privacy = read_privacy(place)
        group = privacy.of_group(sum(row.is_forget for row in context.rows))
        return {
            "epsilon": privacy.epsilon,
            "delta": privacy.delta,
            "group_epsilon": group[0],
            "group_delta": group[1],
            "noise_multiplier": privacy.noise_multiplier,
        }
