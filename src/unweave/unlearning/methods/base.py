"""What an unlearning method is: a frozen dataclass of its own options that has a loss, an edit of the parameters, or a training run of its own.

Nothing here imports torch, and no method does before it works: `unweave methods` and `--help` read options only.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.data.rows import Row
    from unweave.unlearning.context import Context
    from unweave.unlearning.view import StepView

RequestKind = Literal["removal", "modification", "correction"]
ALL_REQUESTS: tuple[RequestKind, ...] = ("removal", "modification", "correction")
"""What a method with a loss on retain rows can express: new rows and new answers are learned beside the rows that are kept."""


LEAST_STEPS = 60
"""Steps of a run without a number of epochs."""


@dataclass(frozen=True)
class Default:
    """A method's own default of an option of the run.

    Attributes:
        value: The default.
        why: What the option is in this method, for `--help`.
    """

    value: Any
    why: str


class Described:
    """What is said of every method.

    Attributes:
        name: On the command line.
        summary: One sentence.
        paper: Where it is from.
        cost: What a step costs, in forward and backward passes, beside plain training's one of each.
        requests: What it can express.
        defaults: Options of the run that have another default with this method; those of its base classes hold too.
        search: What `unweave bench forgetting` tries: option to values, besides the default of every other option.
        search_without_clean: The same where no forget row has a clean answer, if that differs.
        uses_retain: Whether it needs retain rows.
        uses_clean: Whether it uses clean answers of forget rows.
        brings_clean: Whether it brings clean answers of its own, in the place of the rows'.
        takes_weights: Whether weights of rows have an effect.
        takes_target: Whether it can stop at a loss of the forget rows.
        ignores: Options of the run that have no effect here, beside those that no method of its kind uses.
        models: Its own options that name models.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    cost: ClassVar[str] = "one forward and one backward pass a step"
    requests: ClassVar[tuple[RequestKind, ...]] = ("removal",)
    defaults: ClassVar[Mapping[str, Default]] = {}
    search: ClassVar[Mapping[str, tuple[Any, ...]]] = {"learning_rate": (5e-5, 1e-4, 2e-4, 4e-4)}
    search_without_clean: ClassVar[Mapping[str, tuple[Any, ...]] | None] = None
    uses_retain: ClassVar[bool] = True
    uses_clean: ClassVar[bool] = False
    brings_clean: ClassVar[bool] = False
    takes_weights: ClassVar[bool] = True
    takes_target: ClassVar[bool] = True
    ignores: ClassVar[tuple[str, ...]] = ()
    models: ClassVar[tuple[str, ...]] = ()

    @property
    def ends_at_base(self) -> bool:
        """Whether it leads rows, where no target is given, to the loss that they have with the adapter off (`stop_at_base`)."""
        return self.takes_target

    @property
    def samples_retain(self) -> bool:
        """Whether retain rows are in its steps: not where it needs none, and not where their part counts nothing."""
        return self.uses_retain

    def clean_answers(self, rows: "Sequence[Row]", *, seed: int) -> dict[str, str | None]:
        """What the model is to answer in the place of the unwanted completion.

        Args:
            rows: Forget rows.
            seed: Of the run.

        Returns:
            Row id to text; by default the rows' own clean answers.
        """
        del seed
        return {row.id: row.clean_completion for row in rows}


class InPlace(Described):
    """A method that changes the model that is there."""

    def prepare(self, context: "Context") -> "Context":
        """Make the model trainable.

        Args:
            context: The model and rows.

        Returns:
            The same with what is trained; by default LoRA.
        """
        from unweave.unlearning.trainable import trainable

        return trainable(context)

    def finish(self, context: "Context") -> "Context":
        """Put what was trained into the form in which it is saved.

        Args:
            context: The model and rows.

        Returns:
            The same with the finished model; by default an adapter, as it is.
        """
        return context


class Objective(InPlace, ABC):
    """A method that minimises a loss over steps of rows.

    Attributes:
        own_adapter: Whether it makes the adapter that it trains in its own way, whatever adapter is there.
        narrows: Whether it trains no more than `lora_targets` of an adapter that is there, too.
        weighs: Whether it weighs the forget rows by itself.
        least_steps: Steps of a run without a number of epochs, at least: of few rows, one epoch would be too few steps to move anything.
    """

    own_adapter: ClassVar[bool] = False
    narrows: ClassVar[bool] = False
    weighs: ClassVar[bool] = False
    least_steps: ClassVar[int] = LEAST_STEPS

    @abstractmethod
    def loss(self, step: "StepView") -> "Tensor":
        """The objective of one step.

        Args:
            step: The step's sequences, their roles and weights, under the model and under the one before forgetting.

        Returns:
            A scalar.
        """

    @property
    def compares(self) -> bool:
        """Whether the loss compares the model with the one before.

        Then both are without dropout (as in TRL's DPO), and the loss of the model to itself is what the formula says.
        """
        return False

    @property
    def whole_steps(self) -> bool:
        """Whether the loss of a row depends on the others of its step, so that no step can be cut into parts."""
        return False

    def cautions(self, context: "Context") -> list[str]:
        """What is to be said of a run before its first step, the model being as it was: of rows, say, that the method can do nothing for.

        Args:
            context: The model and rows.

        Returns:
            Sentences.
        """
        del context
        return []

    def details(self, context: "Context") -> dict[str, Any]:
        """What else there is to say of a trained model.

        Args:
            context: The model and rows.

        Returns:
            Name to value, `cautions` among them.
        """
        del context
        return {}


@dataclass(frozen=True, kw_only=True)
class Edit(InPlace, ABC):
    """Change the adapter's parameters directly, without training steps.

    Attributes:
        token_budget: Tokens a batch, padding included.
        scale: Factor of the edit; 1 is the formula. It is halved until the retain rows stand it (`max_retain_increase`). With a target, where the method
            takes one, it is the first to be tried.
    """

    defaults: ClassVar[Mapping[str, Default]] = {
        "adapter_mode": Default("continue", "The model's own adapter is edited: a new one holds nothing to take out.")
    }

    token_budget: int = 1024
    scale: float = 1.0

    @abstractmethod
    def edit(self, context: "Context") -> dict[str, Any]:
        """Change the model's adapter in place.

        Args:
            context: The model and rows.

        Returns:
            What there is to say of it, `cautions` among it.
        """
