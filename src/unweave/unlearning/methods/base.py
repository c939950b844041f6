"""What an unlearning method is: a config, and either the loss of a step or an edit of the parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

from unweave.data.rows import Row
from unweave.models.loading import Loaded
from unweave.unlearning.config import ForgetConfig
from unweave.unlearning.setting import Setting
from unweave.unlearning.steps import rows_of_epoch
from unweave.unlearning.view import StepView

RequestKind = Literal["removal", "modification", "correction"]
ALL_REQUESTS: tuple[RequestKind, ...] = ("removal", "modification", "correction")
"""What a method with a loss on retain rows can express: new rows and new answers are learned beside the rows that are kept."""


class Objective(Protocol):
    """The loss that a method minimises."""

    def loss(self, view: StepView) -> Tensor:
        """The objective of one step.

        Args:
            view: The step's sequences, their roles and weights, under the model and under the one before forgetting.

        Returns:
            A scalar.
        """
        ...

    def cautions(self) -> list[str]:
        """What is to be said of a run before its first step, the model being as it was: of rows, say, that the method can do nothing for.

        Returns:
            Sentences.
        """
        return []


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        name: On the command line.
        summary: One sentence.
        paper: Where it is from.
        config_type: Its options, a subclass of `ForgetConfig`.
        build: Makes the objective from a config and the setting; `None` for a method that edits.
        edit: Changes the model's trainable parameters in place, and gives what there is to tell, `cautions` among it; `None` for a method that trains.
        train: Makes the unlearned model by a training run of its own, and gives its result; `None` for all but retraining.
        takes_target: Whether an edit can be made as large as a target asks for; methods that train always can stop at one.
        prepare: Makes the model trainable in the method's own way, and gives what the objective needs to know of it; by default LoRA.
        save: Writes the model in the method's own way; by default an adapter.
        tell: What else there is to tell of a trained model.
        uses_clean: Whether it uses clean answers of forget rows.
        uses_retain: Whether it needs retain rows.
        clean_answers: Answers that it wants to hear instead of the unwanted ones, where it brings its own: row id to text.
        requests: What it can express.
        search: What `unweave bench forgetting` tries: option to values, besides the default of every other option.
        search_without_clean: The same where no forget row has a clean answer, if that differs.
        cost: What a step costs, in forward and backward passes, beside plain training's one of each.
        compares: Whether its loss compares the model with the one before: then both are without dropout (as in TRL's DPO), and the loss of the model to itself
            is what the formula says.
        narrows: Whether it trains no more than `lora_targets` of an adapter that is there, too.
        weighs: Whether it weighs the forget rows by itself.
        uses_weights: Whether it uses weights of rows; by default methods with an objective do. Others refuse a file of them.
        ignores: Options of all methods that have no effect here, beside those that no method of its kind uses.
    """

    name: str
    summary: str
    paper: str
    config_type: type[ForgetConfig]
    build: Callable[[Any, Setting], Objective] | None = None
    edit: Callable[[Any, Setting], dict[str, Any]] | None = None
    takes_target: bool = False
    train: Callable[[Any], Any] | None = None
    prepare: Callable[[Any, Setting], Setting] | None = None
    save: Callable[[Any, Loaded], None] | None = None
    tell: Callable[[Any, Setting], dict[str, Any]] | None = None
    uses_clean: bool = False
    uses_retain: bool = True
    clean_answers: Callable[[Any, Sequence[Row]], dict[str, str]] | None = None
    requests: tuple[RequestKind, ...] = ("removal",)
    search: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: {"learning_rate": (5e-5, 1e-4, 2e-4, 4e-4)})
    search_without_clean: Mapping[str, tuple[Any, ...]] | None = None
    cost: str = "one forward and one backward pass a step"
    compares: Callable[[Any], bool] = lambda config: getattr(config, "retain_loss", None) == "kl"
    narrows: bool = False
    weighs: bool = False
    uses_weights: bool | None = None
    ignores: tuple[str, ...] = ()

    @property
    def takes_weights(self) -> bool:
        """Whether files of weights have an effect."""
        return self.build is not None if self.uses_weights is None else self.uses_weights

    def draws_retain(self, config: Any) -> bool:
        """Whether retain rows are in its steps: not where it needs none, and not where their part counts nothing.

        Args:
            config: The run's.

        Returns:
            Whether they are.
        """
        return self.uses_retain and getattr(config, "alpha", 1.0) != 0

    def epochs_of(self, steps: int, config: Any, *, batch_size: int, forget: int, retain: int) -> float:
        """The epochs in which a run makes so many steps.

        Args:
            steps: Steps.
            config: The run's, or its type, for what is drawn.
            batch_size: Rows a step.
            forget: Forget rows.
            retain: Retain rows.

        Returns:
            The epochs, a fraction.
        """
        kept = retain if self.draws_retain(config) else 0
        return steps * batch_size / rows_of_epoch(forget, kept, config.retain_ratio)
