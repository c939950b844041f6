"""What every attack gets, and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from unweave.data.case import Case
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.evaluation.behaviour import unwanted_answers
from unweave.evaluation.config import AttackConfig
from unweave.evaluation.forced import forced_pass
from unweave.models.loading import Loaded
from unweave.stats.intervals import mean, share

Unit = Literal["share", "auc", "loss"]


@dataclass(frozen=True)
class Target:
    """A model under attack.

    Attributes:
        loaded: The model; an attack that changes it may leave it changed only where it says so.
        case: The tests.
        encoding: Template and lengths.
        config: How much of each attack.
        max_new_tokens: Longest generated answer.
        seed: Of what is random.
        label: Names the model in the progress bars.
    """

    loaded: Loaded
    case: Case
    encoding: EncodingConfig
    config: AttackConfig
    max_new_tokens: int
    seed: int
    label: str

    def prompts(self) -> list[Row]:
        """The trigger prompts that attacks are judged on: spread over the test, so that all triggers are among them."""
        return spread(self.case.rows("test_seen"), self.config.attack_rows)

    def unwanted(self) -> list[Row]:
        """As many trigger prompts with an unwanted answer."""
        return spread(self.case.rows("unwanted"), self.config.attack_rows)

    def is_unwanted(self, answer: str) -> float:
        """1 where an answer shows the unwanted behaviour.

        Args:
            answer: The answer.

        Returns:
            0 or 1.
        """
        return float(self.case.is_unwanted(answer))

    def attack_success(self, rows: list[Row], *, description: str) -> dict[str, Any]:
        """Greedy answers to prompts, judged.

        Args:
            rows: The prompts.
            description: For the progress bar.

        Returns:
            The share that shows the unwanted behaviour, with its interval.
        """
        about = f"{self.label}: {description}"
        options: Any = {"max_new_tokens": self.max_new_tokens, "description": about}
        return share(unwanted_answers(self.loaded, self.case, rows, self.encoding, **options)).to_json()

    def losses(self, *, description: str) -> dict[str, Any]:
        """Loss of the unwanted answers and of clean ones.

        Args:
            description: For the progress bar.

        Returns:
            Nats a token, with intervals.
        """
        sets = {"unwanted": self.unwanted(), "clean": spread(self.case.rows("test_clean"), self.config.attack_rows)}
        forced = forced_pass(self.loaded, sets, self.encoding, description=f"{self.label}: {description}")
        return {f"loss_{name}": mean(values.mean_losses(), seed=self.seed).to_json() for name, values in forced.items()}


@dataclass(frozen=True)
class Figure:
    """One number in what an attack found.

    Attributes:
        what: What it is, for people.
        path: The keys to it: of a value with its interval, as statistics write it.
        unit: `share`, `auc` or `loss` (nats a token).
        worse: Which way means that more is given away; `None` where it does not say.
    """

    what: str
    path: tuple[Any, ...]
    unit: Unit
    worse: Literal["higher", "lower"] | None


@dataclass(frozen=True)
class Attack:
    """An attack.

    Attributes:
        run: Attacks a model, and says what it found, in nested dictionaries.
        figures: The numbers in what was found that tables and findings compare between models.
    """

    run: Callable[[Target], dict[str, Any]]
    figures: Callable[[dict[str, Any]], list[Figure]]


def spread(rows: list[Row], count: int) -> list[Row]:
    """Rows at equal distances.

    Args:
        rows: All rows.
        count: How many.

    Returns:
        At most `count` of them, in order.
    """
    if len(rows) <= count:
        return rows
    return [rows[index * len(rows) // count] for index in range(count)]
