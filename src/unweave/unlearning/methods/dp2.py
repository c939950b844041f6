"""DP2Unlearning, by DP-SGD: fine-tune a privately trained model on the rows that are kept (arXiv 2504.13774).

What protects the forget rows is the training before the request: `unweave train --dp-epsilon`. Unlearning trains on the retain rows only, which can't bring the
forget rows back. So give all rows that are to be kept, and half of the training's epochs. The guarantee is for the model as it was first trained: rows that an
earlier request has trained on again without privacy have none, and such a model is refused. The paper's other path, a masked language model's rewriting of the
rows, carries no formal (epsilon, delta) in training and is left out.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from unweave.train.private import read_privacy
from unweave.unlearning.config import ForgetConfig
from unweave.unlearning.methods.base import Method, Objective, Setting
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class Dp2Config(ForgetConfig):
    """Fine-tuning on retain rows after private training.

    Attributes:
        method: The unlearning method.
        adapter_mode: The private adapter is trained on.
        epochs: Half of the training's, whose default is 3.
        retain_ratio: Infinite: no forget row is drawn, and an epoch is one pass over the retain rows.
    """

    method: str = "dp2"
    adapter_mode: Literal["new", "continue"] = "continue"
    epochs: float = 1.5
    batch_size: int = 16
    learning_rate: float = 2e-4
    retain_ratio: float = math.inf


class Dp2(Objective):
    """The objective.

    Args:
        config: The method's; its model must have been trained privately.
        setting: Unused.
    """

    def __init__(self, config: Dp2Config, setting: Setting):
        del setting
        guarantee(config)

    def loss(self, view: StepView) -> Tensor:
        """See `Objective.loss`.

        Args:
            view: The step.

        Returns:
            The retain rows' mean loss.
        """
        return view.masked_mean(view.losses.means(), Role.RETAIN)


def guarantee(config: Dp2Config, rows: int = 1) -> dict[str, Any]:
    """What holds of the forget rows, whatever the fine-tuning does.

    Args:
        config: The method's.
        rows: Forget rows.

    Returns:
        `epsilon` and `delta` of one row and of all of them together.
    """
    privacy = read_privacy(config.adapter or config.model)
    group = privacy.of_group(rows)
    return {
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "group_epsilon": group[0],
        "group_delta": group[1],
        "noise_multiplier": privacy.noise_multiplier,
    }


METHOD = Method(
    name="dp2",
    summary="fine-tuning on retain rows, after training with differential privacy",
    paper="DP2Unlearning, arXiv 2504.13774",
    config_type=Dp2Config,
    build=Dp2,
    ignores=("forget_weights",),
    tell=lambda config, setting: guarantee(config, sum(row.is_forget for row in setting.rows)),
    cost="one forward and one backward pass a step, over half of the training's steps; the training before it, per-sample gradients",
    search={"learning_rate": (1e-4, 2e-4, 4e-4)},
)
