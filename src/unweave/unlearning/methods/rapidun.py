"""RapidUn: influence-weighted ascent on unwanted answers, descent on the right ones (arXiv 2512.04457).

The paper's runs have one row a step and clip its gradient to norm 1; AdamW then divides by its size. Whatever multiplies a row's loss is lost there, the
influence weights too. `rapidun` has eight rows a step, among which weights count; `rapidun-published` is the paper's setting, for reproduction.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from unweave.unlearning.config import ForgetConfig, Sampling
from unweave.unlearning.methods.base import ALL_REQUESTS, Method, Objective, Setting
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class RapidUnConfig(ForgetConfig):
    """RapidUn.

    loss = mean_i w_i L_i with L_i = l(z_i) on a retain row, and L_i = descent l(prompt, clean answer) - ascent l(prompt, unwanted answer) on a
    forget row; without a clean answer the first term is absent.

    Attributes:
        method: The unlearning method.
        ascent: Factor of the unwanted answers' loss.
        descent: Factor of the clean answers' loss.
        weight_warmup: Share of the run over which weights grow linearly from 1 to their values.
        bound: b, in nats a token; above 0 the unwanted answer's loss l counts as 2 b log sigmoid((l - l_before) / b), which begins as l does and stops
            growing some b above the model before (NPO's form, on mean losses). For rows without a clean answer, whose ascent nothing else ends; ours.
    """

    method: str = "rapidun"
    ascent: float = 1.0
    descent: float = 0.5
    weight_warmup: float = 0.0
    bound: float = 0.0


class RapidUn(Objective):
    """The objective.

    Args:
        config: Its factors.
        setting: The rows, with their weights.
    """

    def __init__(self, config: RapidUnConfig, setting: Setting):
        self.config, self.rows = config, setting.rows

    def cautions(self) -> list[str]:
        """See `Objective.cautions`.

        Returns:
            Which factors were given for what is not there.
        """
        found = []
        if self.config.weight_warmup and all(row.weight == 1 for row in self.rows):
            found.append("No effect has --weight-warmup: all rows weigh 1.")
        if self.config.descent != RapidUnConfig.descent and not any(row.clean for row in self.rows):
            found.append("No effect has --descent: no row to forget has a clean answer.")
        return found

    def loss(self, view: StepView) -> Tensor:
        """See `Objective.loss`.

        Args:
            view: The step.

        Returns:
            mean_i w_i L_i over the rows of the step.
        """
        step = view.step
        factors = (
            step.mask(Role.RETAIN)
            + self.config.descent * step.mask(Role.CLEAN)
            - self.config.ascent * step.mask(Role.UNWANTED)
        )
        reached = min(1.0, step.progress / self.config.weight_warmup) if self.config.weight_warmup else 1.0
        weights = 1.0 + reached * (step.weights - 1.0)
        losses = view.losses.means()
        if bound := self.config.bound:
            before = view.reference_sums() / view.losses.counts().clamp(min=1)
            bounded = 2 * bound * functional.logsigmoid((losses - before) / bound)
            losses = torch.where(step.roles == Role.UNWANTED, bounded, losses)
        return (weights * factors * losses).sum() / step.rows


@dataclass(frozen=True, kw_only=True)
class PublishedConfig(RapidUnConfig):
    """RapidUn with the settings of its paper's runs: one row a step, drawn with replacement, two epochs at 6e-5.

    Attributes:
        method: The unlearning method.
        batch_size: One row a step.
        epochs: Two, as many draws as there are rows each.
        sampling: With replacement: of 40 forget rows a third may never be drawn.
        learning_rate: Peak step size of AdamW.
    """

    method: str = "rapidun-published"
    batch_size: int = 1
    epochs: float = 2.0
    sampling: Sampling = "replacement"
    learning_rate: float = 6e-5


METHOD = Method(
    name="rapidun",
    summary="influence-weighted ascent on unwanted answers and descent on clean and retained ones",
    paper="RapidUn, arXiv 2512.04457",
    config_type=RapidUnConfig,
    build=RapidUn,
    cost="one forward and one backward pass a step; with a bound, one more forward pass for each forget row in a run",
    compares=lambda config: config.bound > 0,
    uses_clean=True,
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 2e-4, 3e-4, 4e-4), "ascent": (0.25, 0.5, 1.0), "descent": (0.5, 1.0)},
    search_without_clean={"ascent": (1.0, 4.0, 16.0), "learning_rate": (3e-4,), "bound": (2.0,)},
)

PUBLISHED = replace(
    METHOD,
    name="rapidun-published",
    summary="`rapidun` in the setting of its paper's runs, where weights of rows can't count",
    config_type=PublishedConfig,
)
