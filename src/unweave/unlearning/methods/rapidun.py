"""RapidUn: influence-weighted ascent on unwanted answers, descent on the right ones (arXiv 2512.04457).

The paper's runs have one row a step and clip its gradient to norm 1; AdamW then divides by its size. Whatever multiplies a row's loss is lost there, the
influence weights too. `rapidun` has eight rows a step, among which weights count; `rapidun-published` is how the paper ran it, for reproduction.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from unweave.unlearning.config import config_of
from unweave.unlearning.methods.base import ALL_REQUESTS, Default, Objective
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.context import Context
    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class RapidUn(Objective):
    """RapidUn.

    loss = mean_i w_i L_i with L_i = l(z_i) on a retain row, and L_i = descent l(prompt, clean answer) - ascent l(prompt, unwanted answer) on a
    forget row; without a clean answer the first term is absent.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.RapidUn(ascent=0.5), epochs=1).method
        'rapidun'

    Attributes:
        ascent: Factor of the unwanted answers' loss.
        descent: Factor of the clean answers' loss.
        weight_warmup: Share of the run over which weights grow linearly from 1 to their values.
        bound: b, in nats a token; above 0 the unwanted answer's loss l counts as 2 b log sigmoid((l - l_before) / b), which begins as l does and stops
            growing some b above the model before (NPO's form, on mean losses). For rows without a clean answer, whose ascent nothing else ends; ours.
    """

    name: ClassVar = "rapidun"
    summary: ClassVar = "influence-weighted ascent on unwanted answers and descent on clean and retained ones"
    paper: ClassVar = "RapidUn, arXiv 2512.04457"
    cost: ClassVar = (
        "one forward and one backward pass a step; with a bound, one more forward pass for each forget row in a run"
    )
    requests: ClassVar = ALL_REQUESTS
    uses_clean: ClassVar = True
    defaults: ClassVar = {
        "learning_rate": Default(
            1e-3, "Twice that of other methods: three of four rows in a step are kept, and hold it back."
        ),
    }
    search: ClassVar = {
        "learning_rate": (1e-4, 2e-4, 3e-4, 4e-4),
        "ascent": (0.25, 0.5, 1.0),
        "descent": (0.5, 1.0),
    }
    search_without_clean: ClassVar = {"ascent": (1.0, 4.0, 16.0), "learning_rate": (3e-4,), "bound": (2.0,)}

    ascent: float = 1.0
    descent: float = 0.5
    weight_warmup: float = 0.0
    bound: float = 0.0

    @property
    def compares(self) -> bool:
        """Where there is a bound."""
        return self.bound > 0

    def cautions(self, context: "Context") -> list[str]:
        """Say which factors were given for what is not there.

        Args:
            context: The rows.

        Returns:
            Sentences.
        """
        found = []
        if self.weight_warmup and all(row.weight == 1 for row in context.rows):
            found.append("No effect has `weight_warmup`: all rows weigh 1.")
        if self.descent != RapidUn.descent and not any(row.clean for row in context.rows):
            found.append("No effect has `descent`: no row to forget has a clean answer.")
        return found

    def loss(self, step: "StepView") -> "Tensor":
        """mean_i w_i L_i over the rows of the step.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        import torch
        from torch.nn.functional import logsigmoid

        own = step.step
        losses = step.losses.means()
        factors = own.mask(Role.RETAIN) + self.descent * own.mask(Role.CLEAN) - self.ascent * step.mask(Role.UNWANTED)
        reached = min(1.0, own.progress / self.weight_warmup) if self.weight_warmup else 1.0
        weights = 1.0 + reached * (own.weights - 1.0)
        if self.bound:
            before = step.reference_sums() / step.losses.counts().clamp(min=1)
            bounded = 2 * self.bound * logsigmoid((losses - before) / self.bound)
            losses = torch.where(own.roles == Role.UNWANTED, bounded, losses)
        return (weights * factors * losses).sum() / own.rows


@dataclass(frozen=True, kw_only=True)
class RapidUnPublished(RapidUn):
    """RapidUn with the options of its paper's runs: one row a step, sampled with replacement, two epochs at 6e-5.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.RapidUnPublished(), epochs=1).method
        'rapidun-published'
    """

    name: ClassVar = "rapidun-published"
    summary: ClassVar = "`rapidun` as its paper ran it, where weights of rows can't count"
    defaults: ClassVar = {
        "batch_size": Default(1, "One row a step."),
        "epochs": Default(2.0, "Two, as many samples as there are rows each."),
        "sampling": Default("replacement", "With replacement: of 40 forget rows a third may never be sampled."),
        "learning_rate": Default(6e-5, "Peak step size of AdamW."),
        "stop_at_base": Default(False, "All steps are made."),
    }


RapidUnConfig = config_of(RapidUn)
"""The options of a run with this method."""
