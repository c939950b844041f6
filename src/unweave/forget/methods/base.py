"""What an unlearning method is: a config, and the loss of a step."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from unweave.forget.config import ForgetConfig
from unweave.forget.steps import StepBatch
from unweave.gradients.loss import TokenLosses


class Objective(Protocol):
    """The loss that a method minimises."""

    def loss(self, losses: TokenLosses, step: StepBatch) -> Tensor:
        """The objective of one step.

        Args:
            losses: Token losses of the step's sequences under the current model.
            step: Which sequence is what, and the weights.

        Returns:
            A scalar.
        """
        ...


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        name: On the command line.
        summary: One sentence.
        paper: Where it is from.
        config_type: Its options, a subclass of `ForgetConfig`.
        build: Makes the objective from a config.
        uses_clean: Whether it uses clean answers of forget rows.
        uses_retain: Whether it draws retain rows.
    """

    name: str
    summary: str
    paper: str
    config_type: type[ForgetConfig]
    build: Any
    uses_clean: bool
    uses_retain: bool
