"""ReGLU, representation-guided low-rank unlearning: the adapter begins where the forget rows' outputs vary and the retain rows' do not (arXiv 2604.17396)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.methods.base import ALL_REQUESTS, Default
from unweave.unlearning.methods.ihl import inverted_hinge
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.unlearning.context import Context
    from unweave.unlearning.view import StepView


@dataclass(frozen=True, kw_only=True)
class ReGLU(Balanced):
    """Representation-guided adapter.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.ReGLU(beta=0.6), epochs=1).method
        'reglu'

    Attributes:
        forget_loss: `ihl`, the inverted hinge loss, or `graddiff`, the negative loss.
        beta: Weight of the retain rows' covariance (the paper: 0.7).
        orthogonality: lambda, the factor of `|B^T Q_R|^2` (the paper: 0.5).
        retain_directions: Eigenvectors of C_R that B is kept away from (the paper: 128).
        covariance_rows: Rows of each split that covariances are made of (the paper: 256).
        covariance_tokens: Whose outputs: of the positions that predict the `answer`, or of `all` tokens (the paper).
    """

    name: ClassVar = "reglu"
    summary: ClassVar = (
        "an adapter that begins in the directions of the forget rows, kept away from those of the retain rows"
    )
    paper: ClassVar = "ReGLU, arXiv 2604.17396"
    cost: ClassVar = "two forward passes over 256 rows and two eigendecompositions a layer, then one forward and one backward pass a step"
    requests: ClassVar = ALL_REQUESTS
    own_adapter: ClassVar = True
    search: ClassVar = {"learning_rate": (3e-5, 1e-4, 3e-4), "gamma": (0.5, 1.0)}
    defaults: ClassVar = {
        "lora_r": Default(32, "Rank (the paper: 32)."),
        "lora_alpha": Default(64, "Scale (the paper: 64)."),
        "lora_dropout": Default(0.0, "None: the adapter begins with what the model knows."),
        "learning_rate": Default(1e-4, "Peak step size (the paper: 1e-4)."),
        "epochs": Default(5.0, "The paper: 5."),
    }

    forget_loss: Literal["ihl", "graddiff"] = "ihl"
    beta: float = 0.7
    orthogonality: float = 0.5
    retain_directions: int = 128
    covariance_rows: int = 256
    covariance_tokens: Literal["answer", "all"] = "answer"

    def prepare(self, context: "Context") -> "Context":
        """Make the adapter from the covariances, and take it out of the base.

        Args:
            context: Model and rows.

        Returns:
            The same with the new model; its `prepared` pairs each B with the retain rows' directions.
        """
        from unweave.unlearning.guided import put_on

        return put_on(self, context)

    def loss(self, step: "StepView") -> "Tensor":
        """Forget part, retain part and the orthogonality term.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        away = sum((factor.to(basis.dtype).T @ basis).square().sum() for factor, basis in step.context.prepared)
        return super().loss(step) + step.step.share * self.orthogonality * away

    def forget_part(self, step: "StepView") -> "Tensor":
        """The inverted hinge loss, or the negative loss, of the forget rows.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        if self.forget_loss == "graddiff":
            return -step.masked_mean(step.losses.means(), Role.UNWANTED)
        return inverted_hinge(step)
