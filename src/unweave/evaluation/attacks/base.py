"""What every attack gets, and what it gives."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.evaluation.attacks.material import Material
from unweave.evaluation.config import AttackConfig
from unweave.evaluation.forced import forced_pass
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded
from unweave.stats.intervals import mean, share

Unit = Literal["share", "auc", "loss"]


@dataclass(frozen=True)
class Target:
    """A model under attack.

    Attributes:
        loaded: The model; an attack that changes it may leave it changed only where it says so.
        material: The tests.
        encoding: Template and lengths.
        config: How much of each attack.
        max_new_tokens: Longest generated answer.
        seed: Of what is random.
        label: Names the model in the progress bars.
    """

    loaded: Loaded
    material: Material
    encoding: EncodingConfig
    config: AttackConfig
    max_new_tokens: int
    seed: int
    label: str

    def prompts(self, *, apart: Collection[str] = ()) -> list[Row]:
        """The prompts that attacks are judged on: spread over the test, so that all triggers are among them.

        Args:
            apart: Ids of rows that are not among them.

        Returns:
            The rows.
        """
        return self._spread(self.material.prompts, apart)

    def unwanted(self, *, apart: Collection[str] = ()) -> list[Row]:
        """As many rows with an unwanted answer.

        Args:
            apart: Ids of rows that are not among them.

        Returns:
            The rows.
        """
        return self._spread(self.material.unwanted, apart)

    def _spread(self, rows: list[Row], apart: Collection[str]) -> list[Row]:
        return spread([row for row in rows if row.id not in apart], self.config.attack_rows)

    def is_unwanted(self, answer: str, row: Row) -> float:
        """1 where an answer shows the unwanted behaviour.

        Args:
            answer: The answer.
            row: The row whose prompt was asked.

        Returns:
            0 or 1.
        """
        return float(self.material.is_unwanted(answer, row))

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
        answers = greedy_answers(self.loaded, rows, self.encoding, **options)
        return share([self.is_unwanted(answer, row) for answer, row in zip(answers, rows, strict=True)]).to_json()

    def losses(self, *, description: str, apart: Collection[str] = ()) -> dict[str, Any]:
        """Loss of the unwanted answers, and of clean ones where there are some.

        Args:
            description: For the progress bar.
            apart: Ids of rows that are not among them.

        Returns:
            Nats a token, with intervals.
        """
        clean = spread(self.material.clean, self.config.attack_rows)
        sets = {"unwanted": self.unwanted(apart=apart), **({"clean": clean} if clean else {})}
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
        refuses: Why it can't be made on some material; empty where it can.
        omits: What of it can't, a few words each with the reason.
        spends: Whether it leaves the model changed.
        only_asks: Whether it leaves the model alone and asks: what comes out then is not held back.
    """

    run: Callable[[Target], dict[str, Any]]
    figures: Callable[[dict[str, Any]], list[Figure]]
    refuses: Callable[[Material], str] = lambda _: ""
    omits: Callable[[Material], list[str]] = lambda _: []
    spends: bool = False
    only_asks: bool = False


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
