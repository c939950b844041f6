"""RapidUn: influence-weighted ascent on unwanted answers, descent on the right ones (arXiv 2512.04457, METHODS section 2)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from unweave.forget.config import ForgetConfig
from unweave.forget.methods.base import ALL_REQUESTS, Method, Setting
from unweave.forget.steps import Role
from unweave.forget.view import StepView


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


class RapidUn:
    """The objective.

    Args:
        config: Its factors.
        setting: Unused: the weights come with the rows.
    """

    def __init__(self, config: RapidUnConfig, setting: Setting):
        del setting
        self.config = config

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


METHOD = Method(
    name="rapidun",
    summary="influence-weighted ascent on unwanted answers and descent on clean and retained ones",
    paper="RapidUn, arXiv 2512.04457",
    config_type=RapidUnConfig,
    build=RapidUn,
    uses_clean=True,
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 2e-4, 3e-4, 4e-4), "ascent": (0.25, 0.5, 1.0), "descent": (0.5, 1.0)},
    search_without_clean={"ascent": (1.0, 4.0, 16.0), "learning_rate": (3e-4,), "bound": (2.0,)},
)
