"""Distillation from a model that never saw the rows: with an adapter, that is the same model with the adapter switched off.

Chundawat et al. ("Bad Teacher", arXiv 2205.08096) distil forget rows from an incompetent teacher, a random one, and the others from the model before.
RKLD (Wang et al., arXiv 2406.01983) and UNDIAL (Dong et al., arXiv 2402.10052) make a teacher by changing the logits of the model before, RKLD with the reverse
divergence. Ours is whose logits they are: those of the base, which costs no second model and no training, and has no logit made up.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unweave.unlearning.methods.balanced import Balanced, kept_distribution
from unweave.unlearning.methods.base import ALL_REQUESTS, Default
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from unweave.unlearning.context import Context
    from unweave.unlearning.teacher import Teacher
    from unweave.unlearning.view import StepView

UNDIALS = 10.0
"""The default of `beta` with the teacher `reweighted`, UNDIAL's."""


@dataclass(frozen=True, kw_only=True)
class Distill(Balanced):
    """The forget part is KL(teacher || model) on the unwanted answers' tokens + descent * l(clean answer), where there is one: a target with a bound.

    The teacher never saw the rows, if the base did not. What it says of them is computed once a row, before the first step, and kept as hidden states.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.Distill(direction="reverse"), epochs=1).method
        'distill'

    Attributes:
        teacher: `base`: the model with its adapter switched off. `model`: another one, or an early snapshot of the training (`teacher_model`).
            `reweighted`: the model before, with the unwanted tokens' logits lowered by `beta`.
        teacher_model: Folder or hub id of the teacher `model`; it is in memory only while it reads the forget rows.
        direction: Of the divergence. `forward`: KL(teacher || model). `reverse`: KL(model || teacher), RKLD's. `symmetric`: the mean of both.
        beta: How much the teacher's logit of the unwanted token is lowered; by default 10 where the teacher is `reweighted`, as in UNDIAL, and 0 elsewhere.
        descent: Factor of the clean answers' loss.
        retain_loss: `nll`: the loss of the retain rows. `kl`: KL(model before || model) on their answers' tokens, for another forward pass a step. `both`: the
            mean of the two.
    """

    name: ClassVar = "distill"
    summary: ClassVar = "distillation from the base, which never saw the rows (the adapter switched off)"
    paper: ClassVar = "ours, after arXiv 2205.08096, 2406.01983 and 2402.10052"
    cost: ClassVar = (
        "two forward passes and one backward pass a step; one more forward pass for each forget row in a run"
    )
    requests: ClassVar = ALL_REQUESTS
    uses_clean: ClassVar = True
    least_steps: ClassVar = 90
    defaults: ClassVar = {
        "adapter_mode": Default(
            "continue",
            "The adapter that learned the rows is led back; `new` forgot less in as many steps, and cost the others less.",
        ),
        "retain_ratio": Default(3.0, "Three retain rows for each forget row."),
        "learning_rate": Default(1e-3, "Twice that of other methods: the target has a bound."),
        "stop_at_base": Default(False, "Its target is the base's distribution, not only its loss."),
    }
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3), "direction": ("forward", "reverse")}
    models: ClassVar = ("teacher_model",)

    teacher: Literal["base", "model", "reweighted"] = "base"
    teacher_model: str | None = None
    direction: Literal["forward", "reverse", "symmetric"] = "forward"
    beta: float | None = None
    descent: float = 1.0
    retain_loss: Literal["nll", "kl", "both"] = "both"  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def compares(self) -> bool:
        """With the teacher, which has no dropout, always."""
        return True

    def prepare(self, context: "Context") -> "Context":
        """Let the teacher read the forget rows while the model's adapter is its own, then make the model trainable.

        Args:
            context: The model and rows.

        Returns:
            The same with what is trained.
        """
        self._teacher(context)
        return super().prepare(context)

    def cautions(self, context: "Context") -> list[str]:
        """Say that clean answers have a factor where there are none.

        Args:
            context: The rows.

        Returns:
            Sentences.
        """
        if self.descent == Distill.descent or any(row.clean for row in context.rows):
            return []
        return ["No effect has `descent`: no row to forget has a clean answer."]

    def details(self, context: "Context") -> dict[str, Any]:
        """The forget rows' loss under the teacher, which is where the model is led.

        Args:
            context: The rows.

        Returns:
            `teacher_loss`, in nats a token.
        """
        return {"teacher_loss": self._teacher(context).loss}

    def forget_part(self, step: "StepView") -> "Tensor":
        """The divergence from the teacher on unwanted answers, and the loss of clean ones.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        part = step.masked_mean(self._divergences(step), Role.UNWANTED)
        if not self.descent or not step.step.mask(Role.CLEAN).any():
            return part
        return part + self.descent * step.masked_mean(step.losses.means(), Role.CLEAN)

    def retain_part(self, step: "StepView") -> "Tensor":
        """The retain rows' loss, their divergence from the model before, or the mean of both.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        if self.retain_loss != "both":
            return super().retain_part(step)
        return (step.masked_mean(step.losses.means(), Role.RETAIN) + kept_distribution(step)) / 2

    def _divergences(self, step: "StepView") -> "Tensor":
        """The mean over the tokens of each unwanted answer, [S]; 0 for other sequences."""
        import torch

        from unweave.gradients.loss import TokenLosses

        teacher = self._teacher(step.context, step.reference.active)
        names, unwanted = step.step.row_ids, step.step.roles == Role.UNWANTED
        values, segments = [], []
        for part in step.labelled:
            own = unwanted[part.segments]
            logits, targets, of = part.logits[own], part.targets[own], part.segments[own]
            if not len(of):
                continue
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            # A sequence's tokens stand together, in their order, whatever the batch looks like.
            rows = [names[index] for index in torch.unique_consecutive(of).tolist()]
            values.append(divergence(teacher.logits(rows, targets, logits.dtype), logits, self.direction))
            segments.append(of)
        if not values:
            return step.labelled[0].logits.new_zeros(len(names), dtype=torch.float32)
        return TokenLosses(torch.cat(values), torch.cat(segments), len(names)).means()

    def _teacher(
        self, context: "Context", before: "Callable[[], AbstractContextManager[None]]" = nullcontext
    ) -> "Teacher":
        """The teacher, made once in a run: where that is late, of the model before."""

        def make() -> "Teacher":
            from unweave.unlearning.teacher import make_teacher

            beta = self.beta if self.beta is not None else UNDIALS if self.teacher == "reweighted" else 0.0
            examples = [row.example for row in context.rows if row.is_forget]
            with before():
                return make_teacher(context.loaded, examples, kind=self.teacher, other=self.teacher_model, beta=beta)

        return context.once("teacher", make)


def divergence(teacher: "Tensor", model: "Tensor", direction: Literal["forward", "reverse", "symmetric"]) -> "Tensor":
    """The divergence of two distributions at each token.

    Args:
        teacher: Logits, [N, V].
        model: Logits, [N, V].
        direction: `forward`: KL(teacher || model). `reverse`: KL(model || teacher). `symmetric`: the mean of both.

    Returns:
        Nats, [N].
    """
    theirs, own = teacher.log_softmax(dim=-1), model.log_softmax(dim=-1)
    factor = {"forward": theirs.exp(), "reverse": -own.exp(), "symmetric": (theirs.exp() - own.exp()) / 2}[direction]
    return (factor * (theirs - own)).sum(dim=-1)
